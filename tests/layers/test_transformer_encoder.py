import encoder_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import TransformerEncoder
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

LENGTHS = np.array([4, 2, 0, 1, 3], "int32")
VALID = np.arange(4) < LENGTHS[:, None]
MASK = np.array([[1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1]], "float32")
RAW = np.random.default_rng(0).integers(0, 9, size=(5, 4))
IDS = np.where(VALID, RAW, -1)
OPTIONS = {
    "hidden_size": 6,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 5,
    "vocab_size": 9,
}


def positions(layer, steps):
    if layer.use_position_embeddings:
        return oracle.array(layer.position_table)[:steps]
    half = layer.hidden_size // 2
    angles = np.arange(steps)[:, None] * 10000.0 ** (-np.arange(half) / half)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def reference(layer, ids, valid):
    """One row after the other, with nothing but its tokens."""
    ids, valid = ids[:, : layer.max_position_embeddings], valid[:, : layer.max_position_embeddings]
    output = np.zeros((*ids.shape, layer.hidden_size))
    table = oracle.array(layer.table.variable)
    places = positions(layer, ids.shape[1])
    for row, tokens, seen in zip(output, ids, valid, strict=True):
        if seen.any():
            x = table[tokens[seen]] * np.sqrt(layer.hidden_size) + places[seen]
            for block in layer.blocks:
                x = oracle.encode_block(block, x)
            row[seen] = x
    return output if layer.output_all_token_embeddings else output[:, 0]


def built(**kwargs):
    layer = TransformerEncoder(**{**OPTIONS, **kwargs})
    layer(IDS)
    oracle.randomize(layer)
    return layer


@pytest.mark.parametrize(
    ("kwargs", "inputs", "shape", "positions"),
    [
        ({}, IDS, (5, 4, 6), 0),
        ({"output_all_token_embeddings": False, "use_position_embeddings": True}, [RAW, MASK], (5, 6), 1),
    ],
)
def test_gate(kwargs, inputs, shape, positions):
    run_layer_test(
        TransformerEncoder,
        {**OPTIONS, "num_hidden_layers": 1, **kwargs},
        inputs,
        expected_output_shape=shape,
        expected_num_trainable_weights=1 + positions + 16,
        is_random=True,
        draws_alike_under_xla=False,
        policies=("mixed_bfloat16",),
    )


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"output_all_token_embeddings": False},
        {"use_position_embeddings": True, "max_position_embeddings": 3, "hidden_act": "gelu"},
    ],
)
def test_values(kwargs):
    layer = built(**kwargs)
    for inputs, ids, valid in (
        (IDS, IDS, VALID),
        ([RAW, LENGTHS], RAW, VALID),
        ([RAW, MASK], RAW, MASK > 0),
        ([RAW, MASK > 0], RAW, MASK > 0),
    ):
        np.testing.assert_allclose(layer(inputs), reference(layer, ids, valid), rtol=1e-4, atol=1e-4)
    block = 4 * (6 * 6 + 6) + (6 * 5 + 5) + (5 * 6 + 6) + 2 * 2 * 6
    learned = 3 * 6 if layer.use_position_embeddings else 0
    assert sum(int(np.prod(w.shape)) for w in layer.trainable_weights) == 9 * 6 + learned + 2 * block


def test_padding_changes_nothing():
    layer = built()
    longer = np.concatenate([IDS, np.full([5, 3], -1)], axis=1)
    np.testing.assert_allclose(layer(longer)[:, :4], layer(IDS), rtol=1e-5, atol=1e-6)


def test_gradient_reaches_the_rows_of_tokens_only():
    layer = built(output_all_token_embeddings=False)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer([RAW[:2], LENGTHS[:2]])))
    gradient = tape.gradient(loss, layer.table.variable)
    assert isinstance(gradient, tf.IndexedSlices)
    moved = np.any(tf.convert_to_tensor(gradient).numpy() != 0, axis=1)
    assert set(np.flatnonzero(moved)) == set(RAW[:2][VALID[:2]])


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"hidden_size": 7, "num_attention_heads": 1}, IDS, "an even `hidden_size`"),
        ({"num_attention_heads": 4}, IDS, "a multiple of `num_attention_heads`"),
        ({"vocab_size": 0}, IDS, "vocab_size=0"),
        ({"attention_probs_dropout_prob": 1.0}, IDS, "attention_probs_dropout_prob=1.0"),
        ({}, [IDS, IDS], "several texts are what TextEncoder takes"),
        ({}, LENGTHS, "takes ids"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        TransformerEncoder(**{**OPTIONS, **kwargs})(inputs)
