"""How a feature's embedding table starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from easyssl.data.features.read import FeatureReader


def read_initializer(reader: FeatureReader, rows: int, dim: int) -> dict[str, Any] | None:
    """Reads `initializer` of a feature.

    Args:
        reader: The feature's reader.
        rows: Rows of the feature's table.
        dim: Its width.

    Returns:
        `{"class_name": ..., "config": ...}` for `keras.initializers.get`; None if the field is not set.

    Raises:
        ConfigError: If no initializer is named, or constants are neither one nor as many as the table has.
    """
    if not reader.message.HasField("initializer"):
        return None
    kind = reader.message.initializer.WhichOneof("initializer_oneof")
    if kind is None:
        raise reader.error("initializer", "is empty; name an initializer or leave it out")
    given = getattr(reader.message.initializer, kind)
    if kind == "glorot_normal_initializer":
        return {"class_name": "GlorotNormal", "config": {}}
    if kind != "constant_initializer":
        name = "TruncatedNormal" if kind == "truncated_normal_initializer" else "RandomNormal"
        return {"class_name": name, "config": {"mean": given.mean, "stddev": given.stddev}}
    numbers = list(given.consts)
    if len(numbers) == 1:
        return {"class_name": "Constant", "config": {"value": numbers[0]}}
    if not numbers or len(numbers) != rows * dim:
        raise reader.error(
            "initializer.constant_initializer",
            f"expected one number, or {rows} x {dim} row by row, found {len(numbers)}",
        )
    return {
        "class_name": "Constant",
        "config": {"value": [numbers[row * dim : (row + 1) * dim] for row in range(rows)]},
    }
