"""Constant arrays that layers are made with: given as nested lists, or as the name of a file."""

from __future__ import annotations

import json
from typing import Any

import numpy as np


def read_array(layer: str, name: str, value: Any) -> np.ndarray:
    """Returns the array that a constructor's argument stands for.

    Nothing of a file is run: NumPy files with Python objects are refused, and no more is read than is there.

    Args:
        layer: The layer's class, named in errors.
        name: The argument's name.
        value: Numbers in nested lists, or a file name: a `.npy` file of numbers, or a `.json` file with
            nested lists, or with an object that has them under the argument's name.

    Returns:
        An array of integers or floats.

    Raises:
        ValueError: If the file cannot be read, or if what is given is no array of finite numbers.

    Example:
        >>> read_array("FeatureMasking", "mutual_information", [[0.5, 0.0], [0.0, 0.7]]).shape
        (2, 2)
    """
    given = f"'{value}'" if isinstance(value, str) else "the list"
    try:
        array = np.asarray(_read(name, value) if isinstance(value, str) else value)
    except (OSError, ValueError, EOFError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise ValueError(f"{layer}: `{name}`: {given} cannot be read: {reason}") from None
    if array.dtype.kind not in "iuf" or not np.all(np.isfinite(array)):
        raise ValueError(f"{layer}: `{name}`: {given} is not an array of finite numbers")
    return array


def _read(name: str, path: str) -> Any:
    if path.endswith(".npy"):
        # Mapped first, so that a header which promises more than the file has is found out before memory is.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False))
    if path.endswith(".json"):
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
        if isinstance(content, dict) and name not in content:
            raise ValueError(f"the object has no '{name}'")
        return content[name] if isinstance(content, dict) else content
    raise ValueError("expected a file name that ends in .npy or .json")
