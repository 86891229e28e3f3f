"""What the command sets before TensorFlow loads. The library itself never touches the environment."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
import tempfile
from collections.abc import Iterator

from absl import logging as absl_logging

from easyssl.errors import UsageError


def prepare_tensorflow() -> None:
    """Selects tf_keras and silences TensorFlow's start-up chatter; call before anything imports TensorFlow.

    The command runs on tf_keras because TensorFlow Recommenders and multi-worker training need it.

    Raises:
        UsageError: If this process has already loaded TensorFlow with Keras 3.
    """
    loaded = sys.modules.get("tensorflow")
    if loaded is not None and hasattr(loaded.keras, "ops"):  # which Keras 3 has and tf_keras has not
        raise UsageError(
            "easyssl: this process has loaded TensorFlow with Keras 3, but the command runs on tf_keras; "
            "set TF_USE_LEGACY_KERAS=1 before importing TensorFlow, or run easyssl as a process of its own"
        )
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    # Errors reach us as exceptions; what the runtime prints besides would bury our one line.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Deterministic scatters would copy whole tables to the CPU; our updates write each row only once.
    os.environ.setdefault("TF_DISABLE_SCATTER_OP_DETERMINISM", "1")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    absl_logging.set_verbosity(absl_logging.ERROR)


def load_tensorflow() -> None:
    """Imports TensorFlow without its start-up chatter.

    Its libraries log before their log level can be set, so the import runs with stderr put aside; what they
    said is shown only if the import fails.

    Python's collector of cycles is paused meanwhile: a quarter of the time went into looking through what
    stays until the process ends. It does not look there afterwards either. SciPy, which Keras loads for
    augmenting images if it is installed, would take another tenth.
    """
    if "tensorflow" not in sys.modules:
        prepare_tensorflow()
        with _stderr_aside(), _collector_paused(), _absent("scipy"):
            import tensorflow  # noqa: F401


@contextlib.contextmanager
def _collector_paused() -> Iterator[None]:
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if enabled:
            gc.enable()


@contextlib.contextmanager
def _absent(package: str) -> Iterator[None]:
    """Lets a package look as if it was not installed, unless it is loaded already."""
    hidden = package not in sys.modules
    if hidden:
        sys.modules[package] = None  # type: ignore[assignment]  # imports of it raise an ImportError
    try:
        yield
    finally:
        if hidden:
            del sys.modules[package]


@contextlib.contextmanager
def _stderr_aside() -> Iterator[None]:
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        failed = True
        try:
            yield
            failed = False
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            if failed:
                aside.seek(0)
                sys.stderr.write(aside.read().decode(errors="replace"))
