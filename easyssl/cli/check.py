"""`easyssl check`: reads a config, plans it and builds it, without touching data."""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from easyssl.cli.arguments import add_config_arguments

if TYPE_CHECKING:
    from easyssl.backbone.plan import Plan
    from easyssl.config import Config

SUMMARY = "check a config and print what it builds"
DESCRIPTION = """\
Checks a config and prints the graph that it describes, with output shapes and numbers of parameters.

Names, types, expressions and wiring are checked first, in well under a second; then the layers are built.
Data files are not read.
"""
EPILOG = """\
examples:
  easyssl check samples/cl4srec_on_taobao.config
  easyssl check my.config --plugin my_layers.py --set train_config.num_steps=100
  easyssl check my.config --plot graph.svg     also .dot and .mmd (Mermaid)
  easyssl check my.config --plan-only          does not import TensorFlow: no shapes and numbers
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of this command."""
    add_config_arguments(parser)
    parser.add_argument(
        "--plot",
        metavar="FILE",
        default=None,
        help="also draw the graph into a .svg, .dot (Graphviz) or .mmd (Mermaid) file",
    )
    parser.add_argument("--plan-only", action="store_true", help="plan the config, but build no layers")


def run(args: argparse.Namespace) -> int:
    """Runs the command."""
    from easyssl.backbone.plan_multi_task import is_multi_task, plan_multi_task
    from easyssl.backbone.render import graph, table, towers_table
    from easyssl.cli.files import check_writable, replace_text, suffix_of
    from easyssl.cli.session import load_and_plan, modes, show_warnings, warn
    from easyssl.data.build import dataset_from_config
    from easyssl.errors import DataError
    from easyssl.training.schedule_values import check_schedules

    form = suffix_of("--plot", args.plot, ("svg", "dot", "mmd")) if args.plot else None
    if form:
        check_writable(pathlib.Path(args.plot))
    config, plan = load_and_plan(args)
    check_schedules(config)
    absent = []
    for mode in modes(config):
        try:
            dataset_from_config(config, mode)
        except DataError as error:  # the data need not be on the machine that checks the config
            absent.append(str(error))
    shapes = parameters = total = None
    if not args.plan_only:
        from easyssl.cli.environment import load_tensorflow

        load_tensorflow()
        shapes, parameters, total = _build(config, plan)
    show_warnings(config, plan)
    for text in dict.fromkeys(absent):
        warn(text)
    print(table(plan, shapes, parameters))
    if is_multi_task(config.message.model_config):
        print(towers_table(plan, plan_multi_task(config, plan), parameters))
    if total:
        print(total)
    if form:
        replace_text(pathlib.Path(args.plot), graph(plan, form))
        print(f"wrote {args.plot}")
    return 0


def _build(config: Config, plan: Plan) -> tuple[Mapping[str, str], Mapping[str, int], str]:
    """Builds what training builds; returns shapes and numbers of parameters by block, and their sum."""
    from easyssl.layers.embedding_table import unfilled_tables
    from easyssl.models import MultiTaskModel
    from easyssl.training.checkpoint import no_hook
    from easyssl.training.labels import Labels
    from easyssl.training.loop import Trainer
    from easyssl.training.optimizers.build import check_update_rule, embedding_variables
    from easyssl.training.setup import build_model

    Trainer(config, sys.stderr, no_hook)
    with unfilled_tables():
        model = build_model(config)
    Labels.from_config(config, model.label_names)
    check_update_rule(config, model)
    backbone = model.backbone
    parameters = {
        f"{scope}/{block.name}" if scope else block.name: backbone.parameters_of(scope, block.name)
        for scope, graph in {"": plan.main, **plan.packages}.items()
        for block in graph.blocks
    }
    if plan.top_mlp is not None:
        parameters[plan.top_mlp.name] = _count(backbone.top_mlp.weights)
    if isinstance(model, MultiTaskModel):
        for tower, own in zip(model.towers, model.task_layers, strict=True):
            parameters[tower.path] = _count(own.weights)
    tables = _count(embedding_variables(model))
    layers = _count(w for w in model.weights if w.dtype.is_floating) - tables
    return (
        backbone.block_shapes,
        parameters,
        f"parameters: {layers:,} in layers, {tables:,} in embedding tables",
    )


def _count(variables: Iterable[Any]) -> int:
    return sum(v.shape.num_elements() for v in variables if v.dtype.is_floating)
