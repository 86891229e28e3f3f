"""Command lines: parsing, the flags that all commands share, and errors of one line.

This is `argparse` and not `absl.flags`: absl keeps one global name space that TensorFlow and plugins write
into as well, knows no sub commands and cannot parse twice in one process.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from typing import NoReturn

from easyssl.errors import UsageError, nearest


class Parser(argparse.ArgumentParser):
    """An argument parser that raises `UsageError` instead of printing its usage and leaving the process."""

    def __init__(self, prog: str, description: str, epilog: str | None = None):
        super().__init__(
            prog=prog,
            description=description,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raises the message as one line that says where help is."""
        raise UsageError(f"{self.prog}: {message}; see '{self.prog} --help'")

    def parse(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parses a command line.

        Raises:
            UsageError: For anything that does not fit; unknown flags come with the nearest known one.
        """
        args, unknown = self.parse_known_args(list(argv))
        if unknown:
            first = unknown[0].split("=")[0]
            if not first.startswith("-"):
                self.error(f"'{first}' is one argument too many")
            flags = [flag for action in self._actions for flag in action.option_strings if len(flag) > 2]
            self.error(f"there is no flag {first}{nearest(first, flags)}")
        return args


def one_of(kind: str, names: Sequence[str]) -> Callable[[str], str]:
    """Returns an argparse type that admits the given names and offers the nearest for any other."""

    def check(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"there is no {kind} '{text}'{nearest(text, names)}")
        return text

    return check


def positive(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, found '{text}'")
    return number


def natural(text: str) -> int:
    """An argparse type: a whole number of at least 0."""
    try:
        number = int(text)
    except ValueError:
        number = -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, found '{text}'")
    return number


def add_config_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds CONFIG and the flags that every command with a config takes."""
    parser.add_argument("config", metavar="CONFIG", help="the text config, such as my.config")
    group = parser.add_argument_group("config")
    group.add_argument(
        "--set",
        dest="overrides",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="set a field of the config, such as train_config.num_steps=100; may be repeated",
    )
    group.add_argument(
        "--data-root",
        metavar="DIR",
        default=None,
        help="folder that relative file names of the config start from (default: the config's own folder)",
    )
    group.add_argument(
        "--plugin",
        dest="plugins",
        metavar="FILE.py",
        action="append",
        default=[],
        help="a Python file of yours to import first, so that class_name can name its @register layers; "
        "may be repeated. It runs as code: name only files you trust",
    )


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of the commands that read a trained model."""
    parser.add_argument(
        "--checkpoint",
        metavar="DIR",
        default=None,
        help="a checkpoint, or a folder of checkpoints (default: the newest one of model_dir)",
    )
    parser.add_argument(
        "--best", action="store_true", help="take the checkpoint with the best evaluation, not the newest one"
    )
    parser.add_argument(
        "--allow-config-change",
        action="store_true",
        help="read the checkpoint although it was made with another config",
    )


def closest_command(name: str, commands: Sequence[str]) -> str:
    """Returns the end of the message about an unknown command: one near name, else all of them."""
    close = difflib.get_close_matches(name.lower(), commands, n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else "; valid are " + ", ".join(commands)
