import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import DIN
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 4, 6)).astype("float32")
LENGTHS = np.array([4, 2, 0, 1, 3], "int32")
VALID = np.arange(4) < LENGTHS[:, None]
TARGET = RNG.normal(size=(5, 6)).astype("float32")
DNN = {"hidden_units": [3, 1]}


def reference(layer, history, lengths, target):
    """One row after the other, without padding."""
    width, cut = history.shape[2], target.shape[1]
    outputs = []
    for steps, length, wanted in zip(history.astype("float64"), lengths, target, strict=True):
        query = np.concatenate([wanted, np.zeros(width - cut)])
        total = np.zeros(cut)
        if length:
            k, q = steps[:length], np.tile(query, (length, 1))
            scores = oracle.mlp(layer.attention_dnn, np.concatenate([q, k, q - k, q * k], axis=1))[:, 0]
            if layer.attention_normalizer == "softmax":
                weights = np.exp(scores) / np.exp(scores).sum()
            else:
                weights = 1 / (1 + np.exp(-scores / np.sqrt(width)))
            total = weights @ k[:, :cut]
        outputs.append(np.concatenate([total, query]) if layer.need_target_feature else total)
    return np.array(outputs)


@pytest.mark.parametrize(
    ("kwargs", "width"),
    [({}, 12), ({"attention_normalizer": "sigmoid", "need_target_feature": False}, 6)],
)
def test_gate(kwargs, width):
    run_layer_test(
        DIN,
        {"attention_dnn": DNN, **kwargs},
        [X, LENGTHS, TARGET],
        expected_output_shape=(5, width),
        expected_num_trainable_weights=3 + 2,  # a kernel with batch normalisation, a kernel with a bias
        policies=("mixed_bfloat16",),
        tolerance=1e-4,
    )


@pytest.mark.parametrize("normalizer", ["softmax", "sigmoid"])
@pytest.mark.parametrize("with_target", [True, False])
@pytest.mark.parametrize("target_width", [6, 2])
def test_values(normalizer, with_target, target_width):
    dnn = {**DNN, "use_final_bn": True, "final_activation": "relu"}  # which a score never has
    inputs = [X, LENGTHS, TARGET[:, :target_width]]
    layer = oracle.built(DIN(dnn, with_target, normalizer), inputs)
    expected = reference(layer, *inputs)
    assert expected.shape == (5, target_width + 6 * with_target)
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-4, atol=1e-5)
    assert oracle.count(layer) == 4 * 6 * 3 + 2 * 3 + 3 + 1


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_padding_changes_nothing(training, jit_compile):
    garbage = np.where(VALID[..., None], X, np.nan)
    longer = np.concatenate([garbage, np.full([5, 3, 6], np.inf, "float32")], axis=1)
    outputs = []
    for history in (X, longer):
        layer = oracle.built(DIN(DNN), [X, LENGTHS, TARGET])
        outputs.append(
            tf.function(layer, jit_compile=jit_compile, autograph=False)(
                [history, LENGTHS, TARGET], training=training
            )
        )
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_batch_without_any_step_trains(jit_compile):
    layer = oracle.built(DIN(DNN), [X, LENGTHS, TARGET])

    @tf.function(jit_compile=jit_compile, autograph=False)
    def step():
        with tf.GradientTape() as tape:
            output = layer([X, 0 * LENGTHS, TARGET], training=True)
            loss = tf.reduce_sum(tf.square(output))
        return output, tape.gradient(loss, layer.trainable_weights)

    output, gradients = step()
    np.testing.assert_array_equal(
        output, np.concatenate([np.zeros([5, 6]), TARGET], axis=1).astype("float32")
    )
    for gradient in gradients:
        np.testing.assert_array_equal(gradient, np.zeros_like(gradient))
    assert all(np.all(np.isfinite(w)) for w in layer.get_weights())


def test_large_inputs_in_half_precision():
    output = DIN({"hidden_units": [1]}, dtype="mixed_float16")([100 * X, LENGTHS, 100 * TARGET])
    assert output.dtype == tf.float16 and np.all(np.isfinite(output))


def test_gradients_equal_finite_differences():
    layer = DIN({"hidden_units": [3, 1], "activation": "tanh", "use_bn": False})
    oracle.built(layer, [X, LENGTHS, TARGET])
    history = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(history)
        loss = tf.reduce_sum(layer([history, LENGTHS, TARGET])[:, :6])
    gradient = tape.gradient(loss, history).numpy()
    np.testing.assert_array_equal(gradient[~VALID], 0.0)
    total = lambda x: reference(layer, x, LENGTHS, TARGET)[:, :6].sum()
    for place in [(0, 3, 5), (1, 0, 2), (3, 0, 0), (4, 2, 1)]:
        moved = np.zeros(X.shape)
        moved[place] = 1e-5
        slope = (total(X + moved) - total(X - moved)) / 2e-5
        assert gradient[place] == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_regularizer():
    layer = DIN(DNN, kernel_regularizer=keras.regularizers.L2(0.5))
    oracle.built(layer, [X, LENGTHS, TARGET])
    oracle.l2(layer, *(block.dense for block in layer.attention_dnn.blocks))


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"attention_dnn": {"hidden_units": [3, 2]}}, None, r"hidden_units=\[3, 2\]"),
        ({"attention_dnn": {}}, None, "needs the parameter 'hidden_units'"),
        ({"attention_dnn": DNN, "attention_normalizer": "softmx"}, None, "did you mean 'softmax'"),
        ({"attention_dnn": DNN}, [X, LENGTHS], "takes a history"),
        ({"attention_dnn": DNN}, (X, LENGTHS, None), "needs a plain feature"),
        ({"attention_dnn": DNN}, [X[:, :, :5], LENGTHS, TARGET], "target width 6, step width 5"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        DIN(**kwargs)(inputs)
