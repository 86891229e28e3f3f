"""Contrasts between the rows of a batch."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from benchmarks.components.case import Arrays, Case, Function, Sizes, normal, unit
from easyssl.functional.contrastive import decoupled, nt_xent, one_way, symmetric
from easyssl.functional.spread_out import spread_out
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


def _symmetric(sizes: Sizes) -> tuple[Function, Function]:
    def ours(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return symmetric(left, right, similarity="cosine", temperature=_TEMPERATURE)

    def plain(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        logits = tf.matmul(unit(left), unit(right), transpose_b=True) / _TEMPERATURE
        both = tf.nn.log_softmax(logits) + tf.transpose(tf.nn.log_softmax(tf.transpose(logits)))
        return -tf.reduce_mean(tf.linalg.diag_part(both)) / 2.0

    return ours, plain


def _decoupled(sizes: Sizes) -> tuple[Function, Function]:
    def ours(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return decoupled(left, right, similarity="cosine", temperature=_TEMPERATURE)

    def plain(left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        both = unit(tf.concat([left, right], axis=0))
        logits = tf.matmul(both, both, transpose_b=True) / _TEMPERATURE
        own = tf.tile(tf.eye(tf.shape(left)[0]), [2, 2])
        positives = tf.reduce_sum(unit(left) * unit(right), axis=1) / _TEMPERATURE
        return tf.reduce_mean(tf.reduce_logsumexp(logits + _NEVER * own, axis=1)) - tf.reduce_mean(positives)

    return ours, plain


def _spread_out(sizes: Sizes) -> tuple[Function, Function]:
    def ours(left: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return spread_out(left, similarity="cosine")

    def plain(left: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        gram = tf.matmul(unit(left), unit(left), transpose_b=True)
        gram *= 1.0 - tf.eye(tf.shape(left)[0])
        return tf.reduce_mean(tf.reduce_sum(tf.square(gram), axis=1))

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
        ("symmetric", _views, _symmetric),
        ("nt_xent", _views, _nt_xent),
        ("decoupled", _views, _decoupled),
        ("spread_out", _views, _spread_out),
        ("BatchSoftmax", _items, _batch_softmax),
    )
]
