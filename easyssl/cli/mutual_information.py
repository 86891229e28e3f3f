"""`easyssl data mutual-information`: how much features tell about each other."""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import TYPE_CHECKING

from easyssl.cli.arguments import add_config_arguments, positive

if TYPE_CHECKING:
    from easyssl.data.mutual_information import GroupInformation

SUMMARY = "measure how much features tell about each other"
DESCRIPTION = """\
Measures the mutual information between the features of a group, on the training data of a config or on files.

Prints a table. With --output also writes the matrix that a FeatureMasking layer of strategy 'correlated'
names in mutual_information; its order is that of an input layer with only_output_feature_list.
"""
EPILOG = """\
examples:
  easyssl data mutual-information my.config --group item --output mi.npy
  easyssl data mutual-information my.config --group item --distinct item_id     each item counts once
  easyssl data mutual-information my.config --group item --rows 100000 --plot heat.svg
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    add_config_arguments(parser)
    parser.add_argument("--group", metavar="NAME", help="the feature group (default: the only one)")
    parser.add_argument(
        "--input", metavar="FILES", help="files or globs, separated by commas (default: the training data)"
    )
    parser.add_argument("--rows", type=positive, metavar="N", help="rows to read at most (default: all)")
    parser.add_argument(
        "--distinct",
        metavar="FEATURE",
        help="count only the first row of each value of this id feature, such as the item",
    )
    parser.add_argument(
        "--normalized",
        action="store_true",
        help="divide by the square root of both entropies, so that features of many values do not lead",
    )
    parser.add_argument("--output", metavar="FILE", help="a .npy or .json file to write the matrix to")
    parser.add_argument("--plot", metavar="FILE", help="an .svg file to draw a heat map into")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.cli.environment import load_tensorflow
    from easyssl.cli.files import check_writable, replacing, suffix_of
    from easyssl.cli.heat_map import draw_heat_map, load_matplotlib
    from easyssl.cli.session import load_and_plan, show_warnings, warn

    if args.output:
        suffix_of("--output", args.output, ("npy", "json"))
    if args.plot:
        suffix_of("--plot", args.plot, ("svg",))
        load_matplotlib()
    for name in filter(None, (args.output, args.plot)):
        check_writable(pathlib.Path(name))
    config, plan = load_and_plan(args)
    show_warnings(config, plan)
    load_tensorflow()
    from easyssl.data.mutual_information import group_information

    found = group_information(
        config,
        args.group,
        files=args.input,
        rows=args.rows,
        distinct=args.distinct,
        normalized=args.normalized,
    )
    for name, count in zip(found.features, found.num_values, strict=True):
        if 2 * count > found.rows:
            many = f"feature '{name}' has {count} values in {found.rows} rows"
            warn(f"{many}, so it seems to tell much about every other one; see --normalized")
    print("\n".join(found.lines()))
    if args.output:
        _write(found, pathlib.Path(args.output))
    if args.plot:
        unit = "normalized mutual information" if found.normalized else "mutual information (nats)"
        title = f"group '{found.group}', {found.rows:,} rows"
        with replacing(pathlib.Path(args.plot)) as temporary:
            draw_heat_map(temporary, found.features, found.matrix, title, unit)
    return 0


def _write(found: GroupInformation, path: pathlib.Path) -> None:
    import numpy as np

    from easyssl.cli.files import replace_text, replacing

    if path.suffix.lower() == ".json":
        replace_text(path, json.dumps(found.as_dict(), indent=1) + "\n")
        return
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, found.matrix, allow_pickle=False)
