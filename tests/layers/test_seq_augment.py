import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import SeqAugment, SeqAugmentOps
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

LENGTHS = np.array([8, 0, 1, 5], "int32")
VALID = np.arange(8) < LENGTHS[:, None]
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
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SeqAugment(**kwargs)


def test_inputs_without_lengths_are_refused():
    with pytest.raises(ValueError, match="lengths"):
        SeqAugment()(X)
