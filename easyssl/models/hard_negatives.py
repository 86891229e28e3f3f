"""Hard negatives in a model: which rows they are for, and their scores beside those of all items."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from easyssl.data.hard_negatives import HARD_NEGATIVES
from easyssl.data.transform import FeatureTransform
from easyssl.functional.masking import EXCLUDED

_SPEC = tf.TensorSpec([None, 2], tf.int64, HARD_NEGATIVES)


class WithHardNegatives(FeatureTransform):
    """Hands on, beside the features, for whom the last items are: `HARD_NEGATIVES`, int64 `[hard, 2]`."""

    def signature(self) -> dict[str, tf.TensorSpec]:
        """Returns the `tf.TensorSpec` of all that is read."""
        return {**super().signature(), HARD_NEGATIVES: _SPEC}

    def output_signature(self) -> dict[str, tf.TensorSpec]:
        """Returns the `tf.TensorSpec` of every output."""
        return {**super().output_signature(), HARD_NEGATIVES: tf.TensorSpec(_SPEC.shape, _SPEC.dtype)}

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Transforms one batch."""
        return {**super().__call__(raw), HARD_NEGATIVES: tf.convert_to_tensor(raw[HARD_NEGATIVES], tf.int64)}


def in_columns(scores: tf.Tensor, hard: tf.Tensor, rows: tf.Tensor, count: int) -> tf.Tensor:
    """Returns the scores of hard negatives by row.

    Args:
        scores: float32 `[hard]`.
        hard: Row and number of each, int64 `[hard, 2]`.
        rows: Number of rows.
        count: Hard negatives of a row at most.

    Returns:
        float32 `[rows, count]`, `EXCLUDED` where a row has fewer. Gradients reach each score that is there.

    Example:
        >>> hard = tf.constant([[1, 0], [1, 1]], tf.int64)
        >>> in_columns(tf.constant([3.0, 4.0]), hard, 2, 2)[1].numpy().tolist()
        [3.0, 4.0]
    """
    empty = tf.fill([rows, count], tf.constant(EXCLUDED, tf.float32))
    return tf.tensor_scatter_nd_update(empty, hard, scores)


def of_rows(features: Mapping[str, tf.Tensor], rows: int, begin: int, end: int) -> dict[str, tf.Tensor]:
    """Returns some rows of a batch with the negatives that are for them.

    Args:
        features: Features of a batch by name, `HARD_NEGATIVES` among them: of `rows` rows, or of items, which
            are as many and then negatives of all rows and of single ones.
        rows: Rows of the batch.
        begin: The first row to return.
        end: The one after the last.
    """
    hard = features[HARD_NEGATIVES]
    theirs = tf.where((hard[:, 0] >= begin) & (hard[:, 0] < end))[:, 0]
    found = {HARD_NEGATIVES: tf.gather(hard, theirs) - tf.constant([begin, 0], tf.int64)}
    for name, tensor in features.items():
        if name == HARD_NEGATIVES:
            continue
        first = tensor.shape[0] - hard.shape[0]  # of those for single rows
        if tensor.shape[0] == rows:
            found[name] = tensor[begin:end]
        else:
            found[name] = tf.concat(
                [tensor[begin:end], tensor[rows:first], tf.gather(tensor[first:], theirs)], axis=0
            )
    return found
