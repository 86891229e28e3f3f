"""Random views of rows, and the adaptor of text vectors."""

from __future__ import annotations

import tensorflow as tf

from benchmarks.components.case import Arrays, Case, Function, Sizes, lengths, normal
from easyssl.layers import (
    ClozeMask,
    FeatureMasking,
    MoEWhiteningAdaptor,
    ParametricWhitening,
    SeqAugment,
    ValueDropout,
)

_RATE = 0.5


def _sequences(sizes: Sizes) -> Arrays:
    return [normal(sizes.batch, sizes.seq, sizes.dim), lengths(sizes)]


def _augment(sizes: Sizes) -> tuple[Function, Function]:
    layer = SeqAugment(mask_rate=_RATE, crop_rate=_RATE, reorder_rate=_RATE)

    def ours(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        return layer([sequence, row_lengths], training=True)[0]

    def share(length: tf.Tensor) -> tf.Tensor:
        return tf.maximum(tf.cast(tf.cast(length, tf.float32) * _RATE, tf.int32), 1)

    def start(length: tf.Tensor) -> tf.Tensor:
        return tf.random.uniform([], 0, length - share(length) + 1, tf.int32)

    def mask(row: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        chosen = tf.random.shuffle(tf.range(length))[: share(length)]
        masked = tf.scatter_nd(chosen[:, None], tf.ones_like(chosen), [sizes.seq]) > 0
        return tf.where(masked[:, None], tf.convert_to_tensor(layer.mask_vector), row)

    def crop(row: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        begin, kept = start(length), share(length)
        return tf.pad(row[begin : begin + kept], [[0, sizes.seq - kept], [0, 0]])

    def reorder(row: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
        begin, moved = start(length), share(length)
        window = begin + tf.random.shuffle(tf.range(moved))
        order = tf.concat([tf.range(begin), window, tf.range(begin + moved, sizes.seq)], axis=0)
        return tf.gather(row, order)

    def view(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        operators = [
            lambda f=f: tf.ensure_shape(f(*pair), [sizes.seq, sizes.dim]) for f in (mask, crop, reorder)
        ]
        return tf.switch_case(tf.random.uniform([], 0, len(operators), tf.int32), operators)

    def plain(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(view, (sequence, row_lengths), fn_output_signature=tf.float32)

    return ours, plain


def _fields(sizes: Sizes) -> Arrays:
    return [normal(sizes.batch, sizes.dim, seed=seed) for seed in range(sizes.fields)]


def _feature_masking(sizes: Sizes) -> tuple[Function, Function]:
    layer = FeatureMasking()

    def ours(*fields: tf.Tensor) -> tf.Tensor:
        return tf.add_n(layer(list(fields), training=True))

    def plain(*fields: tf.Tensor) -> tf.Tensor:
        defaults = tf.split(tf.convert_to_tensor(layer.default_embedding), len(fields))
        hidden = tf.random.shuffle(tf.range(len(fields))) < len(fields) // 2
        views = []
        for masked in (hidden, ~hidden):
            shown = [tf.where(masked[i], defaults[i], field) for i, field in enumerate(fields)]
            views.append(tf.concat(shown, axis=-1))
        return tf.add_n(views)

    return ours, plain


def _value_dropout(sizes: Sizes) -> tuple[Function, Function]:
    layer = ValueDropout(_RATE, when_empty="nothing")

    def ours(values: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        return layer([values, row_lengths], training=True)[0]

    def kept(pair: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        row, length = pair
        row = tf.boolean_mask(row[:length], tf.random.uniform([length]) >= _RATE)
        return tf.pad(row, [[0, sizes.seq - tf.shape(row)[0]], [0, 0]])

    def plain(values: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(kept, (values, row_lengths), fn_output_signature=tf.float32)

    return ours, plain


def _cloze(sizes: Sizes) -> tuple[Function, Function]:
    layer = ClozeMask(_RATE, last_only_rate=0.0)

    def ours(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        steps, _, chosen = layer([sequence, row_lengths], training=True)
        return tf.where(chosen[:, :, None], 0.0, steps)

    def chosen_steps(length: tf.Tensor) -> tf.Tensor:
        count = tf.maximum(tf.cast(tf.cast(length, tf.float32) * _RATE, tf.int32), 1)
        chosen = tf.random.shuffle(tf.range(length))[:count]
        return tf.scatter_nd(chosen[:, None], tf.ones_like(chosen), [sizes.seq]) > 0

    def plain(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        chosen = tf.map_fn(chosen_steps, row_lengths, fn_output_signature=tf.bool)
        return tf.where(chosen[:, :, None], 0.0, sequence)

    return ours, plain


def _vectors(sizes: Sizes) -> Arrays:
    return [normal(sizes.batch, 2 * sizes.dim)]


def _adaptor(sizes: Sizes) -> tuple[Function, Function]:
    layer = MoEWhiteningAdaptor(sizes.dim, sizes.experts, dropout=0.0, gate_noise=False)

    def ours(vectors: tf.Tensor) -> tf.Tensor:
        return tf.square(layer(vectors, training=True))

    def plain(vectors: tf.Tensor) -> tf.Tensor:
        centered = vectors[:, None, :] - tf.convert_to_tensor(layer.shifts)[None]
        experts = tf.einsum("nki,kiu->nku", centered, tf.convert_to_tensor(layer.kernels))
        gate = tf.nn.softmax(vectors @ tf.convert_to_tensor(layer.gate_kernel))
        return tf.square(tf.einsum("nk,nku->nu", gate, experts))

    return ours, plain


def _whitening(sizes: Sizes) -> tuple[Function, Function]:
    layer = ParametricWhitening(sizes.dim)

    def ours(vectors: tf.Tensor) -> tf.Tensor:
        return tf.square(layer(vectors, training=True))

    def plain(vectors: tf.Tensor) -> tf.Tensor:
        centered = vectors - tf.convert_to_tensor(layer.shift)
        return tf.square(centered @ tf.convert_to_tensor(layer.kernel))

    return ours, plain


CASES = [
    Case(
        name="SeqAugment",
        axes={"batch": (128, 256, 512), "seq": (16, 32, 64)},
        inputs=_sequences,
        make=_augment,
        work=lambda s: s.batch * s.seq * s.dim,
        memory=lambda s: s.batch * s.seq * s.dim,
        same=False,
        base=Sizes(batch=128),
    ),
    Case(
        name="ValueDropout",
        axes={"batch": (128, 256, 512), "seq": (16, 32, 64)},
        inputs=_sequences,
        make=_value_dropout,
        work=lambda s: s.batch * s.seq * s.dim,
        memory=lambda s: s.batch * s.seq * s.dim,
        same=False,
        base=Sizes(batch=128),
    ),
    Case(
        name="ClozeMask",
        axes={"batch": (128, 256, 512), "seq": (16, 32, 64)},
        inputs=_sequences,
        make=_cloze,
        work=lambda s: s.batch * s.seq * s.dim,
        memory=lambda s: s.batch * s.seq * s.dim,
        same=False,
        base=Sizes(batch=128),
    ),
    Case(
        name="FeatureMasking",
        axes={"batch": (512, 1024, 2048), "fields": (8, 16, 32)},
        inputs=_fields,
        make=_feature_masking,
        work=lambda s: s.batch * s.fields * s.dim,
        memory=lambda s: s.batch * s.fields * s.dim,
        same=False,
        base=Sizes(batch=1024, dim=16),
    ),
    Case(
        name="ParametricWhitening",
        axes={"batch": (4096, 8192, 16384)},
        inputs=_vectors,
        make=_whitening,
        work=lambda s: s.batch * s.dim**2,
        memory=lambda s: 5 * s.batch * s.dim,
    ),
    Case(
        name="MoEWhiteningAdaptor",
        axes={"batch": (1024, 2048, 4096), "experts": (2, 4, 8)},
        inputs=_vectors,
        make=_adaptor,
        work=lambda s: s.batch * s.experts * s.dim**2,
        memory=lambda s: s.batch * (6 * s.dim + 3 * s.experts) + 2 * s.experts * s.dim**2,
        base=Sizes(batch=2048),
    ),
]
