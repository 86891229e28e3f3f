import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.config import parse_config
from easyssl.data.build import dataset_from_config
from easyssl.data.dataset import Dataset
from easyssl.data.hard_negatives import HARD_NEGATIVES, HardNegatives
from easyssl.data.negatives import NegativeSampler, SampledRows, with_sampled
from easyssl.data.readers.csv import CsvReader
from easyssl.data.rows import Column
from easyssl.errors import ConfigError, DataError

ITEM, BRAND = Column("item"), Column("brand", "INT32")
BOTH = [ITEM, BRAND]


def item_file(path, weights):
    lines = [f"{i}\t{weight}\t{i}:{10 * i}\n" for i, weight in enumerate(weights)]
    path.write_text("id:int64\tweight:float\tfeature:string\n" + "".join(lines))
    return str(path)


def ids(*numbers):
    return np.array([b"%d" % i for i in numbers], object)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("items")


@settings(deadline=None, max_examples=25)
@given(
    st.integers(0, 2**32),
    st.booleans(),
    st.integers(1, 12),
    st.lists(st.integers(0, 25), max_size=8),
)
def test_items_of_the_batch_are_never_drawn(folder, seed, weighted, count, batch):
    path = item_file(folder / "any.tsv", range(20))
    sampler = NegativeSampler(path, ITEM, BOTH, count, seed, weighted=weighted)
    drawn = sampler.draw(ids(*batch), 0, 1)
    numbers = [int(value) for value in drawn.columns["item"]]
    assert len(numbers) == count and not set(numbers) & set(batch)
    assert drawn.columns["brand"].tolist() == [10 * number for number in numbers]
    assert drawn.lines.tolist() == [number + 2 for number in numbers]
    if weighted:
        assert 0 not in numbers  # its weight is 0
    else:
        assert len(set(numbers)) == count


def test_draws_are_a_function_of_seed_and_key(tmp_path):
    path = item_file(tmp_path / "items.tsv", [1] * 500)

    def draw(seed, *key, weighted=True):
        sampler = NegativeSampler(path, ITEM, BOTH, 20, seed, weighted=weighted)
        return sampler.draw(ids(3), *key).columns["item"].tolist()

    for weighted in (True, False):
        assert draw(7, 0, 1, weighted=weighted) == draw(7, 0, 1, weighted=weighted)
    different = [draw(7, 0, 1), draw(8, 0, 1), draw(7, 1, 1), draw(7, 0, 2)]
    assert len({tuple(each) for each in different}) == 4


def test_draws_follow_the_weights(tmp_path):
    weights = np.array([1.0, 2.0, 5.0, 0.0, 12.0])
    sampler = NegativeSampler(item_file(tmp_path / "items.tsv", weights), ITEM, BOTH, 4000, 1)
    for excluded in ([], [1], [4]):  # the last one holds more than half of the weight
        left = np.where(np.isin(np.arange(5), excluded), 0.0, weights)
        drawn = sampler.draw(ids(*excluded), 5).columns["item"].astype(int)
        shares = np.bincount(drawn, minlength=5) / 4000
        np.testing.assert_allclose(shares, left / left.sum(), atol=0.03)


def test_uniform_draws_are_flat(tmp_path):
    sampler = NegativeSampler(item_file(tmp_path / "items.tsv", [0] * 10), ITEM, BOTH, 5, 1, weighted=False)
    drawn = [sampler.draw(ids(0), step).columns["item"].astype(int) for step in range(600)]
    shares = np.bincount(np.concatenate(drawn), minlength=10) / 3000
    np.testing.assert_allclose(shares, [0.0] + [1 / 9] * 9, atol=0.02)


def test_too_few_items_are_told(tmp_path):
    path = item_file(tmp_path / "items.tsv", [1, 1, 0])
    with pytest.raises(DataError, match=r"here: .*items.tsv: has 1 items that are not in the batch, and 2"):
        NegativeSampler(path, ITEM, BOTH, 2, weighted=False, where="here: ").draw(ids(0, 1), 0)
    with pytest.raises(DataError, match="no item with a weight that is not in the batch"):
        NegativeSampler(path, ITEM, BOTH, 2).draw(ids(0, 1), 0)


def test_only_the_chosen_columns_are_returned(tmp_path):
    path = item_file(tmp_path / "items.tsv", [1, 1])
    assert list(NegativeSampler(path, ITEM, BOTH, 2, columns=["brand", "x"]).draw(ids(), 0).columns) == [
        "brand"
    ]


