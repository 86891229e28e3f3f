"""Several interests per row, and the losses on them."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from benchmarks.components.case import (
    Arrays,
    Case,
    Function,
    Sizes,
    lengths,
    normal,
    project,
    unit,
    valid_steps,
)
from easyssl.layers import InterestReadout, MultiInterestAttention, ReAttend, ReConstruct, ReContrast

_TEMPERATURE = 0.1
_NEVER = -1e9


def _sequences(sizes: Sizes) -> Arrays:
    return [normal(sizes.batch, sizes.seq, sizes.dim), lengths(sizes)]


def _attention(sizes: Sizes) -> tuple[Function, Function]:
    layer = MultiInterestAttention(sizes.interests)

    def ours(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        return layer([sequence, row_lengths])

    def plain(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        hidden = tf.tanh(project(sequence, layer.hidden_dense.kernel))
        scores = tf.transpose(project(hidden, layer.score_dense.kernel), [0, 2, 1])
        attention = tf.nn.softmax(scores + _padding(row_lengths, sequence)[:, None, :])
        return attention @ project(sequence, layer.value_dense.kernel)

    return ours, plain


def _padding(row_lengths: tf.Tensor, sequence: tf.Tensor) -> tf.Tensor:
    """Returns what to add to scores so that padding gets no attention, `[batch, seq]`."""
    return _NEVER * (1.0 - tf.sequence_mask(row_lengths, tf.shape(sequence)[1], tf.float32))


def _attended(sizes: Sizes) -> Arrays:
    """Returns interests, attention, items and lengths."""
    row_lengths = lengths(sizes)
    valid = valid_steps(row_lengths, sizes.seq)[:, None, :]
    weights = np.exp(2 * normal(sizes.batch, sizes.interests, sizes.seq)) * valid
    interests = normal(sizes.batch, sizes.interests, sizes.dim, seed=1)
    attention = (weights / weights.sum(-1, keepdims=True)).astype(np.float32)
    return [interests, attention, 0.3 * normal(sizes.batch, sizes.seq, sizes.dim), row_lengths]


def _positives(attention: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
    return tf.cast(attention > 1.0 / tf.cast(row_lengths, tf.float32)[:, None, None], tf.float32)


def _re_contrast(sizes: Sizes) -> tuple[Function, Function]:
    layer = ReContrast(temperature=_TEMPERATURE, num_rolled=None)

    def ours(*inputs: tf.Tensor) -> tf.Tensor:
        return layer(list(inputs), training=True)

    def plain(
        interests: tf.Tensor, attention: tf.Tensor, items: tf.Tensor, row_lengths: tf.Tensor
    ) -> tf.Tensor:
        anchors, items = unit(interests), unit(items)
        positives, padding = _positives(attention, row_lengths), _padding(row_lengths, items)
        count = tf.shape(items)[0]
        every = tf.einsum("bkd,cld->bkcl", anchors, items) / _TEMPERATURE
        own = tf.linalg.diag_part(tf.transpose(every, [1, 3, 0, 2]))  # [interests, seq, batch]
        own = tf.transpose(own, [2, 0, 1])
        every += (_NEVER * tf.eye(count))[:, None, :, None] + padding[None, None]
        between = tf.einsum("bkd,bjd->bkj", anchors, anchors) / _TEMPERATURE
        negatives = [
            tf.reshape(every, [count, sizes.interests, -1]),
            between + _NEVER * tf.eye(sizes.interests),
            own + _NEVER * positives + padding[:, None, :],
        ]
        rest = tf.reduce_logsumexp(tf.concat(negatives, axis=-1), axis=-1, keepdims=True)
        return tf.reduce_sum(positives * tf.nn.softplus(rest - own)) / tf.reduce_sum(positives)

    return ours, plain


def _re_attend(sizes: Sizes) -> tuple[Function, Function]:
    layer = ReAttend()

    def ours(*inputs: tf.Tensor) -> tf.Tensor:
        return layer(list(inputs), training=True)

    def plain(
        interests: tf.Tensor, attention: tf.Tensor, items: tf.Tensor, row_lengths: tf.Tensor
    ) -> tf.Tensor:
        scores = tf.matmul(interests, items, transpose_b=True) + _padding(row_lengths, items)[:, None, :]
        losses = -tf.nn.softmax(scores) * tf.math.log(tf.maximum(attention, 1e-30))
        return tf.reduce_mean(tf.reduce_sum(losses, axis=-1))

    return ours, plain


def _re_construct(sizes: Sizes) -> tuple[Function, Function]:
    layer = ReConstruct(sizes.seq)

    def ours(*inputs: tf.Tensor) -> tf.Tensor:
        return layer(list(inputs), training=True)

    def plain(
        interests: tf.Tensor, attention: tf.Tensor, items: tf.Tensor, row_lengths: tf.Tensor
    ) -> tf.Tensor:
        positives, shape = _positives(attention, row_lengths), [-1, sizes.interests, sizes.seq, sizes.dim]
        unfolded = project(interests, layer.unfold_dense.kernel) + layer.unfold_dense.bias
        unfolded = tf.reshape(unfolded, shape)
        scores = tf.einsum(
            "bkiw,jw->bkji", tf.tanh(project(unfolded, layer.hidden_dense.kernel)), layer.queries
        )
        beta = tf.nn.softmax(scores + _padding(row_lengths, items)[:, None, None, :])
        rebuilt = beta @ project(unfolded, layer.value_dense.kernel)
        errors = tf.reduce_mean((rebuilt - items[:, None]) ** 2, axis=-1)
        return tf.reduce_sum(positives * errors) / tf.reduce_sum(positives)

    return ours, plain


def _interests(sizes: Sizes) -> Arrays:
    return [normal(sizes.batch, sizes.interests, sizes.dim), normal(sizes.batch, sizes.dim)]


def _readout(sizes: Sizes) -> tuple[Function, Function]:
    layer = InterestReadout()

    def ours(interests: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        return tf.square(layer([interests, target]))

    def plain(interests: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        best = tf.argmax(tf.einsum("bkd,bd->bk", interests, target), axis=1)
        return tf.square(tf.gather(interests, best, batch_dims=1))

    return ours, plain


def _scores(sizes: Sizes) -> float:
    return sizes.batch * sizes.interests * sizes.seq


_ITEMS = {"batch": (64, 128, 256), "seq": (32, 64, 128), "interests": (2, 4, 8)}

CASES = [
    Case(
        name="MultiInterestAttention",
        axes=_ITEMS,
        inputs=_sequences,
        make=_attention,
        work=lambda s: s.batch * s.seq * s.dim * (5 * s.dim + 5 * s.interests),
        memory=lambda s: s.batch * s.seq * 6 * s.dim + 3 * _scores(s),
        base=Sizes(batch=128),
    ),
    Case(
        name="ReContrast",
        axes={"batch": (32, 64, 128), "seq": (16, 32, 64), "interests": (2, 4, 8)},
        inputs=_attended,
        make=_re_contrast,
        work=lambda s: s.batch * _scores(s) * s.dim,
        memory=lambda s: 3 * _scores(s) + 8 * s.batch * (s.seq + s.interests) * s.dim,
        base=Sizes(batch=64),
    ),
    Case(
        name="ReAttend",
        axes=_ITEMS,
        inputs=_attended,
        make=_re_attend,
        work=lambda s: _scores(s) * s.dim,
        memory=lambda s: 3 * _scores(s) + s.batch * (s.seq + s.interests) * s.dim,
        base=Sizes(batch=128),
    ),
    Case(
        name="ReConstruct",
        axes={"batch": (32, 64, 128), "seq": (16, 32, 64), "interests": (2, 4, 8)},
        inputs=_attended,
        make=_re_construct,
        work=lambda s: _scores(s) * s.dim * (3 * s.dim + 2 * s.seq),
        memory=lambda s: _scores(s) * (5 * s.dim + 3 * s.seq) + s.seq * s.dim**2,
        base=Sizes(batch=64),
    ),
    Case(
        name="InterestReadout",
        axes={"batch": (1024, 2048, 4096), "interests": (2, 4, 8)},
        inputs=_interests,
        make=_readout,
        work=lambda s: s.batch * s.interests * s.dim,
        memory=lambda s: s.batch * (s.interests + 2) * s.dim,
        base=Sizes(batch=2048),
    ),
]
