"""K-means on the rows of a matrix, in a fixed number of iterations.

Everything is computed in float32 for any input dtype, and nothing has a gradient.
"""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.masking import EXCLUDED
from easyssl.functional.selection import first_argmax
from easyssl.functional.similarity import normalize


def closeness(rows: tf.Tensor, centroids: tf.Tensor) -> tf.Tensor:
    """Returns minus half of the squared distance of each row to each centroid.

    For vectors of length 1 that is their cosine less 1.

    Args:
        rows: `[rows, dim]`.
        centroids: `[centroids, dim]`.

    Returns:
        float32 `[rows, centroids]`.

    Example:
        >>> closeness(tf.constant([[3.0, 4.0]]), tf.constant([[0.0, 0.0], [3.0, 2.0]])).numpy().tolist()
        [[-12.5, -2.0]]
    """
    rows, centroids = tf.cast(rows, tf.float32), tf.cast(centroids, tf.float32)
    lengths = [tf.reduce_sum(tf.square(x), axis=1) / 2.0 for x in (rows, centroids)]
    return tf.matmul(rows, centroids, transpose_b=True) - lengths[0][:, None] - lengths[1][None, :]


def lloyd(
    rows: tf.Tensor,
    centroids: tf.Tensor,
    *,
    weights: tf.Tensor,
    num_iterations: int = 10,
    spherical: bool = False,
) -> tf.Tensor:
    """Moves centroids to the means of the rows that are closest to them, again and again.

    A centroid that is closest to no row takes the place of a row instead: the j-th such centroid that of the
    row that is j-th farthest from its own centroid. Holds `[rows, centroids]` numbers.

    Args:
        rows: `[rows, dim]`.
        centroids: Where they begin, `[centroids, dim]`.
        weights: `[rows]`, the weight of each row in the means; those of weight 0 do not exist.
        num_iterations: Number of iterations, at least 1. Defaults to 10.
        spherical: Whether centroids are scaled to length 1 after each iteration; rows must have length 1.
            Defaults to False.

    Returns:
        float32 `[centroids, dim]`.

    Example:
        >>> rows = tf.constant([[0.0], [1.0], [10.0], [12.0]])
        >>> lloyd(rows, tf.constant([[0.0], [1.0]]), weights=tf.ones([4])).numpy().tolist()
        [[0.5], [11.0]]

    References:
        Lloyd, "Least squares quantization in PCM", IEEE Transactions on Information Theory 28, 1982.
    """
    exists = weights > 0.0
    weights = tf.where(exists, tf.cast(weights, tf.float32), 0.0)
    rows = tf.where(exists[:, None], tf.cast(tf.stop_gradient(rows), tf.float32), 0.0)
    number = tf.shape(rows)[0]

    def moved(current: tf.Tensor) -> tf.Tensor:
        scores = closeness(rows, current)
        belongs = tf.one_hot(first_argmax(scores), tf.shape(current)[0]) * weights[:, None]
        sizes = tf.reduce_sum(belongs, axis=0)
        # A product instead of a scatter, which adds up in any order on GPUs.
        means = tf.matmul(belongs, rows, transpose_a=True) / tf.maximum(sizes, 1e-12)[:, None]
        distance = tf.where(exists, -tf.reduce_max(scores, axis=1), EXCLUDED)
        farthest = tf.argsort(distance, direction="DESCENDING", stable=True)
        empty = tf.cast(sizes == 0.0, tf.int32)
        place = tf.clip_by_value(tf.cumsum(empty) - 1, 0, number - 1)
        result = tf.where(empty[:, None] > 0, tf.gather(rows, tf.gather(farthest, place)), means)
        return normalize(result) if spherical else result

    current = tf.cast(tf.stop_gradient(centroids), tf.float32)
    (current,) = tf.while_loop(
        lambda _: tf.constant(True), lambda x: (moved(x),), (current,), maximum_iterations=num_iterations
    )
    return tf.stop_gradient(current)


def spread_rows(rows: tf.Tensor, weights: tf.Tensor, count: int) -> tf.Tensor:
    """Returns rows of positive weight, as far from each other in their order as can be.

    Args:
        rows: `[rows, dim]`.
        weights: `[rows]`.
        count: How many; with fewer rows some come twice.

    Returns:
        `[count, dim]`.

    Example:
        >>> rows = tf.constant([[0.0], [1.0], [2.0], [3.0], [4.0]])
        >>> spread_rows(rows, tf.constant([1.0, 1.0, 0.0, 1.0, 1.0]), 2).numpy().tolist()
        [[0.0], [3.0]]
    """
    exists = tf.cast(weights > 0.0, tf.int32)
    order = tf.argsort(exists, direction="DESCENDING", stable=True)
    place = tf.range(count, dtype=tf.int64) * tf.cast(tf.reduce_sum(exists), tf.int64) // count
    return tf.gather(rows, tf.gather(order, place))
