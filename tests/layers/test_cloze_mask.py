import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import ClozeMask
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
LENGTHS = np.array([6, 3, 0, 1], "int32")
SEQUENCE = RNG.normal(size=(4, 6, 3)).astype("float32")
VALID = np.arange(6) < LENGTHS[:, None]
IDS = np.where(VALID, RNG.integers(0, 50, (4, 6)), -1)


@pytest.mark.parametrize(("sequence", "mask_id"), [(SEQUENCE, None), (IDS, 50)])
def test_gate(sequence, mask_id):
    run_layer_test(
        ClozeMask,
        {"mask_rate": 0.5, "mask_id": mask_id},
        [sequence, LENGTHS],
        expected_output_shape=[sequence.shape, (4,), (4, 6)],
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=1,
        is_random=True,
    )


def test_chosen_ids_become_the_mask_id():
    layer = ClozeMask(mask_rate=0.5, last_only_rate=0.3, mask_id=50, seed=1)
    for _ in range(5):
        ids, lengths, chosen = layer([IDS, LENGTHS], training=True)
        np.testing.assert_array_equal(ids, np.where(chosen, 50, IDS))
        np.testing.assert_array_equal(lengths, LENGTHS)
        np.testing.assert_array_equal(np.any(chosen, axis=1), LENGTHS > 0)
        assert not np.any(np.logical_and(chosen, ~VALID))


def test_embeddings_come_back_as_they_are():
    sequence, _, chosen = ClozeMask(mask_rate=1.0, last_only_rate=0.0)([SEQUENCE, LENGTHS], training=True)
    np.testing.assert_array_equal(sequence, SEQUENCE)
    np.testing.assert_array_equal(chosen, VALID)


def test_nothing_is_chosen_without_training():
    layer = ClozeMask(mask_id=50, mask_rate=1.0)
    ids, lengths, chosen = layer([IDS, LENGTHS, SEQUENCE], training=False)
    np.testing.assert_array_equal(ids, IDS)
    assert not np.any(chosen) and tf.convert_to_tensor(layer.random_state)[1] == 0


def test_the_item_to_come_is_appended_without_training():
    layer = ClozeMask(mask_id=50, append_next=True)
    ids, lengths, chosen = layer([IDS, LENGTHS], training=False)
    np.testing.assert_array_equal(lengths, [7, 4, 0, 2])
    expected = np.full((4, 7), -1)
    expected[:, :6] = IDS
    expected[[0, 1, 3], [6, 3, 1]] = 50
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(chosen, expected == 50)
    sequence, _, same = layer([SEQUENCE, LENGTHS], training=False)
    np.testing.assert_array_equal(same, chosen)
    np.testing.assert_array_equal(sequence[1, :3], SEQUENCE[1, :3])
    assert not np.any(sequence.numpy()[chosen.numpy()])
    assert layer([SEQUENCE, LENGTHS], training=True)[0].shape == SEQUENCE.shape


def test_calls_draw_anew_and_a_seed_repeats_them():
    first, second = (ClozeMask(mask_rate=0.4, seed=3) for _ in range(2))
    long, lengths = np.zeros([8, 30, 1], "float32"), np.full(8, 30)
    draws = [first([long, lengths], training=True)[2].numpy() for _ in range(3)]
    again = [second([long, lengths], training=True)[2].numpy() for _ in range(3)]
    np.testing.assert_array_equal(draws, again)
    assert not np.array_equal(draws[0], draws[1])


def test_edge_cases():
    layer = ClozeMask(mask_id=50)
    assert not np.any(layer([IDS, np.zeros(4, "int32")], training=True)[2])
    ids, _, _ = layer([IDS[3:], LENGTHS[3:]], training=True)  # the only step of the only row
    np.testing.assert_array_equal(ids, [[50, -1, -1, -1, -1, -1]])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mask_rate": 0.0}, "mask_rate=0.0"),
        ({"mask_rate": 1.5}, "mask_rate=1.5"),
        ({"last_only_rate": -0.5}, "last_only_rate=-0.5"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        ClozeMask(**kwargs)


def test_other_inputs_are_refused():
    with pytest.raises(
        ValueError, match=r"ClozeMask 'cloze' takes a sequence \[batch, seq_len, dim\] or ids"
    ):
        ClozeMask(name="cloze")(SEQUENCE)
    with pytest.raises(ValueError, match="'cloze': masking ids needs `mask_id`"):
        ClozeMask(name="cloze")([IDS, LENGTHS])
