"""Learned dropout of features: what is kept, the penalty, and the gradient of the logits."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import VariationalDropout
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
AGE, CITY = RNG.normal(size=(6, 1)).astype("float32"), RNG.normal(size=(6, 3)).astype("float32")


@pytest.mark.parametrize(("wise", "weights"), [(False, 2), (True, 4)])
def test_gate(wise, weights):
    layer = run_layer_test(
        VariationalDropout,
        {"embedding_wise_variational_dropout": wise, "seed": 3},
        [AGE, CITY],
        expected_output_shape=[(6, 1), (6, 3)],
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=1,
        is_random=True,
    )
    assert layer.logits.shape == (weights,)


def built(logits, rows=6, **kwargs):
    layer = VariationalDropout(seed=1, name="vd", **kwargs)
    layer.build([(None, 1), (None, 3)])
    layer.logits.assign(logits)
    return layer


def test_inference_multiplies_by_the_probability_to_keep():
    layer = built([2.0, -1.0])
    age, city = layer([AGE, CITY])
    np.testing.assert_allclose(age, AGE / (1 + np.exp(2.0)), rtol=1e-6)
    np.testing.assert_allclose(city, CITY / (1 + np.exp(-1.0)), rtol=1e-6)
    wise = built([0.0, 1.0, 2.0, 3.0], embedding_wise_variational_dropout=True)
    np.testing.assert_allclose(wise([AGE, CITY])[1], CITY / (1 + np.exp([1.0, 2.0, 3.0])), rtol=1e-6)


def test_samples_are_nearly_binary_with_the_right_mean():
    rows, logits = 4000, np.array([1.0, -2.0])
    layer = built(logits)
    age, city = (x.numpy() for x in layer([tf.ones([rows, 1]), tf.ones([rows, 3])], training=True))
    assert (city == city[:, :1]).all()  # one sample for a feature
    for kept, logit in ((age[:, 0], logits[0]), (city[:, 0], logits[1])):
        assert ((kept < 0.05) | (kept > 0.95)).mean() > 0.8
        share = 1 / (1 + np.exp(logit))
        assert abs(kept.mean() - share) < 4 * np.sqrt(share * (1 - share) / rows) + 0.01
        # P(kept > 1/2) is exactly the probability to keep.
        assert abs((kept > 0.5).mean() - share) < 4 * np.sqrt(share * (1 - share) / rows)


def test_the_penalty_and_its_gradient():
    logits = np.array([0.5, -1.5])
    layer = built(logits, regularization_lambda=0.3)
    with tf.GradientTape() as tape, collect_losses() as collected:
        layer([AGE, CITY], training=True)
        total = collected.total()
    keep = 1 / (1 + np.exp(logits))
    np.testing.assert_allclose(collected.terms["vd_loss"].value, keep.sum() / 6, rtol=1e-6)
    np.testing.assert_allclose(total, 0.3 * keep.sum() / 6, rtol=1e-6)
    np.testing.assert_allclose(collected.metrics["vd_kept"], keep.mean(), rtol=1e-6)
    gradient = tape.gradient(total, layer.logits)
    np.testing.assert_allclose(gradient, -0.3 * keep * (1 - keep) / 6, rtol=1e-5)
    with collect_losses() as collected:
        layer([AGE, CITY], training=False)
    assert collected.terms == {} and collected.metrics == {}


def test_a_feature_that_the_loss_needs_is_kept_and_noise_is_dropped():
    useful = RNG.normal(size=(64, 1)).astype("float32")
    noise = RNG.normal(size=(64, 1)).astype("float32")
    layer = VariationalDropout(regularization_lambda=1.0, seed=1)
    layer.build([(None, 1), (None, 1)])

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape, collect_losses() as collected:
            kept, disturbed = layer([useful, noise], training=True)
            loss = tf.reduce_mean((kept + disturbed - useful) ** 2) + collected.total()
        layer.logits.assign_sub(0.3 * tape.gradient(loss, layer.logits))

    for _ in range(100):
        step()
    first, second = layer.logits.numpy()
    assert first < -1 < 1 < second


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_extreme_logits_stay_finite_in_half_precision(dtype):
    layer = VariationalDropout(seed=1, dtype=dtype)
    layer.build([(None, 1), (None, 3)])
    layer.logits.assign([1e3, -1e3])
    with tf.GradientTape() as tape:
        outputs = layer([AGE, CITY], training=True)
        loss = tf.add_n([tf.reduce_sum(tf.cast(x, tf.float32)) for x in outputs])
    assert np.isfinite(tape.gradient(loss, layer.logits)).all()
    assert not outputs[0].numpy().any() and np.isfinite(outputs[1].numpy().astype("float32")).all()


def test_bad_arguments_and_inputs():
    with pytest.raises(ValueError, match="must not be negative"):
        VariationalDropout(-1.0)
    with pytest.raises(ValueError, match=r"takes features \[batch, width\]"):
        VariationalDropout().build([(None, 3, 2)])
