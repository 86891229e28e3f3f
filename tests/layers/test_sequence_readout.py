import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional.sequences import reverse_steps
from easyssl.layers import SequenceReadout
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype("float32")
LENGTHS = np.array([5, 3, 1, 0], "int32")


def expected(output):
    rows = []
    for x, n in zip(X, LENGTHS, strict=True):
        if output == "concat":
            rows.append(np.concatenate([x[:n][::-1], np.zeros((5 - n, 3))]).ravel())
        elif output == "mean":
            rows.append(x[:n].mean(axis=0) if n else np.zeros(3))
        else:
            rows.append(x[n - 1] if n else np.zeros(3))
    return np.array(rows)


@pytest.mark.parametrize(("output", "width"), [("last", 3), ("mean", 3), ("concat", 15)])
def test_gate_and_values(output, width):
    layer = run_layer_test(
        SequenceReadout,
        {"output": output},
        [X, LENGTHS],
        expected_output_shape=(4, width),
        expected_num_trainable_weights=0,
    )
    np.testing.assert_allclose(layer([X, LENGTHS]), expected(output), rtol=1e-5, atol=1e-6)
    dirty = np.where(np.arange(5)[None, :, None] < LENGTHS[:, None, None], X, np.nan).astype("float32")
    np.testing.assert_allclose(layer([dirty, LENGTHS + 9 * (LENGTHS == 5)]), expected(output), rtol=1e-5)


def test_a_dynamic_length_is_concatenated_too():
    layer = SequenceReadout("concat")
    call = tf.function(
        layer,
        input_signature=[[tf.TensorSpec([None, None, 3]), tf.TensorSpec([None], tf.int32)]],
        autograph=False,
    )
    np.testing.assert_allclose(call([X, LENGTHS]), expected("concat"))


def test_turning_around_twice_changes_nothing_and_its_gradient_is_turned_around():
    x = tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        turned = reverse_steps(x, tf.constant(LENGTHS))
        loss = tf.reduce_sum(turned * tf.reverse(x, [0]) + 0.0 * x)
    np.testing.assert_array_equal(reverse_steps(turned, tf.constant(LENGTHS)), X)
    other = reverse_steps(tf.constant(X[::-1].copy()), tf.constant(LENGTHS)).numpy()
    through_reverse = turned.numpy()[::-1]
    np.testing.assert_allclose(tape.gradient(loss, x), other + through_reverse, rtol=1e-5)


def test_errors():
    with pytest.raises(ValueError, match="did you mean 'last'"):
        SequenceReadout("lasst")
    with pytest.raises(ValueError, match="takes a sequence"):
        SequenceReadout()(X)
