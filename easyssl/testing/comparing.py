"""Comparisons of nested tensors; what differs is told as an `AssertionError` that begins with `what`."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import tensorflow as tf

_SHORTEST = 1e-5  # shorter vectors are compared as if they were this long


def json_text(what: str, config: Any) -> str:
    """Returns a config as JSON."""
    try:
        return json.dumps(config, sort_keys=True)
    except TypeError as error:
        raise AssertionError(f"{what} is not JSON: {error}") from None


def check_equal(what: str, got: Any, want: Any) -> None:
    """Compares values that know when they are equal."""
    if got != want:
        raise AssertionError(f"{what}: got {got}, expected {want}")


def same(left: Any, right: Any) -> bool:
    """Returns whether all entries are equal."""
    pairs = zip(tf.nest.flatten(left), tf.nest.flatten(right), strict=True)
    return all(np.array_equal(_numpy(a), _numpy(b)) for a, b in pairs)


def check_same_form(what: str, got: Any, want: Any) -> None:
    """Compares shapes and dtypes."""
    forms = [[(tuple(x.shape), x.dtype) for x in tf.nest.flatten(nested)] for nested in (got, want)]
    check_equal(f"shapes and dtypes of {what}", *forms)


def check_close(what: str, got: Any, want: Any, tolerance: float) -> None:
    """Compares shapes, dtypes and entries, which may differ by `tolerance`."""
    check_same_form(what, got, want)
    for a, b in zip(tf.nest.flatten(got), tf.nest.flatten(want), strict=True):
        difference = np.max(np.abs(_numpy(a).astype(np.float64) - _numpy(b)), initial=0.0)
        if not difference <= tolerance:
            raise AssertionError(f"{what}: differs by up to {difference}, allowed {tolerance}")


def check_near(what: str, got: list[tf.Tensor], want: list[tf.Tensor], tolerance: float) -> None:
    """Compares vectors by the length of their difference, relative to them or to a tenth of the longest."""
    vectors, wanted = [_numpy(x) for x in got], [_numpy(x) for x in want]
    longest = max((float(np.linalg.norm(x)) for x in wanted), default=0.0)
    for index, (a, b) in enumerate(zip(vectors, wanted, strict=True)):
        scale = max(float(np.linalg.norm(b)), 0.1 * longest, _SHORTEST)
        error = float(np.linalg.norm(a - b)) / scale
        if not error <= tolerance:
            raise AssertionError(f"{what}: number {index} is off by {error:.2g}, allowed {tolerance}")


def check_finite(what: str, nested: Any) -> None:
    """Checks that there is no NaN and no infinity."""
    for x in tf.nest.flatten(nested):
        if not np.all(np.isfinite(_numpy(x))):
            raise AssertionError(f"{what}: not finite")


def _numpy(x: Any) -> np.ndarray:
    x = tf.convert_to_tensor(x)
    return np.asarray(tf.cast(x, tf.float64) if x.dtype.is_floating else x)
