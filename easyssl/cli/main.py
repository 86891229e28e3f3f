"""The `easyssl` command: finds the sub command, and turns errors into one line and an exit code."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import easyssl
from easyssl.cli.arguments import Parser, closest_command
from easyssl.cli.environment import prepare_tensorflow
from easyssl.errors import InputError, UsageError

COMMANDS = ("check", "convert", "train", "evaluate", "predict", "export", "data", "embed-text", "layers")
"""Names of the commands; each is the module of `easyssl.cli` with that name."""

OK, DEFECT, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

# What the machine refuses is not a defect of ours: say it in one line, like any other bad input.
_REFUSALS = frozenset(
    getattr(errno, name)
    for name in ("EACCES", "EDQUOT", "EISDIR", "ENAMETOOLONG", "ENOSPC", "ENOTDIR", "EPERM", "EROFS")
    if hasattr(errno, name)
)

_EXAMPLES = """\
examples:
  easyssl data generate taobao --out samples/data/taobao       made-up rows to try things with
  easyssl check samples/cl4srec_on_taobao.config               does it fit together, what will be built?
  easyssl convert theirs.config                                what of an EasyRec config acts here
  easyssl layers SeqAugment                                    what a layer takes, does and gives
  easyssl train samples/cl4srec_on_taobao.config               the same command again resumes
  easyssl predict my.config --input new.csv --output scored.csv

exit codes: 0 good; 2 bad input, told in one line on stderr; 1 a defect of ours, with a traceback;
143 stopped by a signal after a checkpoint was written (the same command again resumes)
"""


def command_of(name: str) -> Any:
    """Returns the module of a command. It is imported now, so that a command waits for no other one."""
    return importlib.import_module(f"easyssl.cli.{name.replace('-', '_')}")


def overview() -> str:
    """Returns the text of `easyssl --help`."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:<{width}}  {command_of(name).SUMMARY}" for name in COMMANDS)
    return (
        "usage: easyssl COMMAND [CONFIG] [flags]\n\n"
        "Self-supervised components for recommenders: from a text config to a trained, exported model.\n\n"
        f"commands:\n{lines}\n\n"
        "'easyssl COMMAND --help' shows its flags and examples, 'easyssl --version' the version.\n\n"
        f"{_EXAMPLES}"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: The command line without the program's name; default `sys.argv[1:]`.

    Returns:
        The exit code: 0 good, 2 bad input (one line on stderr), 1 a defect of ours (traceback on stderr), 130
        interrupted, 143 preempted after a checkpoint was written.

    Example:
        >>> main(["--version"])  # doctest: +SKIP
        easyssl 0.1.0
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except InputError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has left, as `head` does. Python would complain again while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DEFECT
    except OSError as error:
        if error.errno in _REFUSALS:
            return _complain(f"{error.filename or 'easyssl'}: {error.strerror}")
        return _confess()
    except Exception:
        return _confess()


def _run(words: list[str]) -> int:
    if not words:
        raise UsageError(f"easyssl: a command is missing: {', '.join(COMMANDS)}; see 'easyssl --help'")
    name, rest = words[0], words[1:]
    if name in ("-h", "--help", "help"):
        print(overview(), end="")
        return OK
    if name in ("-V", "--version", "version"):
        print(f"easyssl {easyssl.__version__}")
        return OK
    if name.startswith("-"):
        raise UsageError(
            f"easyssl: expected a command before '{name}'; the commands are {', '.join(COMMANDS)}"
        )
    if name not in COMMANDS:
        raise UsageError(f"easyssl: there is no command '{name}'{closest_command(name, COMMANDS)}")
    command = command_of(name)
    actions = getattr(command, "ACTIONS", {})
    if rest and rest[0] in actions:
        name, command, rest = f"{name} {rest[0]}", actions[rest[0]], rest[1:]
    elif late := next((word for word in rest if word in actions), None):
        raise UsageError(f"easyssl {name}: put '{late}' first: easyssl {name} {late} ...")
    parser = Parser(f"easyssl {name}", command.DESCRIPTION, command.EPILOG)
    command.add_arguments(parser)
    try:
        args = parser.parse(rest)
    except SystemExit:  # argparse leaves this way after it has printed --help
        return OK
    prepare_tensorflow()
    return command.run(args)


def _complain(message: str) -> int:
    print(" ".join(message.split()), file=sys.stderr)
    return BAD_INPUT


def _confess() -> int:
    traceback.print_exc()
    print(
        f"easyssl {easyssl.__version__}: this is a defect of easyssl, not of your input; "
        "please report it with the lines above and the command",
        file=sys.stderr,
    )
    return DEFECT
