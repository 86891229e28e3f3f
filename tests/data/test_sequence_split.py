import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.config import parse_config
from easyssl.data.build import dataset_from_config
from easyssl.data.sequence_split import SequenceSplit, next_column, split_from_config
from easyssl.errors import ConfigError

CONFIG = """
train_input_path: 'rows.csv'
eval_input_path: 'rows.csv'
data_config {
  batch_size: 100 input_type: CSVInput with_header: true shuffle: false num_epochs: 1
  input_fields { input_name: 'user' }
  input_fields { input_name: 'items' }
  input_fields { input_name: 'brands' }
  sequence_split { items: 'items' aligned: 'brands' %s }
}
"""
PARTS = {"train": ("train", ""), "validation": ("evaluate", ""), "test": ("evaluate", "evaluate: TEST")}


def cut(folder, rows, part, options="", columns=("items", "brands", "user", "items/next")):
    """Returns user -> (items, brands, items after them) of a part."""
    lines = [f"{user},{'|'.join(items)},{'|'.join('b' + i for i in items)}" for user, items in rows.items()]
    (folder / "rows.csv").write_text("\n".join(["user,items,brands", *lines]) + "\n")
    mode, evaluate = PARTS[part]
    config = parse_config(CONFIG % f"{evaluate} {options}", str(folder / "my.config"), data_root=str(folder))
    dataset = dataset_from_config(config, mode, columns=list(columns))
    found = {}
    for batch in dataset.batches():
        assert set(batch.columns) == set(columns)
        for row in zip(
            *(batch.columns[name] for name in ("user", "items", "brands", "items/next")), strict=True
        ):
            user, *cells = (cell.decode() for cell in row)
            found[user] = tuple(cell.split("|") for cell in cells)
    return found


def test_leave_one_out(tmp_path):
    rows = {"a": list("12345"), "b": list("678"), "c": list("91"), "d": ["2"], "e": list("7313")}
    assert cut(tmp_path, rows, "train") == {
        "a": (["1", "2"], ["b1", "b2"], ["3"]),
        "e": (["7"], ["b7"], ["3"]),
    }
    assert cut(tmp_path, rows, "validation") == {
        "a": (["1", "2", "3"], ["b1", "b2", "b3"], ["4"]),
        "b": (["6"], ["b6"], ["7"]),
        "e": (["7", "3"], ["b7", "b3"], ["1"]),
    }
    test = cut(tmp_path, rows, "test")
    assert test["a"] == (list("1234"), ["b1", "b2", "b3", "b4"], ["5"])
    assert test["c"] == (["9"], ["b9"], ["1"]) and "d" not in test


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 99), min_size=0, max_size=12))
def test_what_is_held_out_is_in_no_earlier_part(items):
    cell = "|".join(map(str, items)).encode()
    parts = [SequenceSplit("items", part=part).cut([cell]) for part in ("train", "validation", "test")]
    ends = [end for (_,), (end,) in parts]
    assert ends == [len(items) - 2, len(items) - 1, len(items)]
    assert all(end - begin == 1 for (begin,), (end,) in parts)


def test_leave_users_out(tmp_path):
    options = "protocol: LEAVE_USERS_OUT user: 'user' held_out_users: 0.2 given_history: 0.5"
    rows = {f"u{i}": [str(j) for j in range(2 + i % 4)] for i in range(300)}
    parts = {part: cut(tmp_path, rows, part, options) for part in PARTS}
    users = [set(found) for found in parts.values()]
    assert set.union(*users) == set(rows) and sum(map(len, users)) == len(rows)
    for part, share in (("train", 0.6), ("validation", 0.2), ("test", 0.2)):
        assert abs(len(parts[part]) / len(rows) - share) < 0.08  # 0.08 is 2.8 deviations of the largest part
    for part, found in parts.items():
        for user, (items, brands, after) in found.items():
            given_items = len(rows[user]) - 1 if part == "train" else max(1, len(rows[user]) // 2)
            assert items == rows[user][:given_items] and items + after == rows[user]
            assert brands == ["b" + item for item in items]
    few = {user: rows[user] for user in list(rows)[::-7]}  # whose part does not depend on other rows
    assert cut(tmp_path, few, "test", options) == {u: r for u, r in parts["test"].items() if u in few}


def test_going_on_and_the_columns_that_are_asked_for(tmp_path):
    rows = {f"u{i}": [str(j) for j in range(1 + i % 5)] for i in range(50)}
    cut(tmp_path, rows, "train")
    text = (
        (CONFIG % "").replace("batch_size: 100", "batch_size: 7").replace("shuffle: false", "shuffle: true")
    )
    config = parse_config(text, str(tmp_path / "my.config"), data_root=str(tmp_path))
    dataset = dataset_from_config(config, "train", columns=["items", "items/next"])
    batches = list(dataset.batches())
    assert sum(map(len, batches)) == sum(len(items) > 3 for items in rows.values())
    rest = list(dataset.batches(batches[1].cursor))
    for one, other in zip(batches[2:], rest, strict=True):
        assert set(one.columns) == {"items", "items/next"}
        np.testing.assert_array_equal(one.columns["items"], other.columns["items"])
    whole = dataset_from_config(config, "predict", paths=str(tmp_path / "rows.csv"), columns=["items"])
    assert sum(map(len, whole.batches())) == len(rows)
    assert dataset.fingerprint() != dataset_from_config(config, "evaluate").fingerprint()


def test_a_model_that_hides_items_trains_on_whole_histories():
    split = SequenceSplit("items", whole=True)
    config = parse_config(CONFIG % "" + "model_config { next_item { targets: HIDDEN_STEPS } }", "my.config")
    assert split_from_config(config, "train") == SequenceSplit("items", ("brands",), whole=True)
    assert split.cut([b"1|2|3|4|5"]) == ([2], [3]) and next_column("items") == "items/next"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("items: 'item'", "sequence_split.items: 'item' is not an input field.*'items'"),
        ("aligned: 'brand'", r"sequence_split.aligned\[1\]: 'brand' is not an input field.*'brands'"),
        ("protocol: LEAVE_USERS_OUT", "sequence_split.user: is not set"),
        ("held_out_users: 0.5", "held_out_users: is 0.5, expected a number between 0 and 0.5"),
        ("given_history: 1", "given_history: is 1, expected a number between 0 and 1"),
        ("separator: ''", "separator: is empty"),
    ],
)
def test_wrong_fields_are_named(options, message):
    config = parse_config(CONFIG % options, "my.config")
    with pytest.raises(ConfigError, match=message):
        split_from_config(config, "train")
