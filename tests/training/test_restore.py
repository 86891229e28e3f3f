"""Values from checkpoints into the variables that they are of."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.errors import CheckpointError
from easyssl.training.checkpoint import CheckpointFolder
from easyssl.training.names import named_variables
from easyssl.training.restore import find_checkpoint, restore_exactly, restore_for_inference


def variables(**shapes):
    return {name: tf.Variable(tf.zeros(shape), name=name) for name, shape in shapes.items()}


def test_names_and_shapes_must_match(tmp_path):
    ours = variables(kernel=(2, 3), bias=(3,))
    full = {"kernel": np.ones((2, 3), np.float32), "bias": np.ones(3, np.float32)}
    restore_exactly(ours, full, tmp_path)
    np.testing.assert_array_equal(ours["kernel"], full["kernel"])
    for stored, text in [
        ({"kernel": full["kernel"]}, "'bias' is not in it"),
        ({**full, "biass": full["bias"]}, "it has 'biass', which this model has not; did you mean 'bias'"),
        ({**full, "kernel": np.ones((3, 2))}, r"'kernel' has shape \[3, 2\], this model needs \[2, 3\]"),
    ]:
        with pytest.raises(CheckpointError, match=text):
            restore_exactly(ours, stored, tmp_path)


def test_a_checkpoint_is_found_by_any_of_its_folders(tmp_path):
    exact = tmp_path / "run" / "ckpt" / "step-00000009"
    arrays = {"weights": {"table": np.ones(3, np.float32)}, "optimizer": {}}
    CheckpointFolder(tmp_path / "run" / "ckpt").save(9, arrays, {"state": {}}, {})
    for path in (tmp_path / "run", tmp_path / "run" / "ckpt", exact):
        assert find_checkpoint(path).path == exact
    with pytest.raises(CheckpointError, match="there is no checkpoint; train first"):
        find_checkpoint(tmp_path / "empty")


def test_averages_of_rows_that_rested_are_caught_up(tmp_path):
    weights = {"table": np.array([[1.0], [1.0], [1.0]], np.float32), "bias": np.ones(1, np.float32)}
    optimizer = {
        "0/iterations": np.int64(10),
        "average/table": np.zeros((3, 1), np.float32),
        "average_step/table": np.array([10, 8, 0]),
        "average/bias": np.full(1, 0.25, np.float32),
    }
    folder = CheckpointFolder(tmp_path)
    state = {"state": {"average_decay": 0.5}}
    checkpoint = folder.save(10, {"weights": weights, "optimizer": optimizer}, state, {})
    ours = variables(table=(3, 1), bias=(1,))
    restore_for_inference(ours, checkpoint)
    np.testing.assert_allclose(ours["table"][:, 0], [0, 0.75, 1 - 0.5**10])
    np.testing.assert_allclose(ours["bias"], [0.25])


def test_random_layers_of_keras_go_on_with_their_numbers():
    keras.backend.experimental.enable_tf_random_generator()
    try:
        inputs = tf.ones([2, 5, 3])

        def make():
            keras.utils.set_random_seed(3)
            model = keras.Sequential([keras.layers.GRU(4, dropout=0.5), keras.layers.Dense(1)])
            model(inputs, training=True)
            return model, named_variables(model)

        model, state = make()
        random = [name for name in state if "random_generator" in name]
        assert random
        saved = {name: variable.numpy() for name, variable in state.items()}
        expected = [model(inputs, training=True).numpy() for _ in range(3)]
        assert not np.array_equal(expected[0], expected[1])
        other, other_state = make()
        for value, variable in zip(saved.values(), other_state.values(), strict=True):
            variable.assign(value)
        for value in expected:
            np.testing.assert_array_equal(other(inputs, training=True).numpy(), value)
    finally:
        keras.backend.experimental.disable_tf_random_generator()
