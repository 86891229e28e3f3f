import math

import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional import activation, activation_names
from easyssl.functional.activations import canonical_activation

X = np.linspace(-6, 6, 25)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


REFERENCES = {
    "linear": X,
    "": X,
    None: X,
    "None": X,
    "relu": np.maximum(X, 0),
    "gelu": X / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X**3))),
    "leaky_relu": np.where(X > 0, X, 0.2 * X),
    "prelu": np.where(X > 0, X, 0.2 * X),
    "elu": np.where(X > 0, X, np.exp(X) - 1),
    "selu": 1.0507009873554805 * np.where(X > 0, X, 1.6732632423543772 * (np.exp(X) - 1)),
    "tanh": np.tanh(X),
    "swish": X * sigmoid(X),
    "silu": X * sigmoid(X),
    "sigmoid": sigmoid(X),
    "softmax": np.exp(X) / np.exp(X).sum(),
    "tf.nn.relu": np.maximum(X, 0),
    "tf.keras.activations.relu": np.maximum(X, 0),
    "Swish": X * sigmoid(X),
    "tf.nn.softplus": np.log1p(np.exp(X)),
    "tf.nn.gelu": X / 2 * np.array([1 + math.erf(x / math.sqrt(2)) for x in X]),  # not the tanh form
    "lambda v: tf.maximum(v, 0.5 * v)": np.where(X > 0, X, X / 2),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_values(name):
    np.testing.assert_allclose(activation(name)(tf.constant(X, tf.float32)), REFERENCES[name], atol=1e-6)


def test_all_names_are_tested():
    assert {*activation_names()} - {"dice"} <= {*REFERENCES}


def test_unknown_names_get_the_nearest():
    with pytest.raises(ValueError, match="unknown activation 'gleu'; did you mean 'gelu'"):
        activation("gleu")
    with pytest.raises(
        ValueError, match=r"unknown activation 'tf\.nn\.softplu'.*did you mean 'tf\.nn\.softplus'"
    ):
        activation("tf.nn.softplu")
    with pytest.raises(ValueError, match="unknown activation 'lambda x: open"):
        activation("lambda x: open(x)")
    with pytest.raises(ValueError, match="Dice"):
        activation("dice")
    assert canonical_activation("DICE") == "dice"
    assert canonical_activation(" tf.nn.gelu") == "tf.nn.gelu"


@pytest.mark.parametrize("name", [name for name in activation_names() if name != "dice"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_values_and_gradients_are_finite(name, dtype):
    x = tf.cast([-3e4, -200.0, -1.0, 0.0, 1.0, 200.0, 3e4], dtype)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = activation(name)(x)
    assert y.dtype == x.dtype
    assert np.all(np.isfinite(tf.cast(y, tf.float32)))
    assert np.all(np.isfinite(tf.cast(tape.gradient(y, x), tf.float32)))
