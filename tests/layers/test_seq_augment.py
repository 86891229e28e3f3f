import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import SeqAugment, SeqAugmentOps
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

LENGTHS = np.array([8, 0, 1, 5], "int32")
VALID = np.arange(8) < LENGTHS[:, None]
IDS = np.where(VALID, np.arange(8) % 3, -1)
ONLY_SUBSTITUTE = {"mask_rate": 0.0, "crop_rate": 1.0, "reorder_rate": 0.0, "substitute_rate": 1.0}
X = (np.random.default_rng(0).normal(size=(4, 8, 3)) * VALID[:, :, None]).astype("float32")


def test_gate():
    run_layer_test(
        SeqAugment,
        {"seed": 1},
        (X, LENGTHS),
        expected_output_shape=[X.shape, LENGTHS.shape],
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=1,
        is_random=True,
    )


def test_gate_of_several_sequences_and_views():
    run_layer_test(
        SeqAugment,
        {
            "seed": 1,
            "num_views": 2,
            "insert_rate": 0.5,
            "substitute_rate": 0.5,
            "item_drop_rate": 0.5,
            "mask_id": 7,
        },
        ([X, IDS, X[:, :, :2]], LENGTHS),
        expected_output_shape=2 * [X.shape, IDS.shape, (4, 8, 2), LENGTHS.shape],
        expected_num_trainable_weights=2,
        expected_num_non_trainable_weights=1,
        is_random=True,
    )


def test_gate_of_ids_with_similar_items():
    run_layer_test(
        SeqAugment,
        {**ONLY_SUBSTITUTE, "insert_rate": 0.5, "similar_items": [[1], [2], [3]], "seed": 1},
        (IDS, LENGTHS),
        expected_output_shape=[IDS.shape, LENGTHS.shape],
        expected_num_trainable_weights=0,
        is_random=True,
    )


def test_the_second_name_is_the_same_layer():
    options = {"mask_rate": 0.0, "seed": 1}
    view, lengths = SeqAugmentOps(**options)([X, LENGTHS], training=True)
    expected, expected_lengths = SeqAugment(**options)([X, LENGTHS], training=True)
    np.testing.assert_array_equal(view, expected)
    np.testing.assert_array_equal(lengths, expected_lengths)
    layer = keras.layers.deserialize(keras.layers.serialize(SeqAugmentOps(**options)))
    assert isinstance(layer, SeqAugmentOps) and layer.get_config()["seed"] == 1


def test_evaluation_returns_the_input_unless_asked():
    for training in (False, None):
        view, lengths = SeqAugment()([X, LENGTHS], training=training)
        np.testing.assert_array_equal(view, X)
        np.testing.assert_array_equal(lengths, LENGTHS)
    view, _ = SeqAugment(apply_in_eval=True, seed=1)([X, LENGTHS], training=False)
    assert not np.array_equal(view, X)


def test_views_of_one_layer_differ_and_share_the_mask_vector():
    layer = SeqAugment(mask_rate=1.0, crop_rate=1.0, reorder_rate=0.0)
    first, lengths = layer([X, LENGTHS], training=True)
    vector = tf.convert_to_tensor(layer.mask_vector).numpy()
    assert vector.shape == (1, 3) and len(layer.trainable_weights) == 1
    np.testing.assert_array_equal(first.numpy()[VALID], np.repeat(vector, VALID.sum(), axis=0))
    np.testing.assert_array_equal(lengths, LENGTHS)
    layer = SeqAugment()
    first, second = (layer([X, LENGTHS], training=True)[0] for _ in range(2))
    assert not np.array_equal(first, second)


def test_views_of_one_call_differ_and_are_those_of_two_calls():
    options = {"mask_rate": 0.0, "seed": 1}
    views = SeqAugment(num_views=2, **options)([X, LENGTHS], training=True)
    assert isinstance(views, list) and not np.array_equal(views[0][0], views[1][0])
    single = SeqAugment(**options)
    for view, lengths in views:
        again, again_lengths = single([X, LENGTHS], training=True)
        np.testing.assert_array_equal(view, again)
        np.testing.assert_array_equal(lengths, again_lengths)
    for view, lengths in SeqAugment(num_views=2)([X, LENGTHS], training=False):
        np.testing.assert_array_equal(view, X)
        np.testing.assert_array_equal(lengths, LENGTHS)


