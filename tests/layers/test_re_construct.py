import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import ReConstruct
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(5, 3, 6)).astype("float32")
X = RNG.normal(size=(5, 4, 6)).astype("float32")
LENGTHS = np.array([4, 2, 0, 1, 3], "int32")
VALID = np.arange(4) < LENGTHS[:, None]
RAW = RNG.uniform(size=(5, 3, 4)) * VALID[:, None]
ATTENTION = (RAW / np.maximum(RAW.sum(axis=-1, keepdims=True), 1e-9)).astype("float32")
INPUTS = [Z, ATTENTION, X, LENGTHS]


def weights_of(layer):
    """Returns W4, b, W3, W5 and w."""
    variables = [layer.unfold_dense.kernel, layer.unfold_dense.bias]
    variables += [layer.hidden_dense.kernel, layer.value_dense.kernel, layer.queries]
    return [variable.numpy().astype(np.float64) for variable in variables]


def reference(z, x, weights, longest, over_all=False, threshold=None):
    """One interest and one step at a time."""
    w4, bias, w3, w5, queries = weights
    total, count = 0.0, 0
    for b in range(5):
        n = LENGTHS[b]
        for k in range(3):
            c = (z[b, k] @ w4 + bias).reshape(longest, -1)[:n]
            for j in range(n):
                if ATTENTION[b, k, j] > (np.float32(1.0) / np.float32(n) if threshold is None else threshold):
                    scores = np.exp(np.tanh(c @ w3) @ queries[j])
                    rebuilt = (scores / scores.sum()) @ (c @ w5)
                    total += np.sum((rebuilt - x[b, j]) ** 2) / 6
                    count += 1
    return total / (3 * VALID.sum() if over_all else max(count, 1))


def test_gate():
    run_layer_test(
        ReConstruct,
        {"max_seq_len": 7, "bottleneck_dim": 5, "loss_weight": 0.3},
        INPUTS,
        expected_output_shape=(),
        expected_num_trainable_weights=5,
        expected_num_non_trainable_weights=0,
        float32_output=True,
    )


@pytest.mark.parametrize("preset", ["standard", "official"])
@pytest.mark.parametrize(("longest", "width", "threshold"), [(4, None, None), (7, 5, 0.3)])
def test_value_and_name(preset, longest, width, threshold):
    layer = ReConstruct(longest, width, 0.25, threshold, preset=preset, name="re")
    layer(INPUTS)
    layer.unfold_dense.bias.assign(np.linspace(-1, 1, longest * (width or 6)))
    with collect_losses() as collected:
        output = layer(INPUTS, training=True)
        layer(INPUTS)
    ((name, term),) = collected.terms.items()
    assert name == "re_construct_loss"
    expected = reference(Z, X, weights_of(layer), longest, preset == "official", threshold)
    np.testing.assert_allclose(term.value, expected, rtol=1e-4)
    np.testing.assert_allclose([output, term.weighted], [0.25 * term.value] * 2, rtol=1e-6)


def test_the_formula_without_a_bias():
    layer = ReConstruct(4, use_bias=False)
    loss = layer(INPUTS)
    assert layer.unfold_dense.bias is None and not layer.get_config()["use_bias"]
    variables = [layer.hidden_dense.kernel, layer.value_dense.kernel, layer.queries]
    weights = [layer.unfold_dense.kernel.numpy(), 0.0, *(variable.numpy() for variable in variables)]
    np.testing.assert_allclose(loss, reference(Z, X, weights, 4), rtol=1e-4)


@pytest.mark.parametrize("stopped", [True, False])
def test_gradients_equal_finite_differences(stopped):
    layer = ReConstruct(4, target_stop_gradient=stopped)
    tensors = [tf.constant(x) for x in (Z, ATTENTION, X)]
    layer([*tensors, LENGTHS])
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = layer([*tensors, LENGTHS])
    z, attention, x, *weights = tape.gradient(loss, [*tensors, *layer.trainable_weights])
    assert attention is None and all(np.any(weight != 0) for weight in weights)
    assert (x is None) == stopped
    arrays, values = [Z.astype(np.float64), X.astype(np.float64)], weights_of(layer)
    for i, got in enumerate([z] if stopped else [z, x]):
        expected = np.zeros_like(arrays[i])
        for place in np.ndindex(*expected.shape):
            ends = []
            for sign in (1, -1):
                moved = [value.copy() for value in arrays]
                moved[i][place] += sign * 1e-6
                ends.append(reference(*moved, values, 4))
            expected[place] = (ends[0] - ends[1]) / 2e-6
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("preset", ["standard", "official"])
def test_padding_and_shorter_batches_change_nothing(preset):
    layer = ReConstruct(6, preset=preset)
    expected = layer(INPUTS)
    wide = [np.pad(ATTENTION, [[0, 0], [0, 0], [0, 5]]), np.pad(X, [[0, 0], [0, 5], [0, 0]])]
    call = tf.function(layer, input_signature=None, autograph=False)
    signature = [tf.TensorSpec([None, 3, 6]), tf.TensorSpec([None, 3, None]), tf.TensorSpec([None, None, 6])]
    padded = call.get_concrete_function([*signature, tf.TensorSpec([None], tf.int32)])
    for attention, x in ((ATTENTION, X), wide):
        got = padded(*(tf.constant(value) for value in (Z, attention, x, LENGTHS)))
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_without_positives_there_is_neither_loss_nor_gradient():
    layer = ReConstruct(4)
    layer(INPUTS)
    for lengths in (np.zeros(5, "int32"), np.ones(5, "int32")):
        attention = np.broadcast_to((np.arange(4) < lengths[:, None])[:, None], (5, 3, 4)).astype("float32")
        with tf.GradientTape() as tape:
            loss = layer([Z, attention, X, lengths])
        assert float(loss) == 0.0
        for gradient in tape.gradient(loss, layer.trainable_weights):
            np.testing.assert_array_equal(gradient, np.zeros_like(gradient))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_half_precision_inputs_stay_finite(dtype):
    z, x = (tf.cast(1e3 * np.sign(value), dtype) for value in (Z, X))
    assert np.isfinite(ReConstruct(4, dtype=f"mixed_{dtype}")([z, ATTENTION, x, LENGTHS]))


def test_sequences_that_are_too_long_are_refused():
    with pytest.raises(ValueError, match="seq_len=4, max_seq_len=3"):
        ReConstruct(3)(INPUTS)
    layer = ReConstruct(3, name="re")
    layer([Z, ATTENTION[..., :3], X[:, :3], np.minimum(LENGTHS, 3)])
    with pytest.raises(tf.errors.InvalidArgumentError, match="max_seq_len=3"):
        layer([Z, ATTENTION[..., :3], X[:, :3], LENGTHS])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"max_seq_len": 0}, "max_seq_len=0"),
        ({"max_seq_len": 2, "bottleneck_dim": 0}, "bottleneck_dim=0"),
        ({"max_seq_len": 2, "threshold": -0.1}, "threshold=-0.1"),
        ({"max_seq_len": 2, "preset": "paper"}, "unknown preset 'paper'"),
    ],
)
def test_bad_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        ReConstruct(**options)
    with pytest.raises(ValueError, match=r"ReConstruct 're' takes interests"):
        ReConstruct(4, name="re")(INPUTS[:3])
