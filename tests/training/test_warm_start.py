"""Weights of another run as a start: which are taken over, and what is told of the others."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.config import parse_config
from easyssl.errors import CheckpointError, ConfigError
from easyssl.training.checkpoint import CheckpointFolder
from easyssl.training.warm_start import warm_start


def variables(**shapes):
    return {name: tf.Variable(tf.zeros(shape), name=name) for name, shape in shapes.items()}


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
    start = warm_start(config(fine_tune(other_run)), ours)
    np.testing.assert_array_equal(ours["tower/kernel"], np.full((2, 3), 5))
    assert not ours["table"].numpy().any() and not ours["tower/random_state"].numpy().any()
    assert start.as_dict() == {
        "checkpoint": str(other_run),
        "taken": {"tower/kernel": "tower/kernel"},
        "cut": {},
        "left": {"table": "has shape [7, 2] in it and [8, 2] here", "new": "is not in it"},
        "unused": ["tower/bias"],
    }
    assert start.lines() == [
        f"1 of 3 weights taken over from {other_run}",
        "not taken over: 'table' has shape [7, 2] in it and [8, 2] here; 'new' is not in it",
        "not used: 'tower/bias'",
    ]


def test_tables_that_come_from_files_are_left_out(other_run):
    ours = variables(**{"tower/kernel": (2, 3), "table": (7, 2)})
    start = warm_start(config(fine_tune(other_run)), ours, fixed=["table"])
    assert not ours["table"].numpy().any()
    assert start.left == {"table": "comes from its pretrained_vectors"}


def test_only_a_few_names_are_shown(other_run):
    ours = variables(**{"tower/kernel": (2, 3)}, **{f"w{i}": (1,) for i in range(9)})
    assert warm_start(config(fine_tune(other_run)), ours).lines()[1].endswith("'w4' is not in it and 4 more")


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        ((8, 2), (7, 2), [[7, 7]] * 7 + [[0, 0]]),
        ((3, 2), (7, 2), [[7, 7]] * 3),
        ((2, 3), (7, 2), [[7, 7, 0]] * 2),
    ],
)
def test_a_weight_of_another_shape_is_cut_if_asked_for(other_run, ours, theirs, expected):
    mine = variables(table=ours)
    wanted = config(fine_tune(other_run), "train_config.force_restore_shape_compatible=true")
    start = warm_start(wanted, mine)
    np.testing.assert_array_equal(mine["table"], np.float32(expected))
    assert start.taken == {"table": "table"}
    assert f"has shape {list(theirs)} in it and {list(ours)} here: the part" in start.cut["table"]


def test_shapes_of_another_rank_have_no_part_in_common(other_run):
    wanted = config(fine_tune(other_run), "train_config.force_restore_shape_compatible=true")
    with pytest.raises(ConfigError, match="none of 1 weights can be taken over.*no part in common"):
        warm_start(wanted, variables(table=(14,)))


def test_a_file_of_pairs_restricts_and_renames(other_run, tmp_path):
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("head/bias tower/bias\n\n")
    ours = variables(**{"tower/kernel": (2, 3), "head/bias": (3,)})
    wanted = config(fine_tune(other_run), f"train_config.fine_tune_ckpt_var_map={pairs}")
    start = warm_start(wanted, ours)
    assert start.taken == {"head/bias": "tower/bias"}
    assert start.left == {"tower/kernel": "is not in the var map"}
    np.testing.assert_array_equal(ours["head/bias"], np.full(3, 6))
    assert not ours["tower/kernel"].numpy().any()
    for text, message in [
        ("head/bias\n", "pairs.txt:1: expected two names, found 1"),
        ("head/bais tower/bias\n", "did you mean 'head/bias'"),
        ("head/bias tower/kernel\n", "none of 1 weights can be taken over"),
        ("head/bias tower/bais\n", "is not in it as 'tower/bais'"),
    ]:
        pairs.write_text(text)
        with pytest.raises(ConfigError, match=message):
            warm_start(wanted, ours)


def test_filters_leave_weights_out(other_run):
    ours = variables(**{"tower/kernel": (2, 3), "table": (7, 2)})
    start = warm_start(config(fine_tune(other_run), "model_config.restore_filters=[tab]"), ours)
    assert start.left == {"table": "contains 'tab' of restore_filters"}
    assert not ours["table"].numpy().any()


def test_filters_may_name_tables_as_easyrec_does(other_run):
    weights = {"user_id/embeddings": (7, 2), "item_id/embeddings": (7, 2), "tower/kernel": (2, 3)}
    ours = variables(**weights)
    start = warm_start(
        config(fine_tune(other_run), "model_config.restore_filters=[user_id/embedding_weights]"), ours
    )
    assert start.left["user_id/embeddings"] == "contains 'user_id/embedding_weights' of restore_filters"
    assert start.left["item_id/embeddings"] == "is not in it" and "tower/kernel" in start.taken
    start = warm_start(config(fine_tune(other_run), "model_config.restore_filters=[embedding_weights]"), ours)
    filtered = {name for name, why in start.left.items() if "restore_filters" in why}
    assert filtered == {"user_id/embeddings", "item_id/embeddings"}


def test_a_checkpoint_of_tensorflow_is_read(tmp_path):
    saved = tf.train.Checkpoint(kernel=tf.Variable(tf.fill([2, 3], 4.0))).write(str(tmp_path / "model"))
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("tower/kernel kernel/.ATTRIBUTES/VARIABLE_VALUE\n")
    ours = variables(**{"tower/kernel": (2, 3)})
    wanted = config(fine_tune(saved), f"train_config.fine_tune_ckpt_var_map={pairs}")
    start = warm_start(wanted, ours)
    assert len(start.taken) == 1 and start.unused == []
    np.testing.assert_array_equal(ours["tower/kernel"], np.full((2, 3), 4))


def test_what_is_no_checkpoint_is_told(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "model.keras").write_bytes(b"")
    for path, message in [
        (tmp_path, "this is a SavedModel"),
        (tmp_path / "model.keras", "this is no checkpoint"),
        (tmp_path / "nowhere", "there is no checkpoint"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            warm_start(config(fine_tune(path)), variables(table=(1,)))
