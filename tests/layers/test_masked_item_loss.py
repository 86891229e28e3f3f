import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import MaskedItemLoss
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
H = RNG.normal(size=(3, 4, 5)).astype("float32")
E = RNG.normal(size=(3, 4, 2)).astype("float32")
V = RNG.normal(size=(7, 2)).astype("float32")
HIDDEN = np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)


def softplus(x):
    return np.logaddexp(0, x)


def loss_of(layer, inputs):
    with collect_losses() as collected:
        layer(inputs, training=True)
    (term,) = collected.terms.values()
    return term.value


def test_gate():
    layer = run_layer_test(
        MaskedItemLoss,
        {},
        [H, HIDDEN, E, V],
        expected_output_shape=(),
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=1,
        is_random=True,
        float32_output=True,
    )
    assert float(layer([H, HIDDEN, E, V])) == 0.0


@pytest.mark.parametrize("squashed", [False, True])
@pytest.mark.parametrize("loss_type", ["ranking", "binary"])
def test_values_with_one_candidate(loss_type, squashed):
    layer = MaskedItemLoss(0.5, loss_type, squashed=squashed, name="mip")
    got = float(loss_of(layer, [H, HIDDEN, E, V[:1]]))
    guesses = H.astype(np.float64) @ layer.dense.kernel.numpy()
    right, wrong = np.sum(guesses * E, axis=2)[HIDDEN], (guesses @ V[0])[HIDDEN]
    if squashed:
        right, wrong = 1 / (1 + np.exp(-right)), 1 / (1 + np.exp(-wrong))
    losses = softplus(wrong - right) if loss_type == "ranking" else softplus(-right) + softplus(wrong)
    assert got == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("candidates", [[V], []])
def test_items_are_drawn_evenly_from_the_candidates_or_the_hidden(candidates):
    # Scores that tell which item was drawn: one step with its own size.
    pool = V if candidates else E[HIDDEN]
    states = np.zeros_like(E)
    states[0, 0] = [3.0, 1.0]
    layer = MaskedItemLoss(projection=False, seed=1)
    call = tf.function(lambda: loss_of(layer, [states, HIDDEN, E, *candidates]), autograph=False)
    call()
    drawn = np.array([float(call()) for _ in range(300)])
    found = {}
    for index, item in enumerate(pool):
        rest = np.log(2.0) * 2  # of the other hidden steps
        value = (softplus(states[0, 0] @ (item - E[0, 0])) + rest) / 3
        if not candidates and index == 0:
            continue  # its own item does not count
        found[index] = np.mean(np.isclose(drawn, value, rtol=1e-3))
    if candidates:
        assert all(share == pytest.approx(1 / 7, abs=0.08) for share in found.values())
    else:
        assert all(share > 0.1 for share in found.values())


def test_gradients_reach_states_items_and_candidates_of_hidden_steps_only():
    layer = MaskedItemLoss()
    x = [tf.constant(H), tf.constant(E), tf.constant(V)]
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = loss_of(layer, [x[0], HIDDEN, x[1], x[2]])
    states, items, candidates = tape.gradient(loss, x)
    np.testing.assert_array_equal(np.any(states, axis=2), HIDDEN)
    np.testing.assert_array_equal(np.any(items, axis=2), HIDDEN)
    assert np.any(tf.convert_to_tensor(candidates))


def test_nothing_hidden_and_nothing_else_to_draw():
    x = tf.constant(H)
    one = np.zeros_like(HIDDEN)
    one[0, 0] = True
    for hidden in (np.zeros_like(HIDDEN), one):
        layer = MaskedItemLoss()
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = loss_of(layer, [x, hidden, E])
        assert float(loss) == 0.0 and not np.any(tape.gradient(loss, x))


def test_errors():
    with pytest.raises(ValueError, match="did you mean 'ranking'"):
        MaskedItemLoss(loss_type="rankin")
    with pytest.raises(ValueError, match="takes states"):
        MaskedItemLoss(projection=False)([H, HIDDEN, E])