def test_ids_are_masked_by_their_own_ids():
    layer = SeqAugment(mask_rate=1.0, crop_rate=1.0, reorder_rate=0.0, mask_id=[70, 80])
    (items, prices, cates), _ = layer([[IDS, X[:, :, 0], IDS], LENGTHS], training=True)
    np.testing.assert_array_equal(items, np.where(VALID, 70, -1))
    np.testing.assert_array_equal(prices, 0.0 * X[:, :, 0])
    np.testing.assert_array_equal(cates, np.where(VALID, 80, -1))
    assert layer.mask_vector is None and not layer.trainable_weights


def test_word_drop_takes_the_third_input():
    options = {"mask_rate": 0.0, "crop_rate": 1.0, "reorder_rate": 0.0, "word_drop_rate": 1.0}
    view, lengths = SeqAugment(**options)([X, LENGTHS, 2 * X], training=True)
    np.testing.assert_array_equal(view, 2 * X)
    np.testing.assert_array_equal(lengths, LENGTHS)
    both = [[X, IDS], LENGTHS, [2 * X, IDS + 5]]
    (view, ids), _ = SeqAugment(**options)(both, training=True)
    np.testing.assert_array_equal(view, 2 * X)
    np.testing.assert_array_equal(ids, np.where(VALID, IDS + 5, -1))
    with pytest.raises(ValueError, match="needs a third input"):
        SeqAugment(**options)([X, LENGTHS])


@pytest.mark.parametrize(
    ("first", "third"),
    [(X, X[:, :, :2]), (X, IDS), (IDS, X), (X, LENGTHS), (X, X[:, :5]), ([X, IDS], X), (X, [X, X])],
)
def test_alternatives_of_another_form_are_refused(first, third):
    with pytest.raises(
        ValueError, match="'drop': `word_drop_rate` .* in the form of the first. Received shapes"
    ):
        SeqAugment(word_drop_rate=0.5, mask_rate=0.0, name="drop")([first, LENGTHS, third], training=True)


def operators(layer, rows=200):
    """Returns which rows were masked and which got their alternative."""
    ids = np.zeros([rows, 3], "int64")
    view, _ = layer([ids, np.full([rows], 3), ids + 1], training=True)
    assert set(view.numpy().ravel()) <= {1, 2} and (view.numpy() == view.numpy()[:, :1]).all()
    return view.numpy()[:, 0] == 2, view.numpy()[:, 0] == 1


MASK_OR_SWAP = {"mask_rate": 1.0, "crop_rate": 1.0, "reorder_rate": 0.0, "word_drop_rate": 1.0, "mask_id": 2}


def test_a_batch_may_draw_one_operator():
    layer = SeqAugment(**MASK_OR_SWAP, choice="batch", seed=1)
    masked = [operators(layer, 8)[0] for _ in range(40)]
    assert all(len(set(rows)) == 1 for rows in masked)
    assert 8 < sum(rows[0] for rows in masked) < 32
    assert 60 < operators(SeqAugment(**MASK_OR_SWAP, seed=1))[0].sum() < 140


def test_operators_come_by_their_weights():
    masked, swapped = operators(SeqAugment(**MASK_OR_SWAP, operator_weights=[9, 1], seed=1), 2000)
    assert 1730 < masked.sum() < 1870 and masked.sum() + swapped.sum() == 2000
    assert operators(SeqAugment(**MASK_OR_SWAP, operator_weights=[0, 1], choice="batch"))[1].all()


def test_gate_of_choices():
    run_layer_test(
        SeqAugment,
        {"seed": 1, "choice": "batch", "operator_weights": [0.2, 0.5, 0.3]},
        (X, LENGTHS),
        expected_output_shape=[X.shape, LENGTHS.shape],
        is_random=True,
    )


def test_steps_behind_the_end_are_padding():
    for pad in (-1, 0):
        layer = SeqAugment(mask_rate=0.0, crop_rate=0.5, reorder_rate=0.0, pad_id=pad)
        ids, lengths = layer([IDS + 1, LENGTHS], training=True)
        np.testing.assert_array_equal(lengths, [4, 0, 1, 2])
        assert (ids.numpy()[0, 4:] == pad).all() and (ids.numpy()[3, 2:5] == pad).all()


