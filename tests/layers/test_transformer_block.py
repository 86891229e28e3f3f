import encoder_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import TransformerBlock
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(5, 4, 6)).astype("float32")
LENGTHS = np.array([4, 2, 0, 1, 3], "int32")
MASK = np.array([[1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1, 1]], "float32")
VALID = np.arange(4) < LENGTHS[:, None]
OPTIONS = {"hidden_size": 6, "num_attention_heads": 2, "intermediate_size": 5}


def reference(layer, x, valid):
    output = np.zeros(x.shape)
    for row, steps, seen in zip(output, x.astype("float64"), valid, strict=True):
        if seen.any():
            row[seen] = oracle.encode_block(layer.block, steps[seen])
    return output


def built(**kwargs):
    layer = TransformerBlock(**OPTIONS, **kwargs)
    layer([X, LENGTHS])
    oracle.randomize(layer)
    return layer


def test_gate():
    run_layer_test(
        TransformerBlock,
        {**OPTIONS, "attention_probs_dropout_prob": 0.1},
        [X, MASK],
        expected_output_shape=(5, 4, 6),
        expected_num_trainable_weights=8 + 4 + 4,
        is_random=True,
        draws_alike_under_xla=False,
        policies=("mixed_bfloat16",),
    )


@pytest.mark.parametrize(
    ("told", "valid", "jit_compile"),
    [
        ([], np.ones([5, 4], bool), False),
        ([LENGTHS], VALID, False),
        ([MASK], MASK > 0, False),
        ([MASK], MASK > 0, True),
    ],
)
def test_values(told, valid, jit_compile):
    layer = built(hidden_act="gelu")
    inputs = [np.where(valid[..., None], X, np.nan), *told]
    got = tf.function(layer, jit_compile=jit_compile, autograph=False)(inputs if told else X)
    np.testing.assert_allclose(got, reference(layer, X, valid), rtol=1e-4, atol=1e-4)
    count = sum(int(np.prod(w.shape)) for w in layer.trainable_weights)
    assert count == 4 * (6 * 6 + 6) + (6 * 5 + 5) + (5 * 6 + 6) + 2 * 2 * 6


@pytest.mark.parametrize("mask", [MASK, 0 * MASK])
def test_gradient_reaches_valid_steps_only(mask):
    layer, x = built(), tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(layer([x, mask])[:, :, 0])
    gradient = tape.gradient(loss, x).numpy()
    np.testing.assert_array_equal(gradient[mask == 0], 0.0)
    assert np.all(np.any(gradient != 0, axis=-1) == (mask > 0))


def test_a_mask_of_keras_acts():
    layer = built()
    x = keras.Input(X.shape[1:])
    model = keras.Model(x, layer(keras.layers.Masking()(x)))
    shown = np.where(VALID[..., None], X, 0)
    np.testing.assert_allclose(model(shown), reference(layer, X, VALID), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"hidden_size": 5}, X, "a multiple of `num_attention_heads`"),
        ({"hidden_size": 4}, X, "width=6, hidden_size=4"),
        ({"intermediate_size": 0}, X, "intermediate_size=0"),
        ({"hidden_dropout_prob": 1.0}, X, "hidden_dropout_prob=1.0"),
        ({"hidden_act": "rellu"}, X, "did you mean 'relu'"),
        ({}, [X, X], "takes steps"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        TransformerBlock(**{**OPTIONS, **kwargs})(inputs)
