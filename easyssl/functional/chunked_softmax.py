"""Softmax cross entropy over many candidates, without ever holding all logits."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

CHUNK_ENTRIES = 6 << 20
# The logarithm of a share above that is as exact as that of any other number.
_TINY = 1e-30


def softmax_loss_sum(
    states: tf.Tensor,
    candidates: tf.Tensor,
    labels: tf.Tensor,
    weights: tf.Tensor,
    chunk_entries: int = CHUNK_ENTRIES,
) -> tf.Tensor:
    """Returns `sum_t w_t * -log softmax_j(state_t . candidate_j)[label_t]`.

    Tokens are taken in chunks, and the gradient of a chunk is computed together with its loss, from the same
    shares: three matrix products in all, as many as without chunks, and no logits kept for the backward
    pass. Only a sum allows that, since the gradient that will arrive is one number, and the chunks' gradients
    wait for it. Where nobody asks for gradients, `tf.function` and XLA drop their part of the loop.

    Beyond its inputs it holds one chunk of logits, and the gradients of states and candidates. Each chunk
    adds to the latter, `[candidates, dim]`, so chunks of a few tokens cost more time: with more than some
    100,000 candidates use larger chunks.

    Args:
        states: float32 `[tokens, dim]`.
        candidates: float32 `[candidates, dim]`; its gradient is dense.
        labels: int32 `[tokens]`, the candidate of each token.
        weights: float32 `[tokens]`; no gradient flows.
        chunk_entries: How many logits to hold at once; at least those of one token are. Defaults to 6291456.

    Returns:
        float32 scalar, not negative.

    Example:
        >>> loss = softmax_loss_sum(tf.eye(2), tf.eye(2), tf.constant([0, 1]), tf.constant([1.0, 0.0]))
        >>> round(float(loss), 6)  # log(e + 1) - 1
        0.313262
    """

    @tf.custom_gradient
    def compute(states: tf.Tensor, candidates: tf.Tensor) -> tuple[tf.Tensor, Any]:
        total, by_state, by_candidate = _loss_and_gradients(
            states, candidates, labels, tf.stop_gradient(weights), chunk_entries
        )
        return total, lambda upstream: (upstream * by_state, upstream * by_candidate)

    return compute(states, candidates)


def chunks_of(values: tf.Tensor, count: tf.Tensor, size: tf.Tensor, fill: Any = 0) -> tf.Tensor:
    """Lays out the first axis as `[count, size]`, filled up at the end.

    Args:
        values: `[n, ...]` with n at most count * size.
        count: How many chunks.
        size: How many entries each has.
        fill: What stands in entries that are left over. Defaults to 0.

    Returns:
        `[count, size, ...]`.

    Example:
        >>> chunks_of(tf.constant([1, 2, 3]), 2, 2, fill=-1).numpy().tolist()
        [[1, 2], [3, -1]]
    """
    missing = count * size - tf.shape(values)[0]
    widths = [[0, missing]] + [[0, 0]] * (values.shape.rank - 1)
    filled = tf.pad(values, widths, constant_values=tf.cast(fill, values.dtype))
    return tf.reshape(filled, [count, size, *(size_of(values, axis) for axis in range(1, values.shape.rank))])


def balanced(total: Any, largest: Any) -> tuple[Any, Any]:
    """Returns how many chunks to make, and of which size, so that little is left over.

    Args:
        total: Number of entries, an int or an int32 scalar.
        largest: The largest size of a chunk, at least 1.

    Returns:
        Number and size of the chunks, both at least 1.

    Example:
        >>> balanced(10, 4), balanced(0, 4)
        ((3, 4), (1, 1))
    """
    if isinstance(total, int) and isinstance(largest, int):
        count = max(1, -(-total // largest))
        return count, max(1, -(-total // count))
    count = tf.maximum(1, -(-total // largest))
    return count, tf.maximum(1, -(-total // count))


def size_of(values: tf.Tensor, axis: int = 0) -> Any:
    """Returns the length of an axis, as an int if it is known beforehand."""
    known = values.shape[axis]
    return tf.shape(values)[axis] if known is None else int(known)


def _loss_and_gradients(
    states: tf.Tensor, candidates: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor, chunk_entries: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    tokens, width = size_of(states), size_of(candidates)
    rows = max(1, chunk_entries // max(1, width)) if isinstance(width, int) else None
    rows = tf.maximum(1, chunk_entries // tf.maximum(1, width)) if rows is None else rows
    count, size = balanced(tokens, rows)
    in_chunks = [chunks_of(values, count, size) for values in (states, labels, weights)]

    def step(i: tf.Tensor, total: tf.Tensor, by_candidate: tf.Tensor, by_state: tf.TensorArray) -> tuple:
        state, label, weight = (values[i] for values in in_chunks)
        # Passes over the logits are what costs time besides the products. So a loss is read off the share of
        # its label, and only where that is next to nothing, logits are added up once more.
        logits = tf.matmul(state, candidates, transpose_b=True)
        shares = tf.nn.softmax(logits)
        own = tf.gather(shares, label, batch_dims=1)
        losses = tf.cond(
            tf.reduce_min(own) > _TINY,
            lambda: -tf.math.log(tf.minimum(own, 1.0)),
            lambda: tf.reduce_logsumexp(logits, axis=1) - tf.gather(logits, label, batch_dims=1),
        )
        pull = tf.matmul(shares, candidates) - tf.gather(candidates, label)
        by_state = by_state.write(i, pull * weight[:, None])
        # This way round, the large factor is read along its rows.
        by_candidate += tf.matmul(state * weight[:, None], shares, transpose_a=True)
        return i + 1, total + tf.reduce_sum(losses * weight), by_candidate, by_state

    _, total, by_candidate, by_state = tf.while_loop(
        lambda i, *_: i < count,
        step,
        (
            tf.constant(0),
            tf.constant(0.0),
            tf.zeros([size_of(candidates, 1), width]),
            tf.TensorArray(tf.float32, size=count, element_shape=in_chunks[0].shape[1:]),
        ),
        parallel_iterations=1,  # more would hold as many chunks
    )
    by_state = tf.reshape(by_state.stack(), [-1, size_of(states, 1)])[:tokens]
    by_candidate = tf.tensor_scatter_nd_sub(
        tf.transpose(by_candidate), labels[:, None], states * weights[:, None]
    )
    return total, by_state, by_candidate
