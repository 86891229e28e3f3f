"""What a row's vectors find in the steps of the other rows of a batch.

`log(sum(exp(anchor . step)))` over the steps of other rows takes batch^2 similarities. Here they are visited
a part at a time, in the gradient again, and never kept.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.functional.masking import EXCLUDED


def rolled_logsumexp(
    anchors: tf.Tensor,
    items: tf.Tensor,
    valid: tf.Tensor,
    ids: tf.Tensor | None,
    num_rolled: int,
) -> tf.Tensor:
    """Sums over the steps of the rows before, cyclically.

    One shift of the batch is visited at a time, so no tensor is larger than `[batch, num_anchors, seq_len]`,
    or with ids `[batch, seq_len, seq_len]`.

    Args:
        anchors: float32 `[batch, num_anchors, dim]`.
        items: float32 `[batch, seq_len, dim]`.
        valid: bool `[batch, seq_len]`, which steps are there.
        ids: `[batch, seq_len]`; a step whose id occurs in the anchors' row does not count. Or None.
        num_rolled: How many rows before, as far as there are that many others.

    Returns:
        float32 `[batch, num_anchors]`; where nothing counts, `EXCLUDED`.
    """
    last = tf.minimum(tf.shape(items)[0] - 1, num_rolled)

    def shifted(shift: tf.Tensor, z: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.roll(x, shift, axis=0)
        allowed = tf.roll(valid, shift, axis=0)
        if ids is not None:
            allowed &= ~_occurs(tf.roll(ids, shift, axis=0), ids, valid)
        return x, tf.where(allowed[:, None, :], tf.einsum("bkd,bld->bkl", z, x), EXCLUDED)

    @tf.custom_gradient
    def forward(z: tf.Tensor, x: tf.Tensor) -> Any:
        def add(shift: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            _, logits = shifted(shift, z, x)
            return shift + 1, _log_add(total, logits)

        (total,) = _visit(1, last, add, tf.fill(tf.shape(z)[:2], EXCLUDED))

        def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            def add_gradient(shift: tf.Tensor, dz: tf.Tensor, dx: tf.Tensor) -> tuple[tf.Tensor, ...]:
                rolled, logits = shifted(shift, z, x)
                share = _shares(logits, total) * upstream[..., None]
                dz += tf.einsum("bkl,bld->bkd", share, rolled)
                dx += tf.roll(tf.einsum("bkl,bkd->bld", share, z), -shift, axis=0)
                return shift + 1, dz, dx

            return _visit(1, last, add_gradient, tf.zeros_like(z), tf.zeros_like(x))

        return total, backward

    return forward(anchors, items)


def others_logsumexp(
    anchors: tf.Tensor, items: tf.Tensor, valid: tf.Tensor, ids: tf.Tensor | None
) -> tf.Tensor:
    """Sums over the steps of all other rows.

    As many rows are visited at a time as let their similarities take the memory of the items.

    Args:
        anchors: float32 `[batch, num_anchors, dim]`.
        items: float32 `[batch, seq_len, dim]`.
        valid: bool `[batch, seq_len]`, which steps are there.
        ids: `[batch, seq_len]`; a step whose id occurs in the anchors' row does not count. Or None.

    Returns:
        float32 `[batch, num_anchors]`; where nothing counts, `EXCLUDED`.
    """
    batch, steps, dim = tf.unstack(tf.shape(items))
    wide = tf.shape(anchors)[1] if ids is None else tf.maximum(tf.shape(anchors)[1], steps)
    size = tf.clip_by_value(dim // wide, 1, tf.maximum(batch, 1))
    parts = -(-batch // size)

    def split(x: tf.Tensor) -> tf.Tensor:
        """Splits rows into parts of equal size, `[parts, size, ...]`."""
        padding = [[0, parts * size - batch], *[[0, 0]] * (x.shape.rank - 1)]
        return tf.reshape(tf.pad(x, padding), tf.concat([[parts, size], tf.shape(x)[1:]], axis=0))

    rows, there = split(tf.range(batch)), split(valid)
    known = None if ids is None else split(ids)

    def similarities(part: tf.Tensor, z: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.reshape(x[part], [size * steps, dim])
        allowed = there[part][None] & (rows[part][None, :] != tf.range(batch)[:, None])[:, :, None]
        allowed = tf.reshape(allowed, [batch, size * steps])
        if known is not None:
            others = tf.reshape(known[part], [1, size * steps])
            allowed &= ~_occurs(tf.broadcast_to(others, [batch, size * steps]), ids, valid)
        return x, tf.where(allowed[:, None, :], tf.einsum("bkd,nd->bkn", z, x), EXCLUDED)

    @tf.custom_gradient
    def forward(z: tf.Tensor, x: tf.Tensor) -> Any:
        x = split(x)

        def add(part: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return part + 1, _log_add(total, similarities(part, z, x)[1])

        (total,) = _visit(0, parts - 1, add, tf.fill(tf.shape(z)[:2], EXCLUDED))

        def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            def add_gradient(part: tf.Tensor, dz: tf.Tensor, dx: tf.TensorArray) -> tuple[Any, ...]:
                seen, logits = similarities(part, z, x)
                share = _shares(logits, total) * upstream[..., None]
                dz += tf.einsum("bkn,nd->bkd", share, seen)
                return part + 1, dz, dx.write(part, tf.einsum("bkn,bkd->nd", share, z))

            array = tf.TensorArray(tf.float32, parts, element_shape=[None, x.shape[-1]])
            dz, dx = _visit(0, parts - 1, add_gradient, tf.zeros_like(z), array)
            return dz, tf.reshape(dx.concat(), [parts * size, steps, dim])[:batch]

        return total, backward

    return forward(anchors, items)


def _visit(first: int, last: tf.Tensor, body: Any, *state: Any) -> Any:
    """Runs `body` for each number from `first` to `last`, and returns the state behind it."""

    def more(number: tf.Tensor, *_: Any) -> tf.Tensor:
        return number <= last

    return tf.while_loop(more, body, (tf.constant(first), *state), parallel_iterations=1)[1:]


def _occurs(ids: tf.Tensor, own: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Returns which of the ids `[batch, n]` are among the row's own valid ones."""
    return tf.reduce_any((own[:, :, None] == ids[:, None, :]) & valid[:, :, None], axis=1)


def _log_add(total: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Returns `log(exp(total) + sum(exp(logits)))`."""
    return tf.reduce_logsumexp(tf.stack([total, tf.reduce_logsumexp(logits, axis=-1)]), axis=0)


def _shares(logits: tf.Tensor, total: tf.Tensor) -> tf.Tensor:
    """Returns `exp(logits - total)`, and 0 for what does not count, also where nothing does."""
    return tf.where(logits > EXCLUDED / 2, tf.exp(logits - total[..., None]), 0.0)
