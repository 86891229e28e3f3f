import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.controllable import choose_diverse


def reference(scores, categories, k, diversity):
    """Returns the list of one user as the paper's sum has it: what differs from what is on the list."""
    chosen = []
    for _ in range(k):
        left = [i for i in range(len(scores)) if i not in chosen and scores[i] > -np.inf]
        if not left:
            break
        other = [sum(c < 0 or c != categories[j] for j in chosen) for c in categories]
        chosen.append(max(left, key=lambda i: (scores[i] + diversity * other[i], -i)))
    return chosen + [-1] * (k - len(chosen))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(0, 9), st.integers(1, 6), st.sampled_from([0.0, 0.5, 2.0, 64.0]))
def test_greedy_choice(seed, candidates, k, diversity):
    rng = np.random.default_rng(seed)
    scores = rng.integers(-4, 5, size=(3, candidates)).astype("float32")  # sums are exact, and many are equal
    scores[rng.uniform(size=scores.shape) < 0.2] = -np.inf
    categories = rng.integers(-1, 3, size=(3, candidates)).astype("int32")
    places, values = choose_diverse(tf.constant(scores), tf.constant(categories), k=k, diversity=diversity)
    expected = [reference(*row, k, diversity) for row in zip(scores, categories, strict=True)]
    assert places.numpy().tolist() == expected
    for row, (chosen, found) in enumerate(zip(expected, values.numpy(), strict=True)):
        assert found.tolist() == [scores[row, i] if i >= 0 else -np.inf for i in chosen]


def test_the_extremes():
    rng = np.random.default_rng(0)
    scores = np.sort(rng.normal(size=(5, 12)).astype("float32"))[:, ::-1]
    categories = rng.integers(0, 4, size=(5, 12))
    plain, _ = choose_diverse(tf.constant(scores), tf.constant(categories), k=6, diversity=0.0)
    assert plain.numpy().tolist() == [list(range(6))] * 5
    varied, _ = choose_diverse(tf.constant(scores), tf.constant(categories), k=4, diversity=1e3)
    for row, places in zip(categories, varied.numpy(), strict=True):
        assert len(set(row[places])) == min(4, len(set(row)))  # each category before any comes twice


def test_xla_and_half_precision():
    rng = np.random.default_rng(1)
    scores, categories = rng.normal(size=(3, 8)), rng.integers(-1, 3, size=(3, 8))
    wanted = choose_diverse(tf.constant(scores, tf.float32), tf.constant(categories), k=5, diversity=0.3)

    @tf.function(jit_compile=True, autograph=False)
    def compiled(x, c):
        return choose_diverse(x, c, k=5, diversity=0.3)

    got = compiled(tf.constant(scores, tf.float32), tf.constant(categories))
    np.testing.assert_array_equal(got[0], wanted[0])
    half, _ = choose_diverse(tf.constant(8 * np.round(scores), tf.float16), categories, k=5, diversity=8.0)
    full, _ = choose_diverse(tf.constant(8 * np.round(scores), tf.float32), categories, k=5, diversity=8.0)
    np.testing.assert_array_equal(half, full)


def test_numbers_out_of_range_are_refused():
    x, c = tf.zeros([1, 2]), tf.zeros([1, 2], tf.int32)
    with pytest.raises(ValueError, match="`k` must be at least 1"):
        choose_diverse(x, c, k=0, diversity=1.0)
    for diversity in (-1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="`diversity` must be a number from 0 on"):
            choose_diverse(x, c, k=1, diversity=diversity)