@pytest.mark.parametrize("suffix", [".npy", ".json"])
def test_similar_items_come_from_a_file(tmp_path, suffix):
    table = [[10], [11], [12]]
    path = tmp_path / f"similar{suffix}"
    if suffix == ".npy":
        np.save(path, table)
    else:
        path.write_text(json.dumps(table))
    layer = SeqAugment(**ONLY_SUBSTITUTE, similar_items=str(path))
    view, _ = layer([IDS, LENGTHS], training=True)
    np.testing.assert_array_equal(view, np.where(VALID, IDS + 10, -1))
    path.unlink()
    assert layer.get_config()["similar_items"] == table
    again, _ = SeqAugment.from_config(layer.get_config())([IDS, LENGTHS], training=True)
    np.testing.assert_array_equal(again, view)


def test_all_operators_off_is_the_identity():
    layer = SeqAugment(mask_rate=0.0, crop_rate=1.0, reorder_rate=0.0)
    view, lengths = layer([X, LENGTHS], training=True)
    np.testing.assert_array_equal(view, X)
    np.testing.assert_array_equal(lengths, LENGTHS)


def test_further_inputs_are_ignored():
    view, lengths = SeqAugment(seed=1)([X, LENGTHS, np.ones([4, 3], "float32")], training=True)
    expected, expected_lengths = SeqAugment(seed=1)([X, LENGTHS], training=True)
    assert view.shape == expected.shape
    np.testing.assert_array_equal(lengths, expected_lengths)


def test_a_restored_layer_continues_with_the_same_views(tmp_path):
    def model():
        inputs = [keras.Input([8, 3]), keras.Input([], dtype="int32")]
        return keras.Model(inputs, SeqAugment(apply_in_eval=True)(inputs))

    first = model()
    for _ in range(3):
        first([X, LENGTHS])
    first.save_weights(str(tmp_path / "a.weights.h5"))
    expected = [first([X, LENGTHS]) for _ in range(3)]
    second = model()
    second.load_weights(str(tmp_path / "a.weights.h5"))
    for view, lengths in expected:
        again, again_lengths = second([X, LENGTHS])
        np.testing.assert_array_equal(again, view)
        np.testing.assert_array_equal(again_lengths, lengths)


def test_the_seed_decides():
    options = {"mask_rate": 0.0, "crop_rate": 0.5}  # the mask vector has a random start of its own
    views = [SeqAugment(seed=s, **options)([X, LENGTHS], training=True)[0].numpy() for s in (1, 1, 2, 3)]
    np.testing.assert_array_equal(views[0], views[1])
    assert not all(np.array_equal(views[0], view) for view in views[2:])


def test_mask_vector_is_float32_under_mixed_precision():
    layer = SeqAugment(mask_rate=1.0, crop_rate=1.0, reorder_rate=0.0, dtype="mixed_float16")
    view, _ = layer([X, LENGTHS], training=True)
    assert view.dtype == tf.float16 and tf.as_dtype(layer.mask_vector.dtype) == tf.float32


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mask_rate": 1.5}, "mask_rate"),
        ({"crop_rate": -0.1}, "crop_rate"),
        ({"reorder_rate": 2}, "reorder_rate"),
        ({"min_crop_len": 0}, "min_crop_len"),
        ({"insert_rate": -1}, "insert_rate"),
        ({"num_views": 0}, "num_views"),
        ({"choice": "rows"}, "choice.*'rows'"),
        ({"operator_weights": [1.0, 2.0]}, "operator_weights.*enabled: crop, mask, reorder"),
        ({"operator_weights": [1.0, -1.0, 1.0]}, "operator_weights"),
        ({"operator_weights": [0, 0, 0]}, "operator_weights"),
        ({"similar_items": [[0.5]]}, "similar_items.*whole numbers"),
        ({"similar_items": [1, 2]}, "similar_items.*whole numbers"),
        ({"similar_items": "absent.npy"}, "similar_items.*absent.npy.*No such file"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SeqAugment(**kwargs)


def test_inputs_without_lengths_are_refused():
    with pytest.raises(ValueError, match="lengths"):
        SeqAugment()(X)


def test_inputs_that_do_not_suit_the_parameters_are_refused():
    with pytest.raises(ValueError, match="one sequence of ids"):
        SeqAugment(similar_items=[[1]])([X, LENGTHS])
    with pytest.raises(ValueError, match="needs `mask_id`, one for each of the 1"):
        SeqAugment()([IDS, LENGTHS], training=True)
    with pytest.raises(ValueError, match="needs `mask_id`, one for each of the 1"):
        SeqAugment(mask_id=[1, 2])([IDS, LENGTHS], training=True)
