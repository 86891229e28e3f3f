"""What layers on fields are made of, in NumPy and float64."""

import numpy as np
import tensorflow as tf

ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "linear": lambda x: x,
}


def array(variable):
    return np.asarray(tf.convert_to_tensor(variable), np.float64)


def randomize(layer, seed=1):
    """Gives every weight that is not a random state values that show if it is left out or misplaced."""
    rng = np.random.default_rng(seed)
    for variable in layer.weights:
        if tf.as_dtype(variable.dtype).is_floating:
            low = 0.5 if "variance" in getattr(variable, "path", variable.name) else -1.0
            variable.assign(rng.uniform(low, 1.5, variable.shape))


def built(layer, inputs):
    """Returns the layer with random weights."""
    layer(inputs)
    randomize(layer)
    return layer


def count(layer):
    """Returns the number of trainable values."""
    return sum(int(np.prod(v.shape)) for v in layer.trainable_weights)


def dense(layer, x):
    return x @ array(layer.kernel) + (array(layer.bias) if layer.use_bias else 0.0)


def norm(layer, x):
    """Layer normalisation with Keras's epsilon."""
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-3) * array(layer.gamma) + array(layer.beta)


def mlp_block(block, activation, x):
    """One layer of an MLP when not training."""
    x = dense(block.dense, x)
    if (bn := block.norm) is not None:
        x = (x - array(bn.moving_mean)) / np.sqrt(array(bn.moving_variance) + 1e-3)
        x = x * array(bn.gamma) + array(bn.beta)
    return ACTIVATIONS[activation](x)


def mlp(layer, x):
    last = len(layer.blocks) - 1
    for index, block in enumerate(layer.blocks):
        x = mlp_block(block, layer.final_activation if index == last else layer.activation, x)
    return x


def l2(layer, *sublayers):
    """Checks that the regularization losses are those of the kernels named, with the factor 0.5."""
    told = float(tf.add_n(layer.losses)) if layer.losses else 0.0
    wanted = sum(0.5 * np.sum(array(sublayer.kernel) ** 2) for sublayer in sublayers)
    np.testing.assert_allclose(told, wanted, rtol=1e-5)