def test_nothing_is_appended_without_a_sampler():
    columns = {"item": np.array([1])}
    assert with_sampled(columns, None) == columns


def test_a_column_keeps_its_type_when_items_are_appended():
    drawn = SampledRows({"item": ids(4, 5), "price": np.array([1.5, 2.0], np.float32)}, "i", np.array([2, 3]))
    rows = with_sampled({"item": ids(1), "price": np.array([9.0], np.float32), "user": ids(8)}, drawn)
    assert rows["item"].tolist() == [b"1", b"4", b"5"] and rows["price"].dtype == np.float32
    assert rows["user"].tolist() == [b"8"]


def dataset(folder, **settings):
    rows = folder / "rows.csv"
    rows.write_text("".join(f"{i % 7},u{i}\n" for i in range(50)))
    columns = [ITEM, Column("user")]
    sampler = NegativeSampler(item_file(folder / "data.tsv", [1] * 30), ITEM, BOTH, 6, 3)
    options = {"shuffle": True, "shuffle_buffer_size": 20, "num_epochs": 2, **settings}
    return Dataset(CsvReader(columns), [str(rows)], 8, negatives=sampler, **options)


def drawn_of(batches):
    return [batch.sampled.columns["item"].tolist() for batch in batches]


def test_going_on_from_any_cursor_draws_the_same(folder):
    whole = list(dataset(folder).batches())
    assert len({tuple(each) for each in drawn_of(whole)}) == len(whole)
    for place in (0, 5, 6, 7, 11):
        rest = dataset(folder).batches(whole[place].cursor)
        assert drawn_of(rest) == drawn_of(whole[place + 1 :])


def test_workers_draw_for_themselves(folder):
    first, second = (
        drawn_of(dataset(folder, worker_index=index, num_workers=2).batches()) for index in range(2)
    )
    assert first != second


def test_a_cursor_of_another_item_file_is_refused(folder):
    given = dataset(folder)
    cursor = next(iter(given.batches())).cursor
    given.negatives = NegativeSampler(item_file(folder / "more.tsv", [1] * 31), ITEM, BOTH, 6, 3)
    with pytest.raises(DataError, match="the saved position in the data does not fit"):
        next(iter(given.batches(cursor)))
    plain = dataset(folder)
    plain.negatives = None
    assert plain.fingerprint() != given.fingerprint()


TEXT = """
train_input_path: 'rows.csv'
data_config {
  input_type: CSVInput batch_size: 4 label_fields: 'clk'
  input_fields { input_name: 'clk' input_type: INT32 }
  input_fields { input_name: 'user' }
  input_fields { input_name: 'item' }
  input_fields { input_name: 'brand' input_type: INT32 }
  %s
}
"""
SAMPLER = """
  negative_sampler { input_path: 'items.tsv' num_sample: 5 num_eval_sample: 3 attr_fields: ['item', 'brand'] item_id_field: 'item' }
"""


def load(tmp_path, text, *edits):
    (tmp_path / "rows.csv").write_text("1,u,3,30\n" * 6)
    item_file(tmp_path / "items.tsv", [1] * 20)
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return parse_config(TEXT % text, str(tmp_path / "my.config"))


def test_a_config_draws_for_training_and_evaluation_but_not_for_prediction(tmp_path):
    config = load(tmp_path, SAMPLER)
    counts = {}
    for mode in ("train", "evaluate", "predict"):
        given = dataset_from_config(config, mode, str(tmp_path / "rows.csv"), ["user", "brand"])
        batch = next(iter(given.batches()))
        counts[mode] = 0 if batch.sampled is None else len(batch.sampled.columns["brand"])
        if batch.sampled is not None:
            assert list(batch.sampled.columns) == ["brand"]
            assert 30 not in batch.sampled.columns["brand"]
            assert "item" in batch.columns
    assert counts == {"train": 5, "evaluate": 3, "predict": 0}


