"""Imports the Python files that `--plugin` names.

Their registered layers, and their functions of labels, can then be used in a config.
"""

from __future__ import annotations

import importlib.util
import pathlib
import sys
import traceback
from collections.abc import Iterable

from easyssl.errors import InputError, UsageError
from easyssl.registry import PLUGIN_MODULE


def load_plugins(files: Iterable[str]) -> None:
    """Imports each file once, in the given order.

    Only the command line can name a plugin; a config never can.

    Args:
        files: Names of Python files.

    Raises:
        UsageError: If a file is not there, is not a Python file, or fails while it is imported; the message
            then has the line in the plugin that failed.
    """
    for name in files:
        path = pathlib.Path(name)
        if path.suffix != ".py":
            raise UsageError(f"--plugin {name}: expected the name of a Python file, which ends in .py")
        if not path.is_file():
            raise UsageError(f"--plugin {name}: no such file; expected a Python file with @register layers")
        _load(path)


def _load(path: pathlib.Path) -> None:
    full = path.resolve()
    module_name = PLUGIN_MODULE + path.stem
    held = sys.modules.get(module_name)
    if held is not None and getattr(held, "__file__", None) == str(full):
        return
    spec = importlib.util.spec_from_file_location(module_name, full)
    if spec is None or spec.loader is None:
        raise UsageError(f"--plugin {path}: this file cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    # Keras looks classes up by their module while it (de)serializes them.
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except InputError:
        sys.modules.pop(module_name, None)
        raise
    except (Exception, SystemExit) as error:
        sys.modules.pop(module_name, None)
        raise UsageError(f"--plugin {_place(error, path, full)}: {type(error).__name__}: {error}") from error


def _place(error: BaseException, path: pathlib.Path, full: pathlib.Path) -> str:
    """Returns `file:line` of the innermost frame inside the plugin."""
    if isinstance(error, SyntaxError) and error.filename == str(full):
        return f"{path}:{error.lineno}"
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(full)]
    return f"{path}:{lines[-1]}" if lines else str(path)
