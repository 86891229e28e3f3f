import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import InterestReadout
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(5, 3, 6)).astype("float32")
TARGET = RNG.normal(size=(5, 6)).astype("float32")
TARGETS = RNG.normal(size=(5, 4, 6)).astype("float32")


@pytest.mark.parametrize(
    ("output", "targets", "shape"),
    [
        ("interest", TARGET, (5, 6)),
        ("interest", TARGETS, (5, 4, 6)),
        ("score", TARGET, (5, 1)),
        ("score", TARGETS, (5, 4)),
    ],
)
def test_gate_and_values(output, targets, shape):
    layer = run_layer_test(
        InterestReadout,
        {"output": output},
        [Z, targets],
        expected_output_shape=shape,
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        float32_output=True,
    )
    several = targets if targets.ndim == 3 else targets[:, None]
    scores = np.einsum("bnd,bkd->bnk", several, Z)
    expected = scores.max(axis=-1)
    if output == "interest":
        expected = np.take_along_axis(Z, scores.argmax(axis=-1)[..., None], axis=1).reshape(shape)
    np.testing.assert_allclose(layer([Z, targets]), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(layer([Z, targets], training=True), layer([Z, targets]))


def test_the_gradient_reaches_the_chosen_interest_and_the_target():
    z, target = tf.constant(Z), tf.constant(TARGET)
    with tf.GradientTape() as tape:
        tape.watch([z, target])
        loss = tf.reduce_sum(InterestReadout("score")([z, target]))
    moved, aimed = tape.gradient(loss, [z, target])
    chosen = np.einsum("bd,bkd->bk", TARGET, Z).argmax(axis=1)
    expected = np.zeros_like(Z)
    expected[np.arange(5), chosen] = TARGET
    np.testing.assert_allclose(moved, expected, rtol=1e-6)
    np.testing.assert_allclose(aimed, Z[np.arange(5), chosen], rtol=1e-6)


@pytest.mark.parametrize("power", [1.0, pytest.param(2.5, marks=pytest.mark.slow)])
def test_gate_with_a_power(power):
    layer = run_layer_test(
        InterestReadout,
        {"power": power},
        [Z, TARGET],
        expected_output_shape=(5, 6),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        float32_output=True,
    )
    scores = np.einsum("bkd,bd->bk", Z, TARGET)
    weights = np.exp(np.sign(scores) * np.abs(scores) ** power)
    expected = np.einsum("bk,bkd->bd", weights / weights.sum(axis=1, keepdims=True), Z)
    np.testing.assert_allclose(layer([Z, TARGET], training=True), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer([Z, TARGET]), InterestReadout()([Z, TARGET]))


def test_of_equal_interests_the_first_is_chosen():
    z = np.array([[[0, 1, 5], [1, 0, 0], [1, 0, 7]]], "float32")
    assert InterestReadout()([z, np.array([[1, 1, 0]], "float32")]).numpy().tolist() == [[0, 1, 5]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype):
    z, target = (tf.cast(1e3 * np.sign(x), dtype) for x in (Z, TARGET))
    assert InterestReadout(dtype=f"mixed_{dtype}")([z, target]).dtype == dtype
    score = InterestReadout("score", dtype=f"mixed_{dtype}")([z, target])
    assert score.dtype == tf.float32 and np.all(np.isfinite(score)) and np.all(score > 0)


@pytest.mark.parametrize("inputs", [[Z], Z, [Z, Z[..., :2]], [TARGET, Z], [Z, TARGET, TARGET]])
def test_other_inputs_are_refused(inputs):
    with pytest.raises(ValueError, match=r"InterestReadout 'r' takes interests"):
        InterestReadout(name="r")(inputs)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="unknown output 'scores'; did you mean 'score'"):
        InterestReadout("scores")
    for power in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="`power` must be a number from 0 on"):
            InterestReadout(power=power)
