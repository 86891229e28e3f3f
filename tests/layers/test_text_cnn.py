import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import TextCNN
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(5, 4, 3)).astype("float32")
LENGTHS = np.array([4, 2, 0, 1, 3], "int32")
VALID = np.arange(4) < LENGTHS[:, None]
SIZES, FILTERS = [2, 3], [2, 4]


def reference(layer, sequence, lengths):
    """One row after the other, as if it were alone."""
    outputs = []
    for steps, length in zip(sequence.astype("float64"), lengths, strict=True):
        found = []
        for size, convolution in zip(layer.filter_sizes, layer.convolutions, strict=True):
            kernel, bias = oracle.array(convolution.kernel), oracle.array(convolution.bias)
            total = layer.pad_sequence_length or max(length, size)
            row = np.zeros((total, steps.shape[1]))
            row[: min(length, total)] = steps[: min(length, total)]
            values = [np.einsum("ie,ief->f", row[t : t + size], kernel) for t in range(total - size + 1)]
            found.append(np.max(oracle.ACTIVATIONS[layer.activation](np.array(values) + bias), axis=0))
        outputs.append(np.concatenate(found) * (length > 0))
    if layer.mlp is None:
        return np.array(outputs)
    return oracle.mlp(layer.mlp, np.array(outputs)) * (lengths > 0)[:, None]


@pytest.mark.parametrize(
    ("kwargs", "width", "trainable"),
    [({}, 6, 4), ({"pad_sequence_length": 5, "activation": "dice", "mlp": {"hidden_units": [2]}}, 2, 9)],
)
def test_gate(kwargs, width, trainable):
    run_layer_test(
        TextCNN,
        {"filter_sizes": SIZES, "num_filters": FILTERS, **kwargs},
        [X, LENGTHS],
        expected_output_shape=(5, width),
        expected_num_trainable_weights=trainable,
        policies=("mixed_bfloat16",),
        tolerance=1e-4,
    )


@pytest.mark.parametrize("length", [None, 0, 3, 7])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_values(length, activation):
    layer = oracle.built(TextCNN(SIZES, FILTERS, length, activation), [X, LENGTHS])
    expected = reference(layer, X, LENGTHS)
    np.testing.assert_allclose(layer([X, LENGTHS]), expected, rtol=1e-4, atol=1e-5)
    assert oracle.count(layer) == (2 * 3 * 2 + 2) + (3 * 3 * 4 + 4)
    garbage = np.where(VALID[..., None], X, np.nan)
    longer = np.concatenate([garbage, np.full([5, 3, 3], np.inf, "float32")], axis=1)
    np.testing.assert_allclose(layer([longer, LENGTHS]), expected, rtol=1e-4, atol=1e-5)


def test_values_with_an_mlp():
    mlp = {"hidden_units": [5, 2], "final_activation": "linear"}
    layer = oracle.built(TextCNN(SIZES, FILTERS, mlp=mlp), [X, LENGTHS])
    np.testing.assert_allclose(layer([X, LENGTHS]), reference(layer, X, LENGTHS), rtol=1e-4, atol=1e-4)


def test_filters_that_only_fit_into_padding():
    layer = oracle.built(TextCNN([6], [2]), [X, LENGTHS])
    np.testing.assert_allclose(layer([X, LENGTHS]), reference(layer, X, LENGTHS), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_no_gradient_from_padding_and_empty_rows(jit_compile):
    layer = oracle.built(TextCNN(SIZES, FILTERS), [X, LENGTHS])

    @tf.function(jit_compile=jit_compile, autograph=False)
    def gradient(x, lengths):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer([x, lengths], training=True)))
        return tape.gradient(loss, [x, *layer.trainable_weights])

    of_x, *_ = gradient(tf.where(VALID[..., None], X, np.nan), LENGTHS)
    np.testing.assert_array_equal(of_x.numpy()[~VALID], 0.0)
    assert np.any(of_x.numpy()[VALID] != 0)
    for value in gradient(tf.constant(X), 0 * LENGTHS):
        np.testing.assert_array_equal(value, np.zeros_like(value))


def test_regularizer_reaches_the_mlp():
    layer = TextCNN(SIZES, FILTERS, mlp={"hidden_units": [2]}, kernel_regularizer=keras.regularizers.L2(0.5))
    oracle.built(layer, [X, LENGTHS])
    oracle.l2(layer, layer.mlp.blocks[0].dense)


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"filter_sizes": [], "num_filters": []}, None, "one entry for each"),
        ({"filter_sizes": [2], "num_filters": [2, 3]}, None, "one entry for each"),
        ({"filter_sizes": [0], "num_filters": [2]}, None, "filter_sizes=0"),
        ({"filter_sizes": [3], "num_filters": [2], "pad_sequence_length": 2}, None, "pad_sequence_length=2"),
        ({"filter_sizes": [3], "num_filters": [2], "activation": "rellu"}, None, "did you mean 'relu'"),
        ({"filter_sizes": [3], "num_filters": [2], "mlp": {}}, None, "needs the parameter 'hidden_units'"),
        ({"filter_sizes": [3], "num_filters": [2]}, X, "takes a sequence"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        TextCNN(**kwargs)(inputs)
