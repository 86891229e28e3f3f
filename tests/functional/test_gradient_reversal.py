import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional.gradient_reversal import dann_factor, reverse_gradient

X = np.random.default_rng(0).normal(size=(3, 4))


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_forward_is_the_identity_and_the_gradient_is_reversed(factor, dtype):
    x = tf.constant(X, dtype)
    upstream = tf.constant(np.round(X[::-1], 2), dtype)
    for given in (factor, tf.constant(factor)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = reverse_gradient(x, given)
        np.testing.assert_array_equal(y, x)
        assert y.dtype == x.dtype
        np.testing.assert_array_equal(tape.gradient(y, x, upstream), -tf.cast(factor, dtype) * upstream)


def test_compiled():
    @tf.function(jit_compile=True, autograph=False)
    def step(x, factor):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.square(reverse_gradient(x, factor)))
        return tape.gradient(y, x)

    np.testing.assert_allclose(step(tf.constant(X), tf.constant(0.5)), -X)


@pytest.mark.parametrize("gamma", [1.0, 10.0])
def test_dann_factor(gamma):
    progress = np.linspace(0, 1, 11)
    expected = 2 / (1 + np.exp(-gamma * progress)) - 1
    np.testing.assert_allclose(dann_factor(progress, gamma), expected, atol=1e-6)
    np.testing.assert_allclose(dann_factor([-1.0, 2.0], gamma), expected[[0, -1]], atol=1e-6)
