"""Checkpoints that exist completely or not at all.

A checkpoint is a folder `step-00001200` with the arrays (`*.npz`), the documents (`*.json`) and a manifest
with the size and the SHA-256 of each file. It is written beside its final place, flushed to the disk and
renamed, so that a crash at any moment leaves either no such folder or a whole one. Readers check every file
against the manifest and take the newest checkpoint that is whole.

This module needs NumPy only. Nothing in a checkpoint is code: arrays are read with `allow_pickle=False`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import re
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from easyssl.errors import CheckpointError
from easyssl.training.files import remove_folder, sha256, sync_file, sync_folder, write_json

MANIFEST = "MANIFEST.json"
FORMAT = 1
_NAME = re.compile(r"step-(\d{8,})$")
_LEFTOVER = re.compile(r"step-\d{8,}\.(tmp|old)-\d+$")

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was whole when it was found.

    Attributes:
        path: Its folder.
        step: The step after which it was taken.
        manifest: The content of its manifest.
    """

    path: pathlib.Path
    step: int
    manifest: dict[str, Any]

    @property
    def digest(self) -> str:
        """The SHA-256 of the manifest, which has those of all other files."""
        return sha256(self.path / MANIFEST)

    def document(self, name: str) -> dict[str, Any]:
        """Returns the document `<name>.json`."""
        return json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))

    def arrays(self, name: str) -> np.lib.npyio.NpzFile:
        """Opens `<name>.npz`: a mapping that reads one array at a time, to be used in a `with` statement."""
        return np.load(self.path / f"{name}.npz", allow_pickle=False)


