"""Errors that bad input causes: one line for the user, no traceback.

Every error a user can cause derives from `InputError`. The command line prints it as one line and exits
with code 2; anything else that escapes is a defect of ours (traceback, exit code 1).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(Exception):
    """Base of all errors caused by what the user handed in."""


class ConfigError(InputError):
    """A config that cannot be read, bound or planned. The message starts with `file:line:column`."""


class DataError(InputError):
    """A data file or row that cannot be read. The message starts with `file:line`."""


class CheckpointError(InputError):
    """A checkpoint that is missing, damaged or made by another config."""


class TrainingError(InputError):
    """Training cannot go on, such as a loss that is no longer finite."""


class UsageError(InputError):
    """A command line that asks for something that is not there."""


def nearest(name: str, candidates: Iterable[str], limit: int = 3) -> str:
    """Returns the end of an error message that names what may have been meant.

    Args:
        name: What was found.
        candidates: The valid names.
        limit: How many names to offer at most when none is close.

    Returns:
        `"; did you mean 'x'?"` for a close match, otherwise the valid names (all of a short list), or `""`
        when there are none.

    Example:
        >>> nearest("embeding_dim", ["embedding_dim", "combiner"])
        "; did you mean 'embedding_dim'?"
    """
    names = sorted(set(candidates))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not close:
        lowered = {n.lower(): n for n in names}
        close = [lowered[m] for m in difflib.get_close_matches(name.lower(), lowered, n=1, cutoff=0.6)]
    if close:
        return f"; did you mean '{close[0]}'?"
    if not names:
        return ""
    shown = names if len(names) <= 3 * limit else names[:limit]
    more = "" if len(shown) == len(names) else f" and {len(names) - len(shown)} more"
    return "; valid are " + ", ".join(f"'{n}'" for n in shown) + more
