"""Encoders of sequences, packed, against the same weights over padded steps."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from benchmarks.components.case import Arrays, Case, Function, Sizes, lengths, normal
from easyssl.functional.activations import activation
from easyssl.layers import BST

_BLOCKS = 2
_HEADS = 2
_NEVER = -1e9


def _sequences(sizes: Sizes) -> Arrays:
    return [normal(sizes.batch, sizes.seq, sizes.dim), lengths(sizes)]


def _dense(layer: Any, x: tf.Tensor) -> tf.Tensor:
    return x @ layer.kernel + layer.bias


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


def _bst(sizes: Sizes) -> tuple[Function, Function]:
    layer = BST(
        sizes.dim,
        _BLOCKS,
        _HEADS,
        intermediate_size=sizes.dim,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        max_position_embeddings=sizes.seq,
        output_all_token_embeddings=False,
        target_item_position="ignore",
    )

    def ours(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        return tf.square(layer([sequence, row_lengths], training=True))

    def plain(sequence: tf.Tensor, row_lengths: tf.Tensor) -> tf.Tensor:
        return tf.square(_encoded(layer, layer.norm, sequence, row_lengths, causal=False))

    return ours, plain


def _work(sizes: Sizes) -> float:
    return sizes.tokens * 6 * sizes.dim**2 + 2 * sizes.batch * sizes.seq**2 * sizes.dim


def _memory(sizes: Sizes) -> float:
    return _BLOCKS * (12 * sizes.tokens * sizes.dim + 2 * _HEADS * sizes.batch * sizes.seq**2)


CASES = [
    Case(
        name="BST",
        axes={"batch": (32, 64, 128), "seq": (16, 32, 64), "fill": (0.125, 0.25, 0.5, 1.0)},
        inputs=_sequences,
        make=_bst,
        work=_work,
        memory=_memory,
        base=Sizes(batch=128),
    ),
]
