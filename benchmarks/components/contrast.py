"""Contrasts between the rows of a batch."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from benchmarks.components.case import Arrays, Case, Function, Sizes, normal, unit
from easyssl.functional.contrastive import nt_xent, one_way
from easyssl.layers import BatchSoftmax

_TEMPERATURE = 0.2
_NEVER = -1e9


def _views(sizes: Sizes) -> Arrays:
    return [normal(sizes.batch, sizes.dim, seed=seed) for seed in (1, 2)]


def _one_way(sizes: Sizes) -> tuple[Function, Function]:
    def ours(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return one_way(left, right, similarity="cosine", temperature=_TEMPERATURE)

    def plain(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        logits = tf.matmul(unit(left), unit(right), transpose_b=True) / _TEMPERATURE
        return -tf.reduce_mean(tf.linalg.diag_part(tf.nn.log_softmax(logits)))

    return ours, plain


def _nt_xent(sizes: Sizes) -> tuple[Function, Function]:
    def ours(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return nt_xent(left, right, similarity="cosine", temperature=_TEMPERATURE)

    def plain(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        both = unit(tf.concat([left, right], axis=0))
        count = tf.shape(left)[0]
        logits = tf.matmul(both, both, transpose_b=True) / _TEMPERATURE + _NEVER * tf.eye(2 * count)
        labels = tf.roll(tf.range(2 * count), count, axis=0)
        return -tf.reduce_mean(tf.gather(tf.nn.log_softmax(logits), labels, batch_dims=1))

    return ours, plain


def _items(sizes: Sizes) -> Arrays:
    rng = np.random.default_rng(sizes.batch)
    ids = rng.integers(0, 4 * sizes.batch, sizes.batch)
    return [*_views(sizes), ids, rng.uniform(0.01, 1.0, sizes.batch).astype(np.float32)]


def _batch_softmax(sizes: Sizes) -> tuple[Function, Function]:
    layer = BatchSoftmax(temperature=_TEMPERATURE, correction="given", side_inputs=["ids", "probabilities"])

    def ours(*inputs: tf.Tensor) -> tf.Tensor:
        return layer(list(inputs), training=True)

    def plain(queries: tf.Tensor, items: tf.Tensor, ids: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
        logits = tf.matmul(unit(queries), unit(items), transpose_b=True) / _TEMPERATURE
        logits -= tf.math.log(tf.stop_gradient(probabilities))[None, :]
        same = tf.cast(ids[:, None] == ids[None, :], tf.float32) - tf.eye(tf.shape(ids)[0])
        return -tf.reduce_mean(tf.linalg.diag_part(tf.nn.log_softmax(logits + _NEVER * same)))

    return ours, plain


def _pairs(sizes: Sizes) -> float:
    return sizes.batch**2


CASES = [
    Case(
        name=name,
        axes={"batch": (256, 512, 1024)},
        inputs=inputs,
        make=make,
        work=lambda s: _pairs(s) * s.dim,
        memory=lambda s: 2 * _pairs(s) + 3 * s.batch * s.dim,
    )
    for name, inputs, make in (
        ("one_way", _views, _one_way),
        ("nt_xent", _views, _nt_xent),
        ("BatchSoftmax", _items, _batch_softmax),
    )
]
