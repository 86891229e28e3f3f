import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

import easyssl.layers
from easyssl import registry
from easyssl.layers import GradientReversal
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")


def slope(layer, training):
    """Returns what the gradient of 1 has become."""
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
    np.testing.assert_array_equal(y, X)
    gradient = tape.gradient(y, x).numpy()
    assert np.all(gradient == gradient[0, 0])
    return gradient[0, 0]


def test_gate():
    run_layer_test(
        GradientReversal,
        {"factor": 0.5},
        X[:, None],
        expected_output_shape=(4, 1, 3),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        keeps_mask=True,
    )


def test_gate_with_a_schedule():
    run_layer_test(
        GradientReversal,
        {"schedule": "dann", "num_steps": 3, "gamma": 5.0},
        X,
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=1,
        policies=("mixed_float16",),
    )


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0])
def test_constant(factor):
    layer = GradientReversal(factor)
    assert slope(layer, True) == slope(layer, None) == -factor
    assert slope(layer, False) == 1.0


def test_dann_rises_by_calls_in_training_and_the_count_is_saved():
    layer = GradientReversal(factor=2.0, schedule="dann", gamma=4.0, num_steps=4)
    expected = [-2.0 * (2 / (1 + np.exp(-4.0 * min(n / 4, 1.0))) - 1) for n in range(7)]
    for wanted in expected[:3]:
        assert slope(layer, None) == pytest.approx(wanted, abs=1e-6)  # as of now, and not counted
        assert slope(layer, True) == pytest.approx(wanted, abs=1e-6)
    resumed = GradientReversal.from_config(layer.get_config())
    resumed.build(X.shape)
    resumed.set_weights(layer.get_weights())
    for wanted in expected[3:]:
        assert slope(resumed, True) == pytest.approx(wanted, abs=1e-6)


def test_nothing_of_it_is_in_a_graph_that_is_served():
    layer = GradientReversal(schedule="dann", num_steps=4)
    layer.build(X.shape)
    serve = tf.function(lambda x: layer(x, training=False), autograph=False)
    graph = serve.get_concrete_function(tf.TensorSpec(X.shape, tf.float32)).graph
    assert {op.type for op in graph.get_operations()} == {"Placeholder", "Identity"}


def test_what_comes_before_unlearns():
    """One step of each sign on `reversal(x * w) * v`: v descends, w ascends."""
    layer, w, v = GradientReversal(), tf.Variable(2.0), tf.Variable(3.0)
    with tf.GradientTape() as tape:
        loss = layer(w * 5.0) * v
    assert [float(g) for g in tape.gradient(loss, [w, v])] == [-15.0, 10.0]


@pytest.mark.parametrize("options", [{"factor": 0.5}, {"factor": 2.0, "schedule": "dann", "num_steps": 4}])
def test_its_gradient_is_minus_factor_times_finite_differences(options):
    layer = GradientReversal(**options, dtype="float64")
    x, w = np.random.default_rng(1).normal(size=(2, 4, 3))
    factor = options["factor"]
    if "schedule" in options:
        for _ in range(3):
            layer(x, training=True)
        factor *= 2 / (1 + np.exp(-10.0 * 3 / 4)) - 1

    def loss(x):
        return float(tf.reduce_sum(tf.tanh(layer(tf.constant(x), training=None) * w) ** 2))

    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = tf.reduce_sum(tf.tanh(layer(tensor, training=None) * w) ** 2)
    expected = np.zeros_like(x)
    for place in np.ndindex(*x.shape):
        step = np.zeros_like(x)
        step[place] = 1e-6
        expected[place] = (loss(x + step) - loss(x - step)) / 2e-6
    gradient = tape.gradient(value, tensor)
    assert gradient.dtype == tf.float64
    np.testing.assert_allclose(gradient, -factor * expected, rtol=1e-6, atol=1e-9)


def test_both_names():
    assert easyssl.layers.GRL is GradientReversal
    assert registry.get("GRL") is registry.get("GradientReversal") is GradientReversal
    layer = GradientReversal(0.5)
    assert keras.utils.get_registered_name(GradientReversal) == "easyssl>GradientReversal"
    assert keras.layers.deserialize(keras.layers.serialize(layer)).factor == 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "dan"}, "unknown schedule 'dan'; did you mean 'dann'"),
        ({"schedule": "dann"}, "'dann' needs `num_steps`"),
        ({"factor": -1.0}, "factor=-1.0"),
        ({"gamma": 0.0}, "gamma=0.0"),
        ({"num_steps": 0}, "num_steps=0"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        GradientReversal(**arguments)
