import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import MultiHeadAttention
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(4, 3, 6)).astype("float32")
VALUE = RNG.normal(size=(4, 5, 2)).astype("float32")
KEY = RNG.normal(size=(4, 5, 7)).astype("float32")
LENGTHS = np.array([5, 2, 0, 1], "int32")
VALID = np.arange(5) < LENGTHS[:, None]
OPTIONS = {"num_heads": 2, "key_dim": 3, "value_dim": 4, "output_shape": 5}


def reference(layer, query, value, key, lengths):
    """One head of one step of one row after the other; returns the output, and the weights."""
    heads, (batch, steps), count = layer.num_heads, query.shape[:2], value.shape[1]
    q, k, v = (
        oracle.dense(dense, x.astype("float64")).reshape(batch, -1, heads, dense.units // heads)
        for dense, x in ((layer.query_dense, query), (layer.key_dense, key), (layer.value_dense, value))
    )
    weights = np.zeros((batch, heads, steps, count))
    gathered = np.zeros((batch, steps, heads, v.shape[-1]))
    for b, t, h in np.ndindex(batch, steps, heads):
        seen = min(lengths[b], t + 1) if layer.use_causal_mask else lengths[b]
        if seen:
            found = np.exp(k[b, :seen, h] @ q[b, t, h] / np.sqrt(q.shape[-1]))
            weights[b, h, t, :seen] = found / found.sum()
            gathered[b, t, h] = weights[b, h, t, :seen] @ v[b, :seen, h]
    output = oracle.dense(layer.output_dense, gathered.reshape(batch, steps, -1))
    return output * (np.array(lengths) > 0)[:, None, None], weights


@pytest.mark.parametrize(
    ("kwargs", "shape", "trainable"),
    [
        ({"dropout": 0.5, "use_bias": False}, (4, 3, 5), 4),
        ({"return_attention_scores": True, "attention_axes": [1]}, [(4, 3, 5), (4, 2, 3, 5)], 8),
    ],
)
def test_gate(kwargs, shape, trainable):
    run_layer_test(
        MultiHeadAttention,
        {**OPTIONS, **kwargs},
        [QUERY, VALUE, KEY, LENGTHS],
        expected_output_shape=shape,
        expected_num_trainable_weights=trainable,
        expected_num_non_trainable_weights=1,
        is_random="dropout" in kwargs,
        policies=("mixed_bfloat16",),
    )


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("use_bias", [False, True])
def test_values(causal, use_bias):
    inputs = [QUERY, VALUE, KEY, LENGTHS]
    layer = MultiHeadAttention(
        **OPTIONS, use_causal_mask=causal, use_bias=use_bias, return_attention_scores=True
    )
    for got, expected in zip(oracle.built(layer, inputs)(inputs), reference(layer, *inputs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
    kernels = 6 * 6 + 7 * 6 + 2 * 8 + 8 * 5
    assert oracle.count(layer) == kernels + (6 + 6 + 8 + 5) * use_bias


def test_key_lengths_and_widths_may_be_left_out():
    layer = oracle.built(MultiHeadAttention(2, 3), [QUERY, VALUE])
    expected, _ = reference(layer, QUERY, VALUE, VALUE, [5] * 4)
    np.testing.assert_allclose(layer([QUERY, VALUE]), expected, rtol=1e-4, atol=1e-4)
    assert expected.shape == QUERY.shape


@pytest.mark.parametrize("jit_compile", [False, True])
def test_padding_changes_nothing(jit_compile):
    def padded(x):
        return np.concatenate(
            [np.where(VALID[..., None], x, np.nan), np.full((4, 2, x.shape[2]), np.inf, "float32")], axis=1
        )

    layer = oracle.built(MultiHeadAttention(**OPTIONS), [QUERY, VALUE, KEY, LENGTHS])
    got = tf.function(layer, jit_compile=jit_compile, autograph=False)(
        [QUERY, padded(VALUE), padded(KEY), LENGTHS]
    )
    expected, _ = reference(layer, QUERY, VALUE, KEY, LENGTHS)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


def test_is_that_of_keras():
    ours, theirs = MultiHeadAttention(2, 3, 4), keras.layers.MultiHeadAttention(2, 3, 4)
    oracle.built(ours, [QUERY, VALUE, KEY])
    theirs(QUERY, VALUE, KEY)
    shapes = [weight.shape for weight in theirs.get_weights()]
    names = ("query", "key", "value", "output")
    values = [w for name in names for w in getattr(ours, f"{name}_dense").get_weights()]
    theirs.set_weights([value.reshape(shape) for value, shape in zip(values, shapes, strict=True)])
    np.testing.assert_allclose(ours([QUERY, VALUE, KEY]), theirs(QUERY, VALUE, KEY), rtol=1e-4, atol=1e-4)


def test_large_inputs_in_half_precision():
    layer = MultiHeadAttention(2, 3, dtype="mixed_float16")
    output = layer([1e3 * QUERY, VALUE, LENGTHS])
    assert output.dtype == tf.float16 and np.all(np.isfinite(output))


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"num_heads": 0}, None, "num_heads=0"),
        ({"output_shape": 0}, None, "output_shape=0"),
        ({"dropout": -0.1}, None, "dropout=-0.1"),
        ({"attention_axes": [2]}, None, r"attention_axes=\[2\]"),
        ({"kernel_initializer": "glorot"}, None, "glorot"),
        ({}, [QUERY], "takes a list of query and value"),
        ({}, [QUERY, VALUE, KEY[:, :4]], "as many steps"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**{**OPTIONS, **kwargs})(inputs)