def test_in_memory_draws_each_item_once(tmp_path):
    config = load(
        tmp_path,
        SAMPLER,
        ("negative_sampler {", "negative_sampler_in_memory {"),
        ("num_sample: 5", "num_sample: 19"),
    )
    batch = next(iter(dataset_from_config(config, "train").batches()))
    assert sorted(batch.sampled.columns["brand"].tolist()) == [10 * i for i in range(20) if i != 3]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_sample: 5", "", r"my.config:10:3: data_config.negative_sampler: num_sample is not set"),
        ("input_path: 'items.tsv'", "", "input_path is not set"),
        ("item_id_field: 'item'", "", "item_id_field is not set"),
        ("attr_fields: ['item', 'brand']", "", "attr_fields is not set"),
        (
            "item_id_field: 'item'",
            "item_id_field: 'itme'",
            "item_id_field: there is no column 'itme'; did you mean 'item'",
        ),
        ("'brand']", "'brnd']", r"attr_fields\[1\]: there is no column 'brnd'; did you mean 'brand'"),
        ("'brand']", "'item']", "attr_fields: a column comes twice"),
        ("'items.tsv'", "'../items.tsv'", "leaves the folder"),
        ("negative_sampler {", "negative_sampler_v2 {", "has no field|no field"),
    ],
)
def test_a_sampler_that_does_not_fit_is_told(tmp_path, old, new, message):
    with pytest.raises(ConfigError, match=message):
        dataset_from_config(load(tmp_path, SAMPLER, (old, new)), "train")


def test_an_item_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"my.config:10:22: there is no file .*gone.tsv"):
        dataset_from_config(load(tmp_path, SAMPLER, ("items.tsv", "gone.tsv")), "train")


V2 = """
  negative_sampler_v2 {
    user_input_path: 'users.tsv' item_input_path: 'items.tsv' pos_edge_input_path: 'clicks.tsv'
    num_sample: 40 attr_fields: ['item', 'brand'] item_id_field: 'item' user_id_field: 'user'
  }
"""
CLICKS = "user:string\titem:string\tweight:float\nu\t4\t1.0\nv\t5\t1.0\nu\t7\t0.5\nu\t99\t1.0\nw\t8\t1.0\n"


