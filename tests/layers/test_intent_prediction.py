import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import IntentPrediction
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

A, B = np.random.default_rng(0).normal(size=(2, 5, 3, 4)).astype("float32")
B[3] = 0.0  # a row without a future


def expected(a, b, temperature, share, rows=(0, 1, 2, 4)):
    a, b = a.astype(np.float64), b.astype(np.float64)
    losses = []
    for u in rows:
        for k in range(a.shape[1]):
            scores = [a[u, k] @ b[v, j] / temperature for v in rows for j in range(a.shape[1])]
            losses.append(np.log(np.sum(np.exp(scores))) - a[u, k] @ b[u, k] / temperature)
    return np.mean(sorted(losses)[: int(np.ceil(share * len(losses)))])


def test_gate():
    run_layer_test(IntentPrediction, {}, [A, B], expected_output_shape=(), float32_output=True)


@pytest.mark.parametrize(("temperature", "share"), [(None, 0.5), (0.5, 1.0), (3.0, 0.01)])
def test_values(temperature, share):
    layer = IntentPrediction(0.5, temperature, share, name="i")
    with collect_losses() as collected:
        total = layer([A, B], training=True)
    (term,) = collected.terms.values()
    assert list(collected.terms) == ["i_intent_loss"]
    want = expected(A, B, temperature or 2.0, share)
    assert float(term.value) == pytest.approx(want, rel=1e-4)
    assert float(total) == pytest.approx(want / 2, rel=1e-4)


def test_gradient_equals_finite_differences_in_both_sides():
    layer, x = IntentPrediction(kept_share=1.0), [tf.constant(A), tf.constant(B)]
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = layer(x)
    for side, got in enumerate(tape.gradient(loss, x)):
        np.testing.assert_array_equal(got[3], 0.0)
        for place in [(0, 0, 0), (2, 1, 3), (4, 2, 1)]:
            sides = [[A.astype(np.float64), B.astype(np.float64)] for _ in range(2)]
            for sign, pair in zip((1, -1), sides, strict=True):
                pair[side][place] += sign * 1e-5
            values = [expected(*pair, 2.0, 1.0) for pair in sides]
            assert got.numpy()[place] == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("inputs", [[A[:1, :1], B[:1, :1]], [A, 0 * B]])
def test_nothing_to_tell_apart_has_neither_loss_nor_gradient(inputs):
    x = [tf.constant(i) for i in inputs]
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = IntentPrediction()(x)
    assert float(loss) == 0.0
    assert all(not np.any(g) for g in tape.gradient(loss, x))


def test_large_intents_in_half_precision():
    x = tf.constant(1e3 * A, tf.float16)
    assert np.isfinite(float(IntentPrediction(temperature=0.02)([x, x])))


def test_errors():
    with pytest.raises(ValueError, match="`kept_share` must be in"):
        IntentPrediction(kept_share=0.0)
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        IntentPrediction(temperature=-1.0)
    with pytest.raises(ValueError, match="takes intents of the past and of the future"):
        IntentPrediction()([A, B[:, :2]])
