"""Exports the model of a config."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

import easyssl
from easyssl.data.from_config import separator_from_config
from easyssl.data.rows import Column
from easyssl.errors import nearest
from easyssl.export import versions
from easyssl.export.saved_model import Exported, write_saved_model
from easyssl.export.serving import ServingModule

if TYPE_CHECKING:
    from easyssl.config import Config


def export_model(
    model: tf.keras.Model,
    config: Config,
    columns: Mapping[str, Column],
    rows: Mapping[str, np.ndarray],
    step: int,
    folder: pathlib.Path | None = None,
    checkpoint: str = "",
) -> Exported:
    """Exports a trained model as the config's `export_config` asks for.

    Args:
        model: A model of `easyssl.models.build_model`, with trained weights.
        config: The config that it was built from.
        columns: The columns of the input by name.
        rows: Sample rows of at least the columns that the model reads: name -> `[n]`.
        step: Training step of the weights.
        folder: Folder of the versions; default `model_dir/export`.
        checkpoint: Digest of the checkpoint that the weights are from; `find_export` finds the export by it.

    Returns:
        Where the export is and how to call it.

    Raises:
        ConfigError: If an asset file is not there, or `model_params.outputs` names no prediction.
        UsageError: If a layer of a plugin cannot be served.

    Example:
        >>> export_model(model, config, columns, rows, step=1000).path  # doctest: +SKIP
        PosixPath('/runs/bst/export/1')
    """
    options = config.message.export_config
    transform = model.transform
    assets = []
    for i, name in enumerate(options.asset_files):
        path = pathlib.Path(config.resolve_path(name, f"export_config.asset_files[{i}]"))
        if not path.is_file():
            raise config.error(f"export_config.asset_files[{i}]", f"there is no file {path}")
        assets.append(path)

    def predict(raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return model(transform(raw), training=False)

    needed = [columns[name] for name in transform.columns]
    separator = ""
    if not options.multi_placeholder:
        separator = separator_from_config(config).decode()
        needed.sort(key=lambda column: list(columns).index(column.name))
    parts = {
        name: ([columns[column] for column in signature.columns], signature.function)
        for name, signature in model.signatures().items()
    }
    with model.inference(), tempfile.TemporaryDirectory() as arrays:
        for name, array in model.exported_arrays().items():
            path = pathlib.Path(arrays) / f"{name}.npy"
            np.save(path, array)
            assets.append(path)
        module = ServingModule(
            predict,
            needed,
            [*model.variables, *model.fixed_variables],
            resources=[transform],
            parts=parts,
            separator=separator,
        )
        predicted = module.serve.structured_outputs
        for i, name in enumerate(config.message.model_config.model_params.outputs):
            if name not in predicted:
                raise config.error(
                    f"model_config.model_params.outputs[{i}]",
                    f"the model has no prediction '{name}'{nearest(name, predicted)}",
                )
        # Half precision rounds differently where the exported graph fuses operations.
        half = tf.as_dtype(model.compute_dtype).size < tf.float32.size
        tolerance = {"rtol": 2e-2, "atol": 2e-2} if half else {"rtol": 1e-4, "atol": 1e-5}
        return write_saved_model(
            module,
            folder or _model_dir(config) / "export",
            {c.name: rows[c.name] for c in needed},
            name=_model_dir(config).name,
            step=step,
            checkpoint=checkpoint,
            config_text=config.text(),
            assets=assets,
            keep=options.exports_to_keep,
            check=options.verify,
            **tolerance,
        )


def find_export(config: Config, checkpoint: str) -> pathlib.Path | None:
    """Returns the newest version below `model_dir/export` that exporting would only repeat.

    Args:
        config: The config; its export has to be of the very same one.
        checkpoint: Digest of the checkpoint to export.

    Returns:
        Its folder, or None if there is none.
    """
    facts = {"easyssl": easyssl.__version__, "checkpoint": checkpoint, "config": config.text()}
    return versions.find(_model_dir(config) / "export", facts)


def _model_dir(config: Config) -> pathlib.Path:
    return pathlib.Path(config.resolve_path(config.message.model_dir, "model_dir"))
