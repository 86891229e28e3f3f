"""`easyssl convert`: what each field of a config does here."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from easyssl.cli.arguments import add_config_arguments

if TYPE_CHECKING:
    from easyssl.config import Config
    from easyssl.config.effects import Acting, Finding

SUMMARY = "say what each field of a config does here: acts, has no effect, is refused"
DESCRIPTION = """\
Reads a config, such as one written for EasyRec, and prints every field that it sets, each with its line: what
acts, what is accepted without effect because results are the same without it, and what is refused because it
would change results.

The exit code is 0 only if nothing is refused. What is not refused is then planned as 'easyssl check
--plan-only' does it, so that a layer, feature or wiring that does not work is told as well. Neither data nor
TensorFlow is needed.
"""
EPILOG = """\
examples:
  easyssl convert their.config
  easyssl convert their.config --brief         without the fields that act
  easyssl convert their.config --brief --set data_config.input_type=CSVInput
                                               what is left once a field is replaced
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    add_config_arguments(parser)
    parser.add_argument("--brief", action="store_true", help="only count the fields that act")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.cli.session import load, plan_config
    from easyssl.config.effects import Acting, walk
    from easyssl.data.from_config import bad_rows_from_config, columns_from_config, make_reader
    from easyssl.training.schedule_values import check_schedules

    config = load(args)
    acting: list[Acting] = []
    idle: list[Finding] = []
    refused: list[Finding] = []
    for found in walk(config.message):
        if isinstance(found, Acting):
            acting.append(found)
        else:
            (refused if found.refused else idle).append(found)

    print(f"acts: {_count(acting)}")
    if not args.brief:
        _print(config, ((found.path, found.value) for found in acting))
    print(f"has no effect: {_count(idle)}")
    _print(config, ((found.path, found.reason) for found in idle))
    print(f"refused: {_count(refused)}")
    _print(config, ((found.path, found.reason) for found in refused))

    if refused:
        first, more = refused[0], len(refused) - 1
        others = f"; {more} more {'are' if more > 1 else 'is'} refused, see above" if more else ""
        raise config.error(first.path, f"not supported: {first.reason}{others}")
    known = set(config.warnings)  # those are of the fields without effect, told above
    plan = plan_config(config)
    make_reader(config, columns_from_config(config))
    bad_rows_from_config(config)
    check_schedules(config)
    for warning in dict.fromkeys([*config.warnings, *plan.warnings]):
        if warning not in known:
            print(f"note: {warning}")
    print("nothing that changes results is ignored")
    return 0


def _count(found: Sequence[object]) -> str:
    return f"{len(found)} field{'' if len(found) == 1 else 's'}"


def _print(config: Config, lines: Iterable[tuple[str, str]]) -> None:
    """Prints paths and texts in the order of the file; what an override set comes last."""
    placed = [(config.where(path), path, text) for path, text in lines]
    for place, path, text in sorted(placed, key=lambda line: _order(line[0])):
        print(f"  {place}: {path}: {text}")


def _order(place: str) -> tuple[float, int]:
    found = re.search(r":(\d+):(\d+)$", place)
    return (int(found[1]), int(found[2])) if found else (math.inf, 0)
