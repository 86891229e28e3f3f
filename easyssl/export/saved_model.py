"""Writes a trained model as a SavedModel: verified, described by a manifest, published as a new version."""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

import easyssl
from easyssl.export import snippet, versions
from easyssl.export.row_text import rows_as_text
from easyssl.export.serving import ServingModule
from easyssl.export.verify import Verification, operations, outputs_on_cpu, verify


@dataclasses.dataclass(frozen=True)
class Exported:
    """A published export.

    Attributes:
        path: Folder of the version.
        instructions: How to call it, as text for people.
        verification: What was compared before publishing, `None` if that was switched off.
    """

    path: pathlib.Path
    instructions: str
    verification: Verification | None


def write_saved_model(
    module: ServingModule,
    folder: pathlib.Path,
    rows: Mapping[str, np.ndarray],
    *,
    name: str = "easyssl",
    step: int = 0,
    checkpoint: str = "",
    config_text: str = "",
    assets: Sequence[pathlib.Path] = (),
    keep: int = 1,
    check: bool = True,
    rtol: float = 1e-4,
    atol: float = 1e-5,
) -> Exported:
    """Writes, verifies and publishes a SavedModel as `folder/<n>`.

    Nothing that exists is overwritten: the version is the next free number, it appears under its name by a
    rename once it is complete and verified, and only then are older versions deleted.

    Args:
        module: The traced functions.
        folder: Folder of the versions, usually `model_dir/export`.
        rows: Sample rows, column name -> `[n]`, to verify and document the model with.
        name: What to call the model in the serving instructions.
        step: Training step of the weights, for the manifest.
        checkpoint: Digest of the checkpoint that the weights are from, for the manifest.
        config_text: The config, for the manifest.
        assets: Files to copy into `assets.extra`.
        keep: Versions to keep, the new one included; 0 keeps all.
        check: Whether to verify before publishing.
        rtol: Relative tolerance of the check.
        atol: Absolute tolerance of the check.

    Returns:
        Where the export is and how to call it.

    Raises:
        UsageError: If the graph holds an operation that a stock server cannot run.
        RuntimeError: If the exported model computes something else than this process.
    """
    # A tf.train.Example holds float32 only; so that both signatures can agree, the sample does too.
    rows = {n: v.astype(np.float32).astype(v.dtype) if v.dtype.kind == "f" else v for n, v in rows.items()}
    expected = outputs_on_cpu(module.answer, rows)
    parts = {
        part: (module.part_columns[part], outputs_on_cpu(functools.partial(module.answer_part, part), rows))
        for part in module.parts
    }
    signature = module.serve.structured_input_signature[1]
    inputs = {column: f"{spec.dtype.name} [batch]" for column, spec in signature.items()}
    outputs = {output: _kind(value) for output, value in module.serve.structured_outputs.items()}
    named_rows = {module.arguments[name]: values for name, values in rows.items()}
    with versions.unpublished(folder) as temporary:
        tf.saved_model.save(module, str(temporary), signatures=module.signatures)
        found = None
        if check:
            texts = rows_as_text(rows, module.columns, module.separator) if module.separator else None
            found = verify(
                temporary, rows, module.arguments, expected, parts, rtol=rtol, atol=atol, texts=texts
            )
        extra = temporary / "assets.extra"
        extra.mkdir(exist_ok=True)
        for asset in assets:
            shutil.copy2(asset, extra / asset.name)
        request = snippet.rest_request(snippet.sample_rows(named_rows))
        (extra / "request.json").write_text(json.dumps(request, ensure_ascii=False) + "\n", "utf-8")
        versions.write_manifest(
            temporary,
            {
                "easyssl": easyssl.__version__,
                "tensorflow": tf.__version__,
                "step": step,
                "checkpoint": checkpoint,
                "inputs": inputs,
                "columns": module.arguments,
                "outputs": outputs,
                "signatures": {
                    part: {
                        "inputs": [module.arguments[column] for column in module.part_columns[part]],
                        "outputs": {key: _kind(value) for key, value in function.structured_outputs.items()},
                    }
                    for part, function in module.parts.items()
                }
                | ({"serve_rows": {"inputs": ["features"], "outputs": outputs}} if module.separator else {}),
                "operations": list(operations(temporary)),
                "verified": dataclasses.asdict(found) if found else None,
                "config": config_text,
            },
        )
        path = versions.publish(temporary, folder)
    versions.prune(folder, keep)
    text = snippet.instructions(path.absolute(), name, inputs, outputs, named_rows, _further(module))
    return Exported(path, text, found)


def _further(module: ServingModule) -> list[str]:
    """Returns a line of text for each further signature."""
    lines = []
    if module.separator:
        cells = ", ".join(column.name for column in module.columns)
        lines.append(
            f"signature 'serve_rows' takes 'features': the cells {cells} as one text, joined by "
            f"{module.separator!r}"
        )
    for part, function in module.parts.items():
        arguments = ", ".join(module.arguments[column] for column in module.part_columns[part])
        outputs = ", ".join(function.structured_outputs)
        lines.append(f"signature '{part}' takes {arguments} and gives {outputs}")
    return lines


def _kind(output: tf.Tensor) -> str:
    """Returns type and shape as text, such as `float32 [batch, 3]`."""
    shape = "?" if output.shape.rank is None else ", ".join(["batch", *map(str, output.shape[1:])])
    return f"{output.dtype.name} [{shape}]"
