"""Factors that weights are multiplied by in place of outputs."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers.dropout import Dropout
from easyssl.layers.layer_norm import LayerNorm
from easyssl.layers.scaled_dense import scaled_dense

pytestmark = pytest.mark.both_keras
INPUTS = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)


@pytest.mark.parametrize("factor", [1.0, 1.25])
def test_weights_are_scaled_in_place_of_the_output(factor):
    dense = keras.layers.Dense(6, bias_initializer="ones")
    expected = factor * dense(INPUTS)
    np.testing.assert_allclose(
        scaled_dense(dense, tf.constant(INPUTS), factor), expected, rtol=1e-5, atol=1e-6
    )


def test_a_normalised_output_is_scaled():
    norm = LayerNorm()
    np.testing.assert_allclose(norm(INPUTS, factor=1.25), 1.25 * norm(INPUTS), rtol=1e-5, atol=1e-6)


def test_dropout_of_scaled_inputs_is_that_of_inputs():
    plain, scaled = Dropout(0.4, seed=3), Dropout(0.4, seed=3)
    assert scaled.factor(False) == 1.0
    expected = plain(INPUTS, training=True)
    np.testing.assert_allclose(
        scaled(INPUTS * scaled.factor(True), training=True, scaled=True), expected, rtol=1e-6
    )
