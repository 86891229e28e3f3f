import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import SequenceSplit
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 6, 3)).astype("float32")
LENGTHS = np.array([6, 4, 2, 1, 0], "int32")


@pytest.mark.parametrize("inputs", [X, np.arange(30).reshape(5, 6)])
def test_gate(inputs):
    shapes = [inputs.shape, (5,), inputs.shape, (5,)]
    run_layer_test(SequenceSplit, {}, [inputs, LENGTHS], expected_output_shape=shapes, is_random=True)


@pytest.mark.parametrize("reverse", [True, False])
def test_parts_make_the_whole(reverse):
    layer = SequenceSplit(reverse_future=reverse, seed=1)
    cuts = set()
    for _ in range(30):
        (past, before), (future, after) = layer([X, LENGTHS], training=True)
        np.testing.assert_array_equal(before + after, LENGTHS)
        for row, n in enumerate(LENGTHS):
            s, rest = int(before[row]), int(after[row])
            assert 1 <= s < n if n >= 2 else s == n
            later = future[row, :rest].numpy()
            whole = np.concatenate([past[row, :s], later[::-1] if reverse else later])
            np.testing.assert_array_equal(whole, X[row, :n])
            assert not np.any(past[row, s:]) and not np.any(future[row, rest:])
        cuts.add(int(before[0]))
    assert cuts == {1, 2, 3, 4, 5}


def test_all_is_past_without_training():
    ids = np.arange(30).reshape(5, 6)
    (past, before), (future, after) = SequenceSplit(pad_id=-7)([ids, LENGTHS])
    valid = np.arange(6)[None] < LENGTHS[:, None]
    np.testing.assert_array_equal(past, np.where(valid, ids, -7))
    np.testing.assert_array_equal(before, LENGTHS)
    assert np.all(future == -7) and not np.any(after)


def test_the_first_rows_of_a_batch_do_not_depend_on_the_others():
    parts = [SequenceSplit(seed=5)([X[:n], LENGTHS[:n]], training=True) for n in (2, 5)]
    np.testing.assert_array_equal(parts[0][0][1], parts[1][0][1][:2])


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="takes a sequence"):
        SequenceSplit()(tf.constant(X))
