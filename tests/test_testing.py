"""The gate must close: each broken layer here fails exactly the check that is meant for it."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")


@keras.utils.register_keras_serializable(package="easyssl_test")
class Scale(keras.layers.Layer):
    """A layer in good order; the subclasses break one thing each."""

    def __init__(self, factor=2.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.supports_masking = True

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(), initializer="ones")
        super().build(input_shape)

    def call(self, inputs, training=None):
        return inputs * self.scale * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def broken(cls):
    return keras.utils.register_keras_serializable(package="easyssl_test")(cls)


@broken
class LosesConfig(Scale):
    def get_config(self):
        return keras.layers.Layer.get_config(self)


@broken
class ConfigIsNotJson(Scale):
    def get_config(self):
        return {**super().get_config(), "factor": tf.constant(2.0)}


@broken
class RandomInEvaluation(Scale):
    def call(self, inputs, training=None):
        return super().call(inputs) + tf.random.uniform([])


@broken
class GrowsWeights(Scale):
    def call(self, inputs, training=None):
        self._extra = [*getattr(self, "_extra", []), 1]
        if len(self._extra) == 4 and tf.executing_eagerly():
            self.other = keras.layers.Dense(1)
            self.other.build([None, 3])
        return super().call(inputs)


@broken
class OverflowsInHalfPrecision(Scale):
    def call(self, inputs, training=None):
        return super().call(inputs) * tf.cast(1e5, inputs.dtype) * tf.cast(1e-5, inputs.dtype)


@broken
class StopsTheGradientInHalfPrecision(Scale):
    def call(self, inputs, training=None):
        output = super().call(inputs)
        return tf.stop_gradient(output) if tf.as_dtype(output.dtype) == tf.float16 else output


@broken
class HasNoGradientAtZero(Scale):
    def call(self, inputs, training=None):
        return super().call(inputs) + tf.sqrt(0 * inputs)


@broken
class IgnoresThePolicy(Scale):
    def call(self, inputs, training=None):
        return tf.cast(super().call(inputs), tf.float32)


@broken
class KeepsStateOutsideOfWeights(Scale):
    def build(self, input_shape):
        super().build(input_shape)
        self.hidden = tf.constant(np.random.default_rng().normal(), tf.float32)

    def call(self, inputs, training=None):
        return super().call(inputs) + tf.cast(self.hidden, inputs.dtype)


@broken
class UnusedWeight(Scale):
    def call(self, inputs, training=None):
        return inputs * self.factor


@broken
class DropsMask(Scale):
    def compute_mask(self, inputs, mask=None):
        return None


@broken
class NeedsPython(Scale):
    def call(self, inputs, training=None):
        return tf.ensure_shape(
            tf.py_function(lambda x: x, [super().call(inputs)], inputs.dtype), inputs.shape
        )


def test_a_sound_layer_passes_and_is_returned_built():
    layer = run_layer_test(Scale, {"factor": 3.0}, X, expected_output_shape=X.shape, keeps_mask=True)
    np.testing.assert_allclose(layer(X), 3.0 * X)
    assert layer.built


@pytest.mark.parametrize(
    ("cls", "kwargs", "error", "message"),
    [
        (LosesConfig, {"factor": 3.0}, AssertionError, "gives other outputs|output after loading"),
        (ConfigIsNotJson, {}, AssertionError, "not JSON"),
        (RandomInEvaluation, {}, AssertionError, "second call without training"),
        (GrowsWeights, {}, (AssertionError, ValueError), "weights after more calls|already built"),
        (OverflowsInHalfPrecision, {}, AssertionError, "output under mixed_float16: not finite"),
        (
            StopsTheGradientInHalfPrecision,
            {},
            AssertionError,
            "gradients under mixed_float16: number 0 is off",
        ),
        (HasNoGradientAtZero, {}, AssertionError, "gradients: not finite"),
        (IgnoresThePolicy, {}, AssertionError, "output dtype under mixed_float16"),
        (KeepsStateOutsideOfWeights, {}, AssertionError, "output after loading"),
        (UnusedWeight, {}, AssertionError, "no gradient reaches"),
        (DropsMask, {}, AssertionError, "does not come out again"),
        (NeedsPython, {}, tf.errors.InvalidArgumentError, "XLA|EagerPyFunc|compil"),
    ],
)
def test_a_broken_layer_fails(cls, kwargs, error, message):
    with pytest.raises(error, match=message):
        run_layer_test(cls, kwargs, X, keeps_mask=True)


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        ({"expected_output_shape": (4, 6, 2)}, "output shape"),
        ({"expected_num_trainable_weights": 2}, "number of trainable weights"),
        ({"expected_num_non_trainable_weights": 1}, "number of non-trainable weights"),
        ({"is_random": True}, "four calls in training gave the same output"),
        ({"keeps_mask": False}, "a mask comes out"),
    ],
)
def test_wrong_expectations_fail(expectation, message):
    with pytest.raises(AssertionError, match=message):
        run_layer_test(Scale, {}, X, **expectation)
