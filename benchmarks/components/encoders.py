"""Encoders of sequences against the same weights, applied to all steps, padding or not."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from benchmarks.components.case import Arrays, Case, Function, Sizes, lengths, normal, project
from easyssl.functional.activations import activation
from easyssl.layers import BST, BERT4RecEncoder, CaserEncoder, GRU4RecEncoder, MeanPooling, SASRecEncoder

_BLOCKS = 2
_HEADS = 2
_VERTICAL, _HORIZONTAL = 4, 8  # filters of Caser
_NEVER = -1e9
_UNDROPPED = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


def _sequences(sizes: Sizes) -> Arrays:
    return [normal(sizes.batch, sizes.seq, sizes.dim), lengths(sizes)]


def _dense(layer: Any, x: tf.Tensor) -> tf.Tensor:
    return project(x, layer.kernel) + layer.bias


def _norm(layer: Any, x: tf.Tensor) -> tf.Tensor:
    mean, variance = tf.nn.moments(x, axes=-1, keepdims=True)
    return (x - mean) / tf.sqrt(variance + 1e-12) * layer.gamma + layer.beta


def _block(block: Any, x: tf.Tensor, excluded: tf.Tensor) -> tf.Tensor:
    """One transformer layer over all steps; `excluded` is added to the scores `[batch, heads, seq, seq]`."""
    attention, shape = block.attention, tf.shape(x)
    heads = [shape[0], shape[1], _HEADS, x.shape[-1] // _HEADS]
    query, key, value = (
        tf.transpose(tf.reshape(_dense(layer, x), heads), [0, 2, 1, 3])
        for layer in (attention.query_dense, attention.key_dense, attention.value_dense)
    )
    scores = tf.matmul(query, key, transpose_b=True) * (x.shape[-1] // _HEADS) ** -0.5
    gathered = tf.transpose(tf.nn.softmax(scores + excluded) @ value, [0, 2, 1, 3])
    attended = _dense(attention.output_dense, tf.reshape(gathered, shape))
    x = _norm(block.attention_residual.norm, x + attended)
    inner = activation(block.activation)(_dense(block.intermediate, x))
    return _norm(block.output_residual.norm, x + _dense(block.output_dense, inner))


def _encoded(layer: Any, norm: Any, sequence: tf.Tensor, row_lengths: tf.Tensor, causal: bool) -> tf.Tensor:
    """Encodes all steps, padding or not, and returns the state of each row's last one."""
    steps = tf.shape(sequence)[1]
    excluded = _NEVER * (1.0 - tf.sequence_mask(row_lengths, steps, tf.float32))[:, None, None, :]
    if causal:
        excluded += _NEVER * (1.0 - tf.linalg.band_part(tf.ones([steps, steps]), -1, 0))
    x = _norm(norm, sequence + tf.convert_to_tensor(layer.position_table)[:steps])
    for block in layer.blocks:
        x = _block(block, x, excluded)
    return tf.gather(x, row_lengths - 1, batch_dims=1)


