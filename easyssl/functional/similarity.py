"""How vectors are compared: dot products and cosines, in float32 for any input dtype."""

from __future__ import annotations

import tensorflow as tf

from easyssl.errors import nearest

SIMILARITIES = ("dot", "cosine")


def normalize(vectors: tf.Tensor) -> tf.Tensor:
    """Scales rows to length 1 in float32; a zero row stays zero and has a finite gradient."""
    return tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1, epsilon=1e-12)


def comparable(vectors: tf.Tensor, similarity: str) -> tf.Tensor:
    """Brings vectors into the form whose dot products are the similarity.

    Args:
        vectors: `[..., dim]`.
        similarity: "dot" or "cosine".

    Returns:
        float32 `[..., dim]`, of length 1 for "cosine".

    Example:
        >>> comparable(tf.constant([[3.0, 4.0]]), "dot").numpy().tolist()
        [[3.0, 4.0]]
    """
    return normalize(vectors) if similarity == "cosine" else tf.cast(vectors, tf.float32)


def check_similarity(similarity: str, temperature: float) -> None:
    """Raises `ValueError` unless both arguments are usable.

    Args:
        similarity: "dot" or "cosine".
        temperature: A positive number.

    Raises:
        ValueError: With what was received.
    """
    if similarity not in SIMILARITIES:
        raise ValueError(f"unknown similarity '{similarity}'{nearest(similarity, SIMILARITIES)}")
    if not temperature > 0:
        raise ValueError(f"`temperature` must be positive. Received: temperature={temperature}")


def similarities(
    rows: tf.Tensor, columns: tf.Tensor, similarity: str = "dot", temperature: float = 1.0
) -> tf.Tensor:
    """Compares each row of one matrix with each row of another.

    Args:
        rows: `[rows, dim]`.
        columns: `[columns, dim]`.
        similarity: "dot" or "cosine". Defaults to "dot".
        temperature: Positive divisor of the similarities. Defaults to 1.0.

    Returns:
        float32 `[rows, columns]`.

    Raises:
        ValueError: For an unknown similarity or a temperature that is not positive.

    Example:
        >>> similarities(tf.constant([[3.0, 4.0]]), tf.eye(2), temperature=0.5).numpy().tolist()
        [[6.0, 8.0]]
    """
    check_similarity(similarity, temperature)
    rows, columns = comparable(rows, similarity), comparable(columns, similarity)
    return tf.matmul(rows / temperature, columns, transpose_b=True)
