import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import MLP
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5)).astype("float32")
STEPS = RNG.normal(size=(4, 6, 5)).astype("float32")
ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "linear": lambda x: x}


def randomize(layer):
    """Gives every weight a value that would show if it were left out."""
    rng = np.random.default_rng(1)
    layer.set_weights([rng.uniform(0.2, 1.5, size=w.shape).astype(w.dtype) for w in layer.get_weights()])


def array(variable):
    return np.asarray(tf.convert_to_tensor(variable), np.float64)


def reference(mlp, x, *, training=False):
    """The definition, layer by layer, in float64."""
    x = x.astype(np.float64)
    last = len(mlp.blocks) - 1
    for index, block in enumerate(mlp.blocks):
        use_bn = mlp.use_final_bn if index == last else mlp.use_bn
        use_bias = mlp.use_final_bias if index == last else mlp.use_bias
        activation = ACTIVATIONS[mlp.final_activation if index == last else mlp.activation]

        def normalize(h, norm=block.norm, use_bn=use_bn):
            if not use_bn:
                return h
            mean = h.mean(axis=0) if training else array(norm.moving_mean)
            variance = h.var(axis=0) if training else array(norm.moving_variance)
            return (h - mean) / np.sqrt(variance + 1e-3) * array(norm.gamma) + array(norm.beta)

        x = x @ array(block.dense.kernel) + (array(block.dense.bias) if use_bias else 0.0)
        x = normalize(activation(x)) if mlp.use_bn_after_activation else activation(normalize(x))
    return x


@pytest.mark.parametrize(
    ("kwargs", "inputs", "trainable", "state"),
    [
        ({"hidden_units": [8, 3]}, X, 6, 4),
        ({"hidden_units": [8, 3], "dropout_ratio": [0.5], "activation": "dice"}, STEPS, 7, 7),
    ],
)
def test_gate(kwargs, inputs, trainable, state):
    run_layer_test(
        MLP,
        kwargs,
        inputs,
        expected_output_shape=(*inputs.shape[:-1], 3),
        expected_num_trainable_weights=trainable,
        expected_num_non_trainable_weights=state,
        is_random="dropout_ratio" in kwargs,
        keeps_mask=True if inputs.ndim == 3 else None,
    )


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"use_bn": False},
        {"use_final_bn": False, "final_activation": "linear"},
        {"use_bias": True, "activation": "tanh"},
        {"use_final_bias": True, "use_final_bn": False, "final_activation": "linear"},
        {"use_bn_after_activation": True},
        {"use_bn": False, "use_final_bn": False, "use_bias": True, "use_final_bias": True},
    ],
)
def test_values(kwargs, training):
    layer = MLP([8, 4, 3], **kwargs)
    layer.build(X.shape)
    randomize(layer)
    expected = reference(layer, X, training=training)
    np.testing.assert_allclose(layer(X, training=training), expected, rtol=2e-4, atol=2e-5)


def test_defaults_end_with_normalisation_and_relu_and_have_no_bias():
    layer = MLP([8, 3])
    layer(X)
    names = [getattr(w, "path", w.name).split(":")[0].split("/", 1)[1] for w in layer.trainable_weights]
    assert sorted(names) == sorted(
        f"layer_{i}/{w}" for i in range(2) for w in ("dense/kernel", "norm/gamma", "norm/beta")
    )
    assert layer(X, training=True).numpy().min() == 0.0
    limit = np.sqrt(6 / 5)  # he_uniform
    kernel = array(layer.blocks[0].dense.kernel)
    assert 0.8 * limit < np.abs(kernel).max() <= limit


def test_kernels_do_not_share_their_initial_values():
    layer = MLP([5, 5])
    layer.build([None, 5])
    assert not np.array_equal(array(layer.blocks[0].dense.kernel), array(layer.blocks[1].dense.kernel))


def test_dropout_ratios_belong_to_layers_in_order():
    layer = MLP([4, 4, 4], dropout_ratio=[0.0, 0.9])
    assert [block.dropout and block.dropout.rate for block in layer.blocks] == [None, 0.9, None]
    one = MLP([200], dropout_ratio=[0.75], use_final_bn=False, final_activation="linear")
    share = np.mean(one(X, training=True).numpy() == 0.0)
    assert 0.65 < share < 0.85


def test_padding_does_not_enter_the_statistics():
    lengths = tf.constant([6, 2, 3, 0])
    outputs = []
    for extra in (0, 5):
        padded = np.concatenate([STEPS, np.full((4, extra, 5), 1e3, "float32")], axis=1)
        layer = MLP([8, 3])
        layer.build([None, None, 5])
        randomize(layer)
        output = layer(padded, mask=tf.sequence_mask(lengths, 6 + extra), training=True).numpy()
        outputs.append(output[:, :6][np.arange(6) < lengths.numpy()[:, None]])
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-6)


def test_regularizer_reaches_every_kernel():
    layer = MLP([4, 3], kernel_regularizer=keras.regularizers.L2(0.5))
    layer(X)
    expected = sum(0.5 * np.sum(array(block.dense.kernel) ** 2) for block in layer.blocks)
    assert float(tf.add_n(layer.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"hidden_units": []}, "at least one layer"),
        ({"hidden_units": [4, 0]}, "hidden_units=0"),
        ({"hidden_units": [4], "dropout_ratio": [0.1, 0.2]}, "more entries"),
        ({"hidden_units": [4], "dropout_ratio": [1.0]}, "dropout_ratio=1.0"),
        ({"hidden_units": [4], "final_activation": "rellu"}, "did you mean 'relu'"),
        ({"hidden_units": [4], "initializer": "he_unifrom"}, "did you mean 'he_uniform'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MLP(**kwargs)


def test_an_unknown_width_is_refused():
    with pytest.raises(ValueError, match="last dimension"):
        MLP([4]).build([None, None])
