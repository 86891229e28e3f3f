import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import Attention
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
QUERY = RNG.normal(size=(4, 3, 6)).astype("float32")
VALUE = RNG.normal(size=(4, 5, 2)).astype("float32")
KEY = RNG.normal(size=(4, 5, 6)).astype("float32")
LENGTHS = np.array([5, 2, 0, 1], "int32")
VALID = np.arange(5) < LENGTHS[:, None]


def reference(layer, query, value, key, lengths):
    """One step of one row after the other; returns what is gathered, and the weights."""
    output = np.zeros((*query.shape[:2], value.shape[2]))
    weights = np.zeros((*query.shape[:2], value.shape[1]))
    scale = oracle.array(layer.scale) if layer.use_scale else 1.0
    for b, t in np.ndindex(query.shape[:2]):
        seen = min(lengths[b], t + 1) if layer.use_causal_mask else lengths[b]
        if not seen:
            continue
        q, k = query[b, t].astype("float64"), key[b, :seen].astype("float64")
        if layer.score_mode == "concat":
            scores = oracle.array(layer.factor) * np.tanh(scale * (q + k)).sum(axis=1)
        elif layer.scale_by_dim and not layer.use_scale:
            scores = k @ q / np.sqrt(len(q))
        else:
            scores = scale * (k @ q)
        found = np.exp(scores - scores.max())
        weights[b, t, :seen] = found / found.sum()
        output[b, t] = weights[b, t, :seen] @ value[b, :seen]
    return output, weights


@pytest.mark.parametrize(
    ("kwargs", "shape", "trainable"),
    [
        ({"dropout": 0.5, "seed": 1}, (4, 3, 2), 0),
        (
            {"score_mode": "concat", "use_scale": True, "return_attention_scores": True},
            [(4, 3, 2), (4, 3, 5)],
            2,
        ),
    ],
)
def test_gate(kwargs, shape, trainable):
    run_layer_test(
        Attention,
        kwargs,
        [QUERY, VALUE, KEY, LENGTHS],
        expected_output_shape=shape,
        expected_num_trainable_weights=trainable,
        expected_num_non_trainable_weights=1,
        is_random="dropout" in kwargs,
        policies=("mixed_float16",),
    )


@pytest.mark.parametrize("score_mode", ["dot", "concat"])
@pytest.mark.parametrize("use_scale", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_values(score_mode, use_scale, causal):
    inputs = [QUERY, VALUE, KEY, LENGTHS]
    layer = Attention(use_scale, True, score_mode, return_attention_scores=True, use_causal_mask=causal)
    for got, expected in zip(oracle.built(layer, inputs)(inputs), reference(layer, *inputs), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert oracle.count(layer) == use_scale + (score_mode == "concat")


def test_key_and_lengths_may_be_left_out():
    expected, _ = reference(Attention(), QUERY, KEY, KEY, [5] * 4)
    np.testing.assert_allclose(Attention()([QUERY, KEY]), expected, rtol=1e-4, atol=1e-5)
    expected, _ = reference(Attention(), QUERY, VALUE, KEY, [5] * 4)
    np.testing.assert_allclose(Attention()([QUERY, VALUE, KEY]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_padding_changes_nothing(jit_compile):
    def padded(x):
        return np.concatenate(
            [np.where(VALID[..., None], x, np.nan), np.full((4, 2, x.shape[2]), np.inf, "float32")], axis=1
        )

    layer = Attention()
    got = tf.function(layer, jit_compile=jit_compile, autograph=False)(
        [QUERY, padded(VALUE), padded(KEY), LENGTHS]
    )
    expected, _ = reference(layer, QUERY, VALUE, KEY, LENGTHS)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scores", [False, True])
def test_masks_of_keras_act(scores):
    masking = keras.layers.Masking()
    inputs = [keras.Input(x.shape[1:]) for x in (QUERY, KEY)]
    outputs = Attention(return_attention_scores=scores)([masking(x) for x in inputs])
    output = outputs[0] if scores else outputs
    assert getattr(output, "_keras_mask", None) is not None
    key = np.where(VALID[..., None], KEY, 0)
    got = keras.Model(inputs, output)([QUERY, key])
    np.testing.assert_allclose(got, reference(Attention(), QUERY, key, key, LENGTHS)[0], rtol=1e-4, atol=1e-5)


def test_large_inputs_in_half_precision():
    output = Attention(dtype="mixed_float16")([1e3 * QUERY, VALUE, 1e3 * KEY, LENGTHS])
    expected, _ = reference(Attention(), 1e3 * QUERY, VALUE, 1e3 * KEY, LENGTHS)
    np.testing.assert_allclose(output, expected, atol=2e-2)


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"score_mode": "dott"}, None, "did you mean 'dot'"),
        ({"dropout": 1.0}, None, "dropout=1.0"),
        ({}, QUERY, "takes a list of query and value"),
        ({}, [QUERY, LENGTHS], "takes a list of query and value"),
        ({}, [QUERY, VALUE], "have one width"),
        ({}, [QUERY, VALUE, KEY[:, :4]], "as many steps"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        Attention(**kwargs)(inputs)
