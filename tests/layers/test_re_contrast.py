import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional.multi_interest import interest_positives
from easyssl.functional.re_contrast import re_contrast
from easyssl.layers import ReContrast
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(5, 3, 6)).astype("float32")
X = RNG.normal(size=(5, 4, 6)).astype("float32")
LENGTHS = np.array([4, 2, 0, 1, 3], "int32")
VALID = np.arange(4) < LENGTHS[:, None]
RAW = RNG.uniform(size=(5, 3, 4)) * VALID[:, None]
ATTENTION = (RAW / np.maximum(RAW.sum(axis=-1, keepdims=True), 1e-9)).astype("float32")
IDS = RNG.integers(0, 5, size=(5, 4))
INPUTS = [Z, ATTENTION, X, LENGTHS]


@pytest.mark.parametrize(
    ("options", "inputs"),
    [({"loss_weight": 0.3}, INPUTS), ({"num_rolled": 2, "threshold": 0.3}, [*INPUTS, IDS])],
)
def test_gate(options, inputs):
    run_layer_test(
        ReContrast,
        options,
        inputs,
        expected_output_shape=(),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        float32_output=True,
        tolerance=1e-4,
    )


@pytest.mark.parametrize("preset", ["standard", "official"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize(("num_rolled", "threshold", "ids"), [(1, None, None), (None, 0.3, IDS)])
def test_value_and_name(preset, similarity, num_rolled, threshold, ids):
    layer = ReContrast(0.25, 0.5, threshold, similarity, num_rolled, preset, name="re")
    inputs = INPUTS if ids is None else [*INPUTS, ids]
    with collect_losses() as collected:
        output = layer(inputs, training=True)
        layer(inputs)
    ((name, term),) = collected.terms.items()
    assert name == "re_contrast_loss" and float(term.value) > 0
    valid = tf.constant(VALID)
    expected = re_contrast(
        tf.constant(Z),
        tf.constant(X),
        interest_positives(tf.constant(ATTENTION), valid, threshold),
        valid,
        ids=None if ids is None else tf.constant(ids),
        similarity=similarity,
        temperature=0.5,
        num_rolled=num_rolled,
        official=preset == "official",
    )
    np.testing.assert_allclose(term.value, expected, rtol=1e-6)
    np.testing.assert_allclose([output, term.weighted], [0.25 * term.value] * 2, rtol=1e-6)


def test_gradients_reach_interests_and_items_only():
    tensors = [tf.constant(x) for x in INPUTS[:3]]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = ReContrast()([*tensors, LENGTHS])
    z, attention, x = tape.gradient(loss, tensors)
    assert np.any(z != 0) and np.any(x != 0) and attention is None


@pytest.mark.parametrize("lengths", [np.zeros(5, "int32"), np.ones(5, "int32")])
def test_rows_without_positives_have_neither_loss_nor_gradient(lengths):
    valid = np.arange(4) < lengths[:, None]
    attention = np.broadcast_to(valid[:, None], (5, 3, 4)).astype("float32")
    z = tf.constant(Z)
    layer = ReContrast()
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = layer([z, attention, X, lengths])
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, z), np.zeros_like(Z))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("keep", [slice(None), slice(0, 1)])
def test_large_half_precision_inputs_stay_finite(dtype, keep):
    z, x = (tf.cast(1e3 * np.sign(value[keep]), dtype) for value in (Z, X))
    layer = ReContrast(dtype=f"mixed_{dtype}")
    for interests in (3, 1):
        assert np.isfinite(layer([z[:, :interests], ATTENTION[keep, :interests], x, LENGTHS[keep]]))


@pytest.mark.parametrize(
    "inputs",
    [
        INPUTS[:3],
        [Z, ATTENTION, X, X],
        [Z[:, :2], *INPUTS[1:]],
        [Z, ATTENTION, X[:, :2], LENGTHS],
        [*INPUTS, Z],
    ],
)
def test_other_inputs_are_refused(inputs):
    with pytest.raises(ValueError, match=r"ReContrast 're' takes interests"):
        ReContrast(name="re")(inputs)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"threshold": 1.0}, "threshold=1.0"),
        ({"similarity": "cos"}, "unknown similarity 'cos'"),
        ({"num_rolled": -1}, "num_rolled=-1"),
        ({"preset": "offical"}, "did you mean 'official'"),
    ],
)
def test_bad_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        ReContrast(**options)