def find_damage(path: pathlib.Path) -> str | None:
    """Returns what is wrong with a checkpoint's folder, None if it is whole.

    Args:
        path: The folder.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        files = manifest["files"]
        if manifest["format"] != FORMAT:
            return f"it has format {manifest['format']}, this version reads format {FORMAT}"
        for name, expected in files.items():
            if (path / name).stat().st_size != expected["size"]:
                return f"{name} has {(path / name).stat().st_size} bytes, expected {expected['size']}"
            if sha256(path / name) != expected["sha256"]:
                return f"{name} does not have the content it was written with"
    except FileNotFoundError as error:
        return f"{pathlib.Path(error.filename).name} is missing"
    except OSError as error:
        return f"{pathlib.Path(error.filename or path).name} cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} cannot be read"
    return None


def read_checkpoint(path: pathlib.Path) -> Checkpoint:
    """Opens one checkpoint.

    Args:
        path: Its folder.

    Raises:
        CheckpointError: If it is damaged.
    """
    damage = find_damage(path)
    if damage is not None:
        raise CheckpointError(f"{path}: not a whole checkpoint: {damage}")
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    return Checkpoint(path, int(manifest["step"]), manifest)


def no_hook(file: str) -> None:
    """Does nothing with the name of a file about to be written."""


class CheckpointFolder:
    """The checkpoints of one run.

    Args:
        folder: Where they are, `<model_dir>/ckpt`; made when the first one is written.
        keep: Number of checkpoints kept besides the best one; 0 keeps all.
        report: Called with a line for the user, such as that a damaged checkpoint was passed over.
        on_write: Called with the name of each file before it is written, `MANIFEST.json` and the final
            folder's name included. Tests use it to be slow or to fail at a chosen place.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        keep: int = 10,
        report: Callable[[str], None] = print,
        on_write: Callable[[str], None] = no_hook,
    ) -> None:
        self.folder = folder
        self.keep = keep
        self.report = report
        self.on_write = on_write

    def steps(self) -> list[int]:
        """Returns the steps that have a folder, damaged or not, newest first."""
        if not self.folder.is_dir():
            return []
        matches = (_NAME.match(entry.name) for entry in self.folder.iterdir())
        return sorted((int(match[1]) for match in matches if match), reverse=True)

    def path(self, step: int) -> pathlib.Path:
        """Returns the folder of a step's checkpoint."""
        return self.folder / f"step-{step:08d}"

    def latest(self) -> Checkpoint | None:
        """Returns the newest whole checkpoint, None if there is no checkpoint at all.

        Raises:
            CheckpointError: If there are checkpoints and every one is damaged.
        """
        damaged: list[str] = []
        for step in self.steps():
            damage = find_damage(self.path(step))
            if damage is None:
                for text in damaged:
                    self.report(f"passing over a damaged checkpoint: {text}; using step {step}")
                return read_checkpoint(self.path(step))
            damaged.append(f"{self.path(step)}: {damage}")
        if damaged:
            raise CheckpointError(
                f"{self.folder}: none of {len(damaged)} checkpoints is whole (newest: {damaged[0]}); "
                "start over with --fresh"
            )
        return None

    def save(
        self,
        step: int,
        arrays: Mapping[str, Arrays],
        documents: Mapping[str, Any],
        facts: Mapping[str, Any],
    ) -> Checkpoint:
        """Writes a checkpoint.

        Args:
            step: The step after which it is taken.
            arrays: File name without ending -> array name -> array.
            documents: File name without ending -> JSON value.
            facts: What else to say in the manifest, such as versions.

        Returns:
            The checkpoint, checked.

        Raises:
            CheckpointError: If an array holds a number that is not finite, or the disk refuses. The earlier
                checkpoints are as before.
        """
        for group in arrays.values():
            for name, array in group.items():
                if array.dtype.kind in "fc" and not np.isfinite(array).all():
                    raise CheckpointError(f"step {step}: '{name}' is not finite; no checkpoint is written")
        final = self.path(step)
        temporary = final.with_name(f"{final.name}.tmp-{os.getpid()}")
        try:
            temporary.mkdir(parents=True)
            for name, group in arrays.items():
                self.on_write(f"{name}.npz")
                _write_arrays(temporary / f"{name}.npz", group)
            for name, document in documents.items():
                self.on_write(f"{name}.json")
                write_json(temporary / f"{name}.json", document)
            files = {}
            for path in sorted(temporary.iterdir()):
                sync_file(path)
                files[path.name] = {"size": path.stat().st_size, "sha256": sha256(path)}
            self.on_write(MANIFEST)
            write_json(temporary / MANIFEST, {**facts, "format": FORMAT, "step": step, "files": files})
            sync_file(temporary / MANIFEST)
            sync_folder(temporary)
            self.on_write(final.name)
            if final.exists():  # a damaged one that was passed over when the run was resumed
                remove_folder(final)
            os.rename(temporary, final)
            sync_folder(self.folder)
        except OSError as error:
            shutil.rmtree(temporary, ignore_errors=True)
            raise CheckpointError(
                f"{final}: cannot write the checkpoint: {error.strerror or error}; "
                "the earlier checkpoints are untouched"
            ) from None
        return read_checkpoint(final)

    def retain(self, best_step: int | None = None) -> None:
        """Removes the oldest checkpoints beyond the number to keep.

        Call it after `save` has returned: only then is a newer whole checkpoint certain.

        Args:
            best_step: A step whose checkpoint stays in any case.
        """
        if self.keep <= 0:
            return
        for step in self.steps()[self.keep :]:
            if step != best_step:
                try:
                    remove_folder(self.path(step))
                except OSError as error:
                    self.report(f"{self.path(step)}: cannot be removed: {error.strerror}")

    def clean(self) -> None:
        """Removes what a killed writer left behind. The caller holds the lock of the model folder."""
        for leftover in self._leftovers():
            shutil.rmtree(leftover, ignore_errors=True)

    def _leftovers(self) -> Iterator[pathlib.Path]:
        if self.folder.is_dir():
            for entry in list(self.folder.iterdir()):
                if _LEFTOVER.match(entry.name):
                    yield entry


def _write_arrays(path: pathlib.Path, arrays: Arrays) -> None:
    """Writes arrays as an `.npz` without a second copy in memory and with the same bytes every time."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name in sorted(arrays):
            entry = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(arrays[name]), allow_pickle=False)
