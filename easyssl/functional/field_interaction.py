"""Interactions between fields: products of the vectors of a row's features."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import tensorflow as tf


def sum_of_products(fields: tf.Tensor) -> tf.Tensor:
    """Returns the sum of the elementwise products of all pairs, `1/2 * ((sum v)^2 - sum v^2)`.

    Computed in float32, as the difference of two squares loses digits.

    Args:
        fields: `[batch, num_fields, dim]`.

    Returns:
        float32 `[batch, dim]`; zeros for a single field.

    Example:
        >>> sum_of_products(tf.constant([[[1.0], [2.0], [3.0]]])).numpy().tolist()  # 2 + 3 + 6
        [[11.0]]

    References:
        Rendle, "Factorization machines", ICDM 2010, lemma 3.1.
    """
    fields = tf.cast(fields, tf.float32)
    squared_sum = tf.square(tf.reduce_sum(fields, axis=1))
    return 0.5 * (squared_sum - tf.reduce_sum(tf.square(fields), axis=1))


def dot_products(fields: tf.Tensor, self_interaction: bool, keep_square: bool) -> tf.Tensor:
    """Returns the dot products of all pairs of fields.

    Args:
        fields: `[batch, num_fields, dim]`, the number of fields known.
        self_interaction: Whether the product of a field with itself is among them.
        keep_square: Whether all `num_fields ** 2` places are kept, those of products that are not wanted
            holding 0.

    Returns:
        `[batch, num_products]`: pairs (i, j) with i > j, or i >= j, in the order (1, 0), (2, 0), (2, 1), ...;
        or `[batch, num_fields ** 2]` in row-major order.

    Example:
        >>> dot_products(tf.constant([[[1.0], [2.0], [3.0]]]), False, False).numpy().tolist()
        [[2.0, 3.0, 6.0]]

    References:
        Naumov et al., "Deep learning recommendation model for personalization and recommendation systems",
        arXiv 1906.00091.
    """
    count = fields.shape[1]
    places = [
        i * count + j for i in range(count) for j in range(count) if i > j or (self_interaction and i == j)
    ]
    products = tf.reshape(tf.linalg.matmul(fields, fields, transpose_b=True), [-1, count * count])
    if keep_square:
        wanted = set(places)
        keep = tf.constant([place in wanted for place in range(count * count)])
        return tf.where(keep, products, tf.zeros([], products.dtype))
    return tf.gather(products, tf.constant(places, tf.int32), axis=1)


def pair_products(mapped: tf.Tensor, fields: Sequence[tf.Tensor], inner: bool) -> tf.Tensor:
    """Returns the products of the pairs (i, j) of fields with i < j.

    The pairs come in the order (0, 1), (0, 2), ..., (1, 2), ...

    Args:
        mapped: For each pair the first field, mapped to the width of the second, joined to
            `[batch, sum of the widths over pairs]`.
        fields: `[batch, dim]` each.
        inner: Whether to take inner products instead of elementwise ones.

    Returns:
        `[batch, num_pairs]` for inner products, otherwise `[batch, sum of the widths over pairs]`.

    Example:
        >>> fields = [tf.constant([[2.0, 3.0]]), tf.constant([[4.0, 5.0]])]
        >>> pair_products(fields[0], fields, True).numpy().tolist()
        [[23.0]]
    """
    widths = [int(field.shape[-1]) for field in fields]
    joined = tf.concat(list(fields), axis=-1)
    # As many operations as there are fields, rather than pairs.
    starts = list(accumulate(widths))[:-1]
    products = mapped * tf.concat([joined[:, start:] for start in starts], axis=-1)
    if not inner:
        return products
    if len(set(widths)) == 1:
        return tf.reduce_sum(tf.reshape(products, [-1, products.shape[-1] // widths[0], widths[0]]), axis=-1)
    second = [width for first in range(len(widths)) for width in widths[first + 1 :]]
    return tf.stack([tf.reduce_sum(part, axis=-1) for part in tf.split(products, second, axis=-1)], axis=-1)


def compressed_interaction(x: tf.Tensor, first: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """Returns `relu(sum_{i,j} kernel[h, i, j] * x[i] * first[j] + bias[h])`.

    Products are elementwise in the embedding axis.

    Args:
        x: Maps of the layer before, `[batch, dim, size_before]`, the embedding axis first.
        first: The fields, `[batch, dim, num_fields]`.
        kernel: `[size, size_before, num_fields]`.
        bias: `[size]`.

    Returns:
        `[batch, dim, size]`.

    References:
        Lian et al., "xDeepFM", arXiv 1803.05170, equation 6.
    """
    dim, size, width = first.shape[1], kernel.shape[0], kernel.shape[1] * kernel.shape[2]
    products = tf.reshape(x[:, :, :, None] * first[:, :, None, :], [-1, width])
    # One product of matrices over all rows and dimensions, rather than one for each row.
    maps = tf.linalg.matmul(products, tf.reshape(kernel, [size, width]), transpose_b=True)
    return tf.reshape(tf.nn.relu(maps + bias), [-1, dim, size])


def squeeze_fields(fields: Sequence[tf.Tensor], groups: int) -> tf.Tensor:
    """Returns the maximum and the mean of each group of values of each field.

    Args:
        fields: `[batch, dim_f]` each, every width a multiple of `groups`.
        groups: How many groups of neighbouring values a field is split into.

    Returns:
        `[batch, num_fields * 2 * groups]`: for each field its maxima, then its means.

    Example:
        >>> squeeze_fields([tf.constant([[1.0, 2.0, 3.0, 5.0]])], 2).numpy().tolist()
        [[2.0, 5.0, 1.5, 4.0]]

    References:
        Zhang et al., "FiBiNet++: improving FiBiNet by greatly reducing model size for CTR prediction", arXiv
        2209.05016.
    """
    widths = {field.shape[-1] for field in fields}
    if len(widths) > 1:
        return tf.concat([squeeze_fields([field], groups) for field in fields], axis=-1)
    (width,) = widths
    split = tf.reshape(tf.stack(list(fields), axis=1), [-1, len(fields), groups, width // groups])
    both = tf.stack([tf.reduce_max(split, axis=-1), tf.reduce_mean(split, axis=-1)], axis=2)
    return tf.reshape(both, [-1, len(fields) * 2 * groups])