def test_what_a_user_of_the_batch_has_chosen_is_not_drawn(tmp_path):
    config = load(tmp_path, V2)
    (tmp_path / "clicks.tsv").write_text(CLICKS)
    (tmp_path / "rows.csv").write_text("1,u,3,30\n1,v,2,20\n1,x,2,20\n1,u,3,30\n" + "1,w,1,10\n" * 4)
    given = dataset_from_config(config, "train", columns=["brand"])
    seen = [set(), set()]
    for batch, _ in zip(given.batches(), range(60), strict=False):
        users = set(batch.columns["user"].tolist())
        chosen = {b"u": {4, 7}, b"v": {5}, b"w": {8}}
        bad = {brand // 10 for brand in batch.columns["brand"]}.union(*(chosen.get(u, ()) for u in users))
        drawn = {brand // 10 for brand in batch.sampled.columns["brand"].tolist()}
        assert not drawn & bad
        seen[b"w" in users] |= drawn
    assert 8 in seen[0] or 4 in seen[1]  # for other users it may be


def test_choices_change_the_fingerprint_and_are_checked(tmp_path):
    config = load(tmp_path, V2)
    with pytest.raises(DataError, match=r"my.config:11:63: there is no file .*clicks.tsv"):
        dataset_from_config(config, "train")
    (tmp_path / "clicks.tsv").write_text(CLICKS)
    first = dataset_from_config(config, "train").fingerprint()
    (tmp_path / "clicks.tsv").write_text(CLICKS + "v\t6\t1.0\n")
    assert dataset_from_config(config, "train").fingerprint() != first
    (tmp_path / "clicks.tsv").write_text(CLICKS + "v\n")
    with pytest.raises(DataError, match=r"clicks.tsv:7: expected a user id and an item id"):
        next(iter(dataset_from_config(config, "train").batches()))
    with pytest.raises(ConfigError, match="user_id_field: there is no column 'usr'; did you mean 'user'"):
        dataset_from_config(load(tmp_path, V2, ("user_id_field: 'user'", "user_id_field: 'usr'")), "train")


HARD = """
  hard_negative_sampler {
    user_input_path: 'users.tsv' item_input_path: 'items.tsv' hard_neg_edge_input_path: 'skipped.tsv'
    num_sample: 3 num_hard_sample: 2 attr_fields: ['item', 'brand'] item_id_field: 'item' user_id_field: 'user'
  }
"""
SKIPPED = "user:string\titem:string\tweight:float\nu\t4\t1\nu\t3\t1\nu\t7\t1\nu\t9\t0\nv\t5\t2\nv\t99\t1\nw\t8\nw\t9\nw\t1\n"


def hard_dataset(tmp_path, text=HARD, mode="train", skipped=SKIPPED):
    config = load(tmp_path, text)
    (tmp_path / "skipped.tsv").write_text(skipped)
    (tmp_path / "rows.csv").write_text("1,u,3,30\n1,x,2,20\n1,v,6,60\n1,w,10,100\n")
    return dataset_from_config(config, mode, str(tmp_path / "rows.csv"), columns=["brand"])


@pytest.mark.parametrize("mode", ["train", "evaluate"])
def test_each_row_gets_what_is_listed_for_its_user(tmp_path, mode):
    random = 3 if mode == "train" else 0
    of_w = set()
    for batch, _ in zip(
        hard_dataset(tmp_path, HARD + "shuffle: false", mode).batches(), range(30), strict=False
    ):
        brands = with_sampled(batch.columns, batch.sampled)["brand"].tolist()
        indices = with_sampled(batch.columns, batch.sampled)[HARD_NEGATIVES]
        assert brands[:4] == [30, 20, 60, 100] and len(brands) == 4 + random + 5
        # u's own item is none of its negatives, nor what has no weight or is no item; x has none.
        assert brands[-5:-2] == [40, 70, 50] and set(brands[-2:]) < {80, 90, 10}
        assert indices.tolist() == [[0, 0], [0, 1], [2, 0], [3, 0], [3, 1]]
        assert not set(brands[4 : 4 + random]) & set(brands[:4])
        assert batch.sampled.lines[-5:-2].tolist() == [6, 9, 7]
        of_w.add(tuple(brands[-2:]))
    assert mode == "evaluate" or of_w == {(10, 80), (10, 90), (80, 90)}


def test_of_many_hard_negatives_some_are_drawn_by_weight(tmp_path):
    (tmp_path / "skipped.tsv").write_text(
        "u\ti\tw\n" + "".join(f"u\t{i}\t{w}\n" for i, w in enumerate([1, 2, 5]))
    )
    items = NegativeSampler(item_file(tmp_path / "items.tsv", [1] * 4), ITEM, BOTH, 1).items
    hard = HardNegatives(str(tmp_path / "skipped.tsv"), Column("user"), ITEM, 1)
    stream = np.random.PCG64(3)
    _, places = hard.draw([b"u"] * 4000, [b"3"] * 4000, items, stream)
    np.testing.assert_allclose(np.bincount(places) / 4000, np.array([1, 2, 5]) / 8, atol=0.03)


def test_a_row_that_is_left_out_takes_its_hard_negatives_with_it(tmp_path):
    batch = next(iter(hard_dataset(tmp_path, HARD + "shuffle: false").batches()))
    left = batch.sampled.without(0)
    assert left.hard.tolist() == [[1, 0], [2, 0], [2, 1]]
    assert left.columns["brand"].tolist() == [
        *batch.sampled.columns["brand"][:3],
        *batch.sampled.columns["brand"][5:],
    ]
    assert left.lines.tolist() == [*batch.sampled.lines[:3], *batch.sampled.lines[5:]]
    assert left.without(0).hard.tolist() == [[0, 0], [1, 0], [1, 1]]


def test_both_kinds_of_edges_at_once(tmp_path):
    text = HARD.replace("sampler {", "sampler_v2 {").replace(
        "num_sample: 3", "num_sample: 40 pos_edge_input_path: 'clicks.tsv'"
    )
    (tmp_path / "clicks.tsv").write_text(CLICKS)
    batch = next(iter(hard_dataset(tmp_path, text).batches()))
    assert not {40, 50, 70, 80} & set(batch.sampled.columns["brand"][:40].tolist())
    assert len(batch.sampled.hard) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("num_hard_sample: 2", "", "hard_negative_sampler: num_hard_sample is not set"),
        ("hard_neg_edge_input_path: 'skipped.tsv'", "", "hard_neg_edge_input_path is not set"),
        (
            "user_id_field: 'user'",
            "user_id_field: 'usr'",
            "user_id_field: there is no column 'usr'; did you mean 'user'",
        ),
        ("'skipped.tsv'", "'gone.tsv'", "there is no file .*gone.tsv"),
    ],
)
def test_a_hard_negative_sampler_that_does_not_fit_is_told(tmp_path, old, new, message):
    with pytest.raises((ConfigError, DataError), match=message):
        hard_dataset(tmp_path, HARD.replace(old, new))


def test_a_hard_negative_of_negative_weight_is_told(tmp_path):
    given = hard_dataset(tmp_path, skipped=SKIPPED + "x\t1\t-2\n")
    with pytest.raises(DataError, match=r"skipped.tsv:11: the weight is -2, expected at least 0"):
        next(iter(given.batches()))
    whole = given.fingerprint()
    assert hard_dataset(tmp_path).fingerprint() != whole