def _against(layer: Any, plain: Function) -> tuple[Function, Function]:
    """Returns an encoder and its plain formulation; squared, so that the gradient depends on the states."""

    def ours(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        return tf.square(layer([sequence, row_lengths], training=True))

    return ours, lambda sequence, row_lengths: tf.square(plain(sequence, row_lengths))


def _bst(sizes: Sizes) -> tuple[Function, Function]:
    layer = BST(
        sizes.dim,
        _BLOCKS,
        _HEADS,
        intermediate_size=sizes.dim,
        max_position_embeddings=sizes.seq,
        output_all_token_embeddings=False,
        target_item_position="ignore",
        **_UNDROPPED,
    )
    return _against(layer, lambda x, n: _encoded(layer, layer.norm, x, n, causal=False))


def _sasrec(sizes: Sizes) -> tuple[Function, Function]:
    layer = SASRecEncoder(None, _BLOCKS, _HEADS, max_position_embeddings=sizes.seq, **_UNDROPPED)
    return _against(layer, lambda x, n: _encoded(layer, layer.embedding_layer_norm, x, n, causal=True))


def _bert4rec(sizes: Sizes) -> tuple[Function, Function]:
    layer = BERT4RecEncoder(None, _BLOCKS, _HEADS, max_position_embeddings=sizes.seq + 1, **_UNDROPPED)

    def plain(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        behind = tf.one_hot(row_lengths, sizes.seq + 1)[:, :, None]
        longer = tf.pad(sequence, [[0, 0], [0, 1], [0, 0]])
        longer = longer * (1.0 - behind) + layer.mask_vector * behind
        return _encoded(layer, layer.embedding_layer_norm, longer, row_lengths + 1, causal=False)

    return _against(layer, plain)


def _gru4rec(sizes: Sizes) -> tuple[Function, Function]:
    layer = GRU4RecEncoder(sizes.dim, hidden_dropout_prob=0.0)

    def plain(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        cell = layer.recurrent[0].cell
        bias = tf.zeros([2, 3 * sizes.dim]) if cell.bias is None else tf.convert_to_tensor(cell.bias)
        state, states = tf.zeros_like(sequence[:, 0]), []
        for step in range(sizes.seq):
            given = tf.split(sequence[:, step] @ cell.kernel + bias[0], 3, axis=-1)
            kept = tf.split(state @ cell.recurrent_kernel + bias[1], 3, axis=-1)
            update, reset = (tf.sigmoid(given[i] + kept[i]) for i in (0, 1))
            state = update * state + (1.0 - update) * tf.tanh(given[2] + reset * kept[2])
            states.append(state)
        return _dense(layer.output_dense, tf.gather(tf.stack(states, axis=1), row_lengths - 1, batch_dims=1))

    return _against(layer, plain)


def _caser(sizes: Sizes) -> tuple[Function, Function]:
    layer = CaserEncoder(sizes.seq, _VERTICAL, _HORIZONTAL, dropout_prob=0.0)

    def plain(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        image = sequence * tf.sequence_mask(row_lengths, sizes.seq, tf.float32)[:, :, None]
        seen = [
            tf.reshape(_dense(layer.vertical, tf.transpose(image, [0, 2, 1])), [-1, sizes.dim * _VERTICAL])
        ]
        for height, filters in enumerate(layer.horizontal, 1):
            starts = range(sizes.seq - height + 1)
            windows = tf.stack([image[:, start : start + height] for start in starts], axis=1)
            found = tf.einsum("bthd,hdf->btf", windows, tf.convert_to_tensor(filters.kernel)) + filters.bias
            seen.append(tf.reduce_max(tf.nn.relu(found), axis=1))
        hidden = tf.nn.relu(_dense(layer.hidden, tf.concat(seen, axis=1)))
        return _dense(layer.output_dense, hidden)

    return _against(layer, plain)


def _work(sizes: Sizes) -> float:
    return sizes.tokens * 6 * sizes.dim**2 + 2 * sizes.batch * sizes.seq**2 * sizes.dim


def _memory(sizes: Sizes) -> float:
    return _BLOCKS * (12 * sizes.tokens * sizes.dim + 2 * _HEADS * sizes.batch * sizes.seq**2)


def _windows(sizes: Sizes) -> float:
    """Places that the horizontal filters of one height each are seen in, summed over the heights."""
    return sizes.seq * (sizes.seq + 1) / 2


def _mean(sizes: Sizes) -> tuple[Function, Function]:
    layer = MeanPooling()

    def ours(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        return tf.square(layer([sequence, row_lengths]))

    def plain(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        mask = tf.sequence_mask(row_lengths, tf.shape(sequence)[1], tf.float32)[:, :, None]
        return tf.square(tf.reduce_sum(sequence * mask, axis=1) / tf.reduce_sum(mask, axis=1))

    return ours, plain


CASES = [
    *(
        Case(
            name=name,
            axes={"batch": (32, 64, 128), "seq": (16, 32, 64), "fill": (0.25, 0.5, 1.0)},
            inputs=_sequences,
            make=make,
            work=_work,
            memory=_memory,
            base=Sizes(batch=64),
        )
        for name, make in (("BST", _bst), ("SASRecEncoder", _sasrec), ("BERT4RecEncoder", _bert4rec))
    ),
    Case(
        name="GRU4RecEncoder",
        axes={"batch": (128, 256, 512), "seq": (8, 16, 32)},
        inputs=_sequences,
        make=_gru4rec,
        work=lambda s: s.batch * s.seq * 6 * s.dim**2,
        memory=lambda s: s.batch * s.seq * 6 * s.dim + 6 * s.dim**2,
        base=Sizes(batch=256, seq=16),
    ),
    Case(
        name="MeanPooling",
        axes={"batch": (256, 512, 1024), "seq": (16, 32, 64)},
        inputs=_sequences,
        make=_mean,
        work=lambda s: s.batch * s.seq * s.dim,
        memory=lambda s: s.batch * s.seq * s.dim,
        base=Sizes(batch=512),
    ),
    Case(
        name="CaserEncoder",
        axes={"batch": (32, 64, 128), "seq": (4, 8, 16)},
        inputs=_sequences,
        make=_caser,
        work=lambda s: s.batch * s.dim * _HORIZONTAL * _windows(s) * (s.seq + 2) / 3,
        memory=lambda s: (
            2 * s.batch * (s.seq * s.dim + _windows(s) * _HORIZONTAL) + s.dim * _HORIZONTAL * s.seq
        ),
        base=Sizes(batch=64, seq=8),
    ),
]
