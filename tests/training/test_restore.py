"""Values from files into variables: exactly, or as a start."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.config import parse_config
from easyssl.errors import CheckpointError, ConfigError
from easyssl.training.checkpoint import CheckpointFolder
from easyssl.training.names import named_variables
from easyssl.training.restore import find_checkpoint, restore_exactly, restore_for_inference, warm_start


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


@pytest.fixture
def other_run(tmp_path):
    folder = CheckpointFolder(tmp_path / "other" / "ckpt")
    weights = {
        "tower/kernel": np.full((2, 3), 5, np.float32),
        "tower/bias": np.full(3, 6, np.float32),
        "table": np.full((7, 2), 7, np.float32),
        "tower/random_state": np.array([1, 2]),
    }
    folder.save(9, {"weights": weights, "optimizer": {}}, {"state": {}}, {})
    return tmp_path / "other"


def config(*overrides):
    return parse_config("", overrides=overrides)


def fine_tune(path):
    return f"train_config.fine_tune_checkpoint={path}"


def test_equal_names_are_taken_over_and_the_rest_is_told(other_run):
    ours = {**variables(**{"tower/kernel": (2, 3), "table": (8, 2), "new": (1,)})}
    ours["tower/random_state"] = tf.Variable(np.zeros(2, np.int64))
    lines = []
    assert warm_start(config(fine_tune(other_run)), ours, lines.append) == 1
    np.testing.assert_array_equal(ours["tower/kernel"], np.full((2, 3), 5))
    assert not ours["table"].numpy().any() and not ours["tower/random_state"].numpy().any()
    assert len(lines) == 2
    assert "'table': 'table' has shape [7, 2] in it" in lines[0]
    assert "'new': 'new' is not in it" in lines[1]


def test_a_file_of_pairs_restricts_and_renames(other_run, tmp_path):
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("head/bias tower/bias\n\n")
    ours = variables(**{"tower/kernel": (2, 3), "head/bias": (3,)})
    wanted = config(fine_tune(other_run), f"train_config.fine_tune_ckpt_var_map={pairs}")
    assert warm_start(wanted, ours, print) == 1
    np.testing.assert_array_equal(ours["head/bias"], np.full(3, 6))
    assert not ours["tower/kernel"].numpy().any()
    for text, message in [
        ("head/bias\n", "pairs.txt:1: expected two names, found 1"),
        ("head/bais tower/bias\n", "did you mean 'head/bias'"),
        ("head/bias tower/kernel\n", "none of 1 weights can be taken over"),
    ]:
        pairs.write_text(text)
        with pytest.raises(ConfigError, match=message):
            warm_start(wanted, ours, print)


def test_filters_leave_weights_out(other_run):
    ours = variables(**{"tower/kernel": (2, 3), "table": (7, 2)})
    wanted = config(fine_tune(other_run), "model_config.restore_filters=[tab]")
    assert warm_start(wanted, ours, print) == 1
    assert not ours["table"].numpy().any()


def test_a_checkpoint_of_tensorflow_is_read(tmp_path):
    saved = tf.train.Checkpoint(kernel=tf.Variable(tf.fill([2, 3], 4.0))).write(str(tmp_path / "model"))
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("tower/kernel kernel/.ATTRIBUTES/VARIABLE_VALUE\n")
    ours = variables(**{"tower/kernel": (2, 3)})
    wanted = config(fine_tune(saved), f"train_config.fine_tune_ckpt_var_map={pairs}")
    assert warm_start(wanted, ours, print) == 1
    np.testing.assert_array_equal(ours["tower/kernel"], np.full((2, 3), 4))


def test_a_checkpoint_is_found_by_any_of_its_folders(other_run, tmp_path):
    exact = other_run / "ckpt" / "step-00000009"
    for path in (other_run, other_run / "ckpt", exact):
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
