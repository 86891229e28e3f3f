"""Assignments of rows to columns that use all columns equally."""

from __future__ import annotations

import tensorflow as tf

from easyssl.functional.masking import EXCLUDED
from easyssl.functional.replicas import replica_logsumexp, replica_sum

# Exponents of which three times the range still fits float32; the factors of the plan span twice the range.
_SAFE_RANGE = 40.0


def sinkhorn(
    scores: tf.Tensor,
    *,
    epsilon: float = 0.05,
    num_iterations: int = 3,
    weights: tf.Tensor | None = None,
    largest: float | None = None,
) -> tf.Tensor:
    r"""Solves the entropic transport of rows to columns with the Sinkhorn-Knopp algorithm, in logarithms.

    The plan maximises `sum(Q * scores) + epsilon * entropy(Q)` where every column receives the mass
    `1 / columns` and row i sends `w_i / sum(w)`. It is `diag(m) exp(scores / epsilon) diag(v)`; each
    iteration fits v to the columns, then m to the rows. The result is divided by the rows' masses. As rows
    are fitted last they are exact after any number of iterations, columns only in the limit: with cosines,
    epsilon 0.05 and 3 iterations a column's mass may be off by a tenth of itself.

    Where all scores are known to be small against epsilon (`largest`), the exponentials themselves are
    iterated, which takes two products of a matrix and a vector instead of two sums of exponentials; the
    numbers are the same.

    Under a distribution strategy the columns are fitted over the rows of all replicas; all of them must call
    this, outside of loops and branches.

    Args:
        scores: `[rows, columns]`, any floating dtype; the computation is in float32.
        epsilon: Weight of the entropy; the smaller, the harder the assignment. Defaults to 0.05.
        num_iterations: How often columns and rows are fitted. Defaults to 3.
        weights: `[rows]`, the masses of the rows; a row of weight 0 takes no part. Defaults to None, which is
            equal masses.
        largest: A bound of the absolute scores that is known beforehand, such as 1 for cosines. Defaults to
            None, which is no bound.

    Returns:
        float32 `[rows, columns]`; each row sums to 1, one of weight 0 is zero. No gradient flows.

    Raises:
        ValueError: If `epsilon` or `num_iterations` is not positive.

    Example:
        >>> scores = tf.constant([[1.0, 0.9], [0.9, 0.7]])  # both rows prefer the first column
        >>> tf.round(100 * sinkhorn(scores, num_iterations=50)).numpy().tolist()
        [[27.0, 73.0], [73.0, 27.0]]

    References:
        Cuturi, "Sinkhorn distances: lightspeed computation of optimal transport", NeurIPS 2013.
        Caron et al., "Unsupervised learning of visual features by contrasting cluster assignments", arXiv
        2006.09882.
    """
    check_sinkhorn(epsilon, num_iterations)
    kernel = tf.stop_gradient(tf.cast(scores, tf.float32)) / epsilon
    ones = tf.ones_like(kernel[:, 0])
    weights = ones if weights is None else tf.stop_gradient(tf.cast(weights, tf.float32))
    used = weights > 0.0
    kernel = tf.where(used[:, None], kernel, 0.0)  # whatever is in a row that takes no part
    masses = weights / tf.maximum(replica_sum(tf.reduce_sum(weights)), 1e-30)
    if largest is not None and 2 * largest / epsilon <= _SAFE_RANGE:
        plan = _scaled(tf.exp(kernel - largest / epsilon), masses, used, num_iterations)
    else:
        plan = _in_logarithms(kernel, masses, used, num_iterations)
    return tf.where(used[:, None], plan, 0.0)


# Python loops: a strategy does not let replicas talk to each other inside of a `tf.while_loop`.


def _scaled(kernel: tf.Tensor, masses: tf.Tensor, used: tf.Tensor, num_iterations: int) -> tf.Tensor:
    rows, mass = masses, 1.0 / tf.cast(tf.shape(kernel)[1], tf.float32)
    for _ in range(num_iterations):
        columns = mass / replica_sum(tf.linalg.matvec(kernel, rows, transpose_a=True))
        sums = tf.linalg.matvec(kernel, columns)
        rows = tf.where(used, masses / sums, 0.0)
    return kernel * columns / sums[:, None]


def _in_logarithms(kernel: tf.Tensor, masses: tf.Tensor, used: tf.Tensor, num_iterations: int) -> tf.Tensor:
    log_masses = tf.math.log(tf.where(used, masses, 1.0))
    rows = tf.where(used, log_masses, EXCLUDED)
    for _ in range(num_iterations):
        columns = -replica_logsumexp(kernel + rows[:, None])  # equal masses, so their size cancels
        rows = tf.where(used, log_masses - tf.reduce_logsumexp(kernel + columns, axis=1), EXCLUDED)
    return tf.nn.softmax(kernel + columns, axis=1)


def check_sinkhorn(epsilon: float, num_iterations: int) -> None:
    """Raises `ValueError` unless both arguments are usable.

    Args:
        epsilon: A positive number.
        num_iterations: A positive integer.

    Raises:
        ValueError: With what was received.
    """
    if not epsilon > 0:
        raise ValueError(f"`epsilon` must be positive. Received: epsilon={epsilon}")
    if isinstance(num_iterations, bool) or num_iterations != int(num_iterations) or num_iterations < 1:
        raise ValueError(
            f"`num_iterations` must be a positive integer. Received: num_iterations={num_iterations!r}"
        )
