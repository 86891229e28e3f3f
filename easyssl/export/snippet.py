"""What a user needs to call an exported model: its signature, a Python snippet and a JSON request."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_ROWS_SHOWN = 2


def sample_rows(rows: Mapping[str, np.ndarray], count: int = _ROWS_SHOWN) -> dict[str, np.ndarray]:
    """Picks the rows that print shortest, in their order.

    Args:
        rows: Column name -> `[n]`.
        count: How many to pick at most.
    """
    total = len(next(iter(rows.values())))
    lengths = [sum(len(str(values[i])) for values in rows.values()) for i in range(total)]
    chosen = sorted(sorted(range(total), key=lengths.__getitem__)[:count])
    return {name: values[chosen] for name, values in rows.items()}


def signature_table(inputs: Mapping[str, str], outputs: Mapping[str, str]) -> str:
    """Lists inputs and outputs with their types, one a line."""
    width = max(map(len, [*inputs, *outputs]))
    lines = [f"  in   {name:<{width}}  {kind}" for name, kind in inputs.items()]
    lines += [f"  out  {name:<{width}}  {kind}" for name, kind in outputs.items()]
    return "\n".join(lines)


def python_snippet(path: pathlib.Path, rows: Mapping[str, np.ndarray]) -> str:
    """Returns a Python program that loads the model and calls it; it runs as it is.

    Args:
        path: Folder of the SavedModel.
        rows: Column name -> `[n]`, text as `bytes`.
    """
    lines = [
        "import tensorflow as tf",
        "",
        f"model = tf.saved_model.load({str(path)!r})",
        "rows = {",
    ]
    for name, values in rows.items():
        kind = "string" if values.dtype == object else values.dtype.name
        shown = [_text(v) if isinstance(v, bytes) else v for v in _plain(values)]
        lines.append(f"    {name!r}: tf.constant({shown!r}, tf.{kind}),")
    lines += [
        "}",
        'outputs = model.signatures["serving_default"](**rows)',
        "for name, values in outputs.items():",
        "    print(name, values.numpy())",
    ]
    return "\n".join(lines) + "\n"


def rest_request(rows: Mapping[str, np.ndarray], by_column: bool = False) -> dict[str, Any]:
    """Returns the body of a TensorFlow Serving REST `:predict` request.

    Args:
        rows: Column name -> `[n]`, text as `bytes`.
        by_column: Whether to send one list a column (`inputs`) instead of one object a row (`instances`).
    """
    columns = {name: [_json(v) for v in _plain(values)] for name, values in rows.items()}
    request: dict[str, Any] = {"signature_name": "serving_default"}
    if by_column:
        return request | {"inputs": columns}
    cells = zip(*columns.values(), strict=True)
    return request | {"instances": [dict(zip(columns, row, strict=True)) for row in cells]}


def instructions(
    path: pathlib.Path,
    name: str,
    inputs: Mapping[str, str],
    outputs: Mapping[str, str],
    rows: Mapping[str, np.ndarray],
    further: Sequence[str] = (),
) -> str:
    """Returns everything about calling the model as one text.

    Args:
        path: Folder of the exported version.
        name: What the model shall be called when it is served.
        inputs: Input name -> type, as text.
        outputs: Output name -> type, as text.
        rows: Sample rows.
        further: A line for each further signature.
    """
    shown = sample_rows(rows)
    by_row = json.dumps(rest_request(shown), ensure_ascii=False)
    by_column = json.dumps(rest_request(shown, by_column=True), ensure_ascii=False)
    url = f"http://localhost:8501/v1/models/{name}:predict"
    return (
        f"signature 'serving_default' of {path}\n{signature_table(inputs, outputs)}\n"
        "signature 'serve_examples' takes 'examples': serialized tf.train.Example with the same columns\n"
        + "".join(f"{line}\n" for line in further)
        + "\n"
        f"# Python: TensorFlow is enough, easyssl is not needed\n{python_snippet(path, shown)}\n"
        f"# REST: serve it, then post a request, by row or by column\n"
        f"docker run -p 8501:8501 -v '{path.parent}:/models/{name}' -e MODEL_NAME={name} tensorflow/serving\n"
        f"curl {url} -d @- <<'END'\n{by_row}\nEND\n"
        f"curl {url} -d @- <<'END'\n{by_column}\nEND\n"
    )


def _plain(values: np.ndarray) -> list[Any]:
    """Returns Python values; a float32 as the shortest number that rounds to it, not as all its digits."""
    if values.dtype == np.float32:
        return [float(str(value)) for value in values]
    return values.tolist()


def _text(value: bytes) -> str | bytes:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value


def _json(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    text = _text(value)
    if isinstance(text, str):
        return text
    import base64

    return {"b64": base64.b64encode(value).decode("ascii")}
