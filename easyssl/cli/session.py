"""What the commands with a config begin with: plugins, the config, its warnings."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from easyssl.cli.environment import load_tensorflow
from easyssl.cli.plugin import load_plugins
from easyssl.errors import nearest

if TYPE_CHECKING:
    from easyssl.backbone.plan import Plan
    from easyssl.config import Config

EXPORTERS = ("final", "latest", "best", "none")
"""What `train` exports in the end: the newest checkpoint, the newest, the best one, nothing."""


def load_and_plan(args: argparse.Namespace) -> tuple[Config, Plan]:
    """Imports the plugins and reads the config that the command line names.

    It is checked as far as that goes without TensorFlow, so that a mistake is answered at once.

    Raises:
        UsageError: If a plugin cannot be imported.
        ConfigError: If the config cannot be read or does not fit together.
    """
    config = load(args)
    return config, plan_config(config)


def load(args: argparse.Namespace) -> Config:
    """Imports the plugins and reads the config that the command line names.

    Raises:
        UsageError: If a plugin cannot be imported.
        ConfigError: If the config cannot be read.
    """
    from easyssl.config import load_config

    if args.plugins:
        load_tensorflow()
        load_plugins(args.plugins)
    return load_config(args.config, overrides=args.overrides, data_root=args.data_root)


def plan_config(config: Config) -> Plan:
    """Checks a config as far as that goes without TensorFlow, and plans it.

    Raises:
        ConfigError: If a field cannot be acted on, or the config does not fit together.
    """
    from easyssl.backbone.plan import build_plan
    from easyssl.backbone.plan_match import plan_match
    from easyssl.backbone.plan_multi_task import is_multi_task, plan_multi_task
    from easyssl.data.features.spec import build_feature_specs
    from easyssl.data.label_functions import label_functions
    from easyssl.metrics import metrics_from_config
    from easyssl.training.early_stopping import early_stopping_from_config

    config.refuse()
    if not config.message.model_dir:
        raise config.error("model_dir", "is not set, expected the folder to write checkpoints and exports to")
    exporter = config.message.export_config.exporter_type
    if exporter not in EXPORTERS:
        known = nearest(exporter, EXPORTERS)
        raise config.error("export_config.exporter_type", f"there is no exporter '{exporter}'{known}")
    specs = build_feature_specs(config)
    plan = build_plan(config, specs)
    if config.message.model_config.model_class == "MatchModel":
        plan_match(config, plan, specs)
    if is_multi_task(config.message.model_config):
        plan_multi_task(config, plan)
    metrics_from_config(config)
    early_stopping_from_config(config)
    label_functions(config)
    return plan


def modes(config: Config) -> list[str]:
    """Returns what training reads: train data, and evaluation data if the config names any."""
    return ["train", "evaluate"] if config.message.WhichOneof("eval_path") else ["train"]


def show_warnings(config: Config, plan: Plan) -> None:
    """Prints what is set without effect or left unused, one line each."""
    for warning in dict.fromkeys([*config.warnings, *plan.warnings]):
        warn(warning)


def warn(text: str) -> None:
    """Prints a warning as one line on stderr."""
    print(f"warning: {' '.join(text.split())}", file=sys.stderr)
