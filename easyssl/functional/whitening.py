"""Whitening as a linear map: learned, computed from data, or a mixture of several.

A map subtracts a shift and multiplies by a kernel: `(x - b) W`, with b `[in_dim]` and W `[in_dim, units]`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.errors import nearest

METHODS = ("pca", "zca")


def whiten(x: tf.Tensor, shift: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Returns `(x - shift) kernel`.

    Args:
        x: `[..., in_dim]`.
        shift: `[in_dim]`.
        kernel: `[in_dim, units]`.

    Returns:
        `[..., units]`.

    Example:
        >>> whiten(tf.constant([[3.0, 4.0]]), tf.constant([1.0, 0.0]), 2.0 * tf.eye(2)).numpy().tolist()
        [[4.0, 8.0]]
    """
    return tf.linalg.matmul(x - shift, kernel)


def whitening_map(
    data: tf.Tensor, units: int, method: str = "pca", epsilon: float = 1e-5
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the map after which data has mean 0 and covariance I.

    With the mean m and the covariance `U diag(v) U^T` of the data, eigenvalues in falling order, the map is
    `b = m` and `W = U diag(1 / sqrt(v + epsilon))`, of which PCA keeps the first `units` columns; ZCA
    multiplies by `U^T`, which gives the whitened data that are nearest to the data. Of each eigenvector the
    entry of the largest magnitude is positive, so that equal data give equal maps.

    Args:
        data: `[rows, in_dim]`, at least two rows; computed in float64.
        units: Output width, at most `in_dim`; for ZCA exactly that.
        method: "pca" or "zca". Defaults to "pca".
        epsilon: Added to the eigenvalues, so that directions without variance stay finite. Defaults to 1e-05.

    Returns:
        Shift `[in_dim]` and kernel `[in_dim, units]`, float64.

    Raises:
        ValueError: For an unknown method, fewer than two rows, or a width that the method cannot give.

    Example:
        >>> data = tf.constant([[1.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
        >>> shift, kernel = whitening_map(data, units=1)
        >>> [round(float(x), 4) for x in whiten(tf.cast(data, tf.float64), shift, kernel)[:, 0]]
        [0.0, 0.0, 1.4142, -1.4142]

    References:
        Kessy et al., "Optimal whitening and decorrelation", The American Statistician 2018.
    """
    if method not in METHODS:
        raise ValueError(f"unknown whitening method '{method}'{nearest(method, METHODS)}")
    data = tf.cast(data, tf.float64)
    rows, width = data.shape
    if rows < 2:
        raise ValueError(f"whitening needs at least two rows. Received: shape={(rows, width)}")
    if units > width or (method == "zca" and units != width):
        wanted = "as many units as the data have columns" if method == "zca" else "no more units than columns"
        raise ValueError(f"{method} whitening needs {wanted}. Received: units={units}, columns={width}")
    mean = tf.reduce_mean(data, axis=0)
    centered = data - mean
    values, vectors = tf.linalg.eigh(tf.matmul(centered, centered, transpose_a=True) / rows)
    values, vectors = tf.reverse(values, [0]), tf.reverse(vectors, [1])
    largest = tf.reduce_max(vectors, axis=0) >= -tf.reduce_min(vectors, axis=0)
    vectors = tf.where(largest, vectors, -vectors)
    kernel = vectors * tf.math.rsqrt(tf.maximum(values, 0.0) + epsilon)
    return mean, tf.matmul(kernel, vectors, transpose_b=True) if method == "zca" else kernel[:, :units]


def whitening_mixture(x: tf.Tensor, gate: tf.Tensor, shifts: tf.Tensor, kernels: tf.Tensor) -> tf.Tensor:
    """Returns the mixture `sum_k gate_k (x - shift_k) kernel_k` of several maps.

    One map is applied at a time and added to the result, in the forward and in the backward pass, so that
    memory does not grow with the number of maps: what `[rows, experts, units]` would take is never there. (A
    graph would compute the maps side by side if each did not wait for the one before.) The gradient is the
    closed form; with the upstream gradient D it is, for map k,

    - for the gate `rowsum(D * (x - shift_k) kernel_k)`, computed as `rowsum((x - shift_k) * D kernel_k^T)`,
    - for x `gate_k D kernel_k^T`, summed over the maps,
    - for the kernel `(x - shift_k)^T (gate_k D)`, and for the shift `-sum_rows(gate_k D) kernel_k^T`.

    Args:
        x: `[rows, in_dim]`.
        gate: `[rows, experts]`.
        shifts: `[experts, in_dim]`.
        kernels: `[experts, in_dim, units]`.

    Returns:
        `[rows, units]` in the dtype of `x`.

    Example:
        >>> x, kernels = tf.constant([[1.0, 2.0]]), tf.stack([tf.eye(2), 3.0 * tf.eye(2)])
        >>> whitening_mixture(x, tf.constant([[0.5, 0.5]]), tf.zeros([2, 2]), kernels).numpy().tolist()
        [[2.0, 4.0]]
    """

    @tf.custom_gradient
    def mixture(x: tf.Tensor, gate: tf.Tensor, shifts: tf.Tensor, kernels: tf.Tensor) -> Any:
        experts = [*range(kernels.shape[0])]

        def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
            d_x = tf.zeros_like(x)
            d_gate: list[tf.Tensor] = []
            d_shifts: list[tf.Tensor] = []
            d_kernels: list[tf.Tensor] = []
            for k in experts:
                with tf.control_dependencies([d_x, *d_gate[-1:], *d_shifts[-1:], *d_kernels[-1:]]):
                    share, centered = gate[:, k : k + 1], x - shifts[k]
                    back = tf.matmul(upstream, kernels[k], transpose_b=True)
                    d_x += share * back
                    d_gate.append(tf.reduce_sum(centered * back, axis=1))
                    d_shifts.append(-tf.reduce_sum(share * back, axis=0))
                    d_kernels.append(tf.matmul(centered, share * upstream, transpose_a=True))
            return d_x, tf.stack(d_gate, axis=1), tf.stack(d_shifts), tf.stack(d_kernels)

        # Plain additions in this order: the sum of all would keep all.
        result = gate[:, :1] * whiten(x, shifts[0], kernels[0])
        for k in experts[1:]:
            with tf.control_dependencies([result]):
                result += gate[:, k : k + 1] * whiten(x, shifts[k], kernels[k])
        return result, backward

    gate = tf.cast(gate, x.dtype)
    return mixture(x, gate, tf.convert_to_tensor(shifts), tf.convert_to_tensor(kernels))
