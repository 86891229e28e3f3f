"""ExprFeature: a number computed from other columns."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from easyssl.config.expressions import parse_column_expression
from easyssl.data.features.types import FeatureSpec


class ExprTransform(tf.Module):
    """Evaluates an expression of `easyssl.config.expressions` on columns, in float64.

    A comparison that holds is 1, otherwise 0. The empty cell of a STRING column is the number 0.

    Args:
        spec: The feature.
    """

    def __init__(self, spec: FeatureSpec):
        super().__init__(name="expr_feature")
        self.spec = spec
        self.expression = parse_column_expression(spec.expression, spec.inputs)

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns float32 `[batch, 1]`."""
        numbers = [_number(raw[name]) for name in self.spec.inputs]
        value = tf.cast(self.expression(*numbers), tf.float32)
        value = tf.broadcast_to(value, tf.shape(numbers[0]))  # an expression may use no column
        return {self.spec.name: value[:, tf.newaxis]}


def _number(cells: tf.Tensor) -> tf.Tensor:
    if cells.dtype == tf.string:
        cells = tf.strings.to_number(tf.where(tf.equal(cells, ""), "0", cells), tf.float64)
    return tf.cast(cells, tf.float64)
