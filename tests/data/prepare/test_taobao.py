"""The generated clicks: format, reproducibility, and that the stated probabilities are the true ones."""

import collections
import csv
import json

import numpy as np
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OneHotEncoder

from easyssl.data.item_file import read_items
from easyssl.data.prepare import generate_taobao
from easyssl.data.prepare.taobao import CLICK_RATE, COLUMNS, HISTORY, ITEM_COLUMNS, simulate
from easyssl.data.rows import Column
from easyssl.errors import DataError

REAL = "taobao_alimama_sample/taobao_dmr_500.csv"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return generate_taobao(tmp_path_factory.mktemp("taobao"), rows=3000, test_rows=700)


def read(path):
    with open(path, newline="") as file:
        return [dict(zip(COLUMNS, row, strict=True)) for row in csv.reader(file)]


def test_files_and_facts(made):
    assert dict(made.rows) == {"train.csv": 3000, "test.csv": 700, "items.tsv": 120}
    assert sorted(p.name for p in made.folder.iterdir()) == [
        "about.json",
        "items.tsv",
        "test.csv",
        "train.csv",
    ]
    about = json.loads((made.folder / "about.json").read_text())
    assert about["rows"] == dict(made.rows)
    assert about["best_reachable_auc"] == made.facts["best_reachable_auc"]
    assert f"{made.folder / 'train.csv'}: 3,000 rows" in made.lines()


def test_columns_are_those_of_the_real_rows_without_the_behaviour_types(real_data):
    with open(real_data(REAL), newline="") as file:
        header = next(csv.reader(file))
    assert [name for name in header if name != "tag_btag_list"] == list(COLUMNS)


def test_cells_are_of_the_kinds_of_the_real_rows(made):
    rows = read(made.folder / "train.csv")
    for row in rows:
        assert all(row[name].isdigit() for name in COLUMNS[:16])
        assert float(row["price"]) > 0
        steps = [
            row[name].split("|") if row[name] else [] for name in ("tag_category_list", "tag_brand_list")
        ]
        assert len(steps[0]) == len(steps[1]) <= HISTORY
        assert all(step.isdigit() for step in steps[0] + steps[1])
    lengths = np.array(
        [row["tag_category_list"].count("|") + (row["tag_category_list"] != "") for row in rows]
    )
    assert lengths.min() == 0
    assert lengths.max() == HISTORY
    assert np.mean(lengths < 10) > 0.1


def test_an_ad_has_one_category_brand_seller_campaign_and_price(made):
    rows = read(made.folder / "train.csv")
    for child, parent in [
        *[("adgroup_id", name) for name in ("cate_id", "brand", "customer", "campaign_id", "price")],
        ("campaign_id", "customer"),
        ("customer", "brand"),
        *[("user_id", name) for name in COLUMNS[8:16]],
    ]:
        pairs = {(row[child], row[parent]) for row in rows}
        assert len(pairs) == len({key for key, _ in pairs}), (child, parent)


def test_histories_use_the_ids_of_the_items(made):
    rows = read(made.folder / "train.csv")
    for history, column in (("tag_category_list", "cate_id"), ("tag_brand_list", "brand")):
        seen = {step for row in rows for step in row[history].split("|") if step}
        offered = {row[column] for row in rows}
        assert len(offered & seen) > 0.9 * len(offered)


def test_a_history_only_grows_at_its_end():
    table = simulate(4000, seed=5)
    user = table.columns["user_id"]
    compared = 0
    for name in np.unique(user)[:20]:
        rows = np.flatnonzero(user == name)
        for earlier, later in zip(rows[:-1], rows[1:], strict=True):
            old = table.history_category[earlier, : table.history_length[earlier]].tolist()
            new = table.history_category[later, : table.history_length[later]].tolist()
            # The old steps, less some at the front, are the beginning of the new ones.
            assert any(old[cut:] == new[: len(old) - cut] for cut in range(len(old) + 1))
            if len(new) < HISTORY:
                assert old == new[: len(old)]
                compared += 1
    assert compared > 100


def test_the_same_arguments_give_the_same_files(made, tmp_path):
    again = generate_taobao(tmp_path / "a", rows=3000, test_rows=700)
    other = generate_taobao(tmp_path / "b", rows=3000, test_rows=700, seed=1)
    for name in ("train.csv", "test.csv", "items.tsv", "about.json"):
        assert (again.folder / name).read_bytes() == (made.folder / name).read_bytes()
        assert (other.folder / name).read_bytes() != (made.folder / name).read_bytes()


def test_clicks_follow_the_stated_probabilities():
    table = simulate(60_000, seed=11)
    assert table.probability.mean() == pytest.approx(CLICK_RATE, abs=1e-6)
    for bin_ in np.array_split(np.argsort(table.probability), 20):
        p = table.probability[bin_]
        deviation = np.sqrt(np.sum(p * (1 - p)))
        assert abs(table.click[bin_].sum() - p.sum()) < 4.5 * deviation


def test_the_stated_auc_is_that_of_the_probabilities(made):
    table = simulate(3700)
    expected = roc_auc_score(table.click[3000:], table.probability[3000:])
    assert made.facts["best_reachable_auc"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_best_auc_is_that_of_a_fair_ranking_problem(seed):
    table = simulate(20_000, seed)
    assert 0.72 < roc_auc_score(table.click, table.probability) < 0.80


def test_a_linear_model_of_the_columns_comes_close_to_the_best_auc():
    """Plain one-hot columns and how often the history met the item's category and brand; no hidden variable."""
    table = simulate(20_000, seed=3)
    train, test = slice(0, 15_000), slice(15_000, None)
    valid = np.arange(HISTORY) < table.history_length[:, None]
    length = np.maximum(table.history_length, 1)
    met = []
    for history, column in ((table.history_category, "cate_id"), (table.history_brand, "brand")):
        share = (valid & (history == table.columns[column][:, None])).sum(axis=1) / length
        met += [np.sqrt(share), share > 0]
    names = [*COLUMNS[1:16], "price"]
    names = [name for name in names if name not in ("user_id", "tag_category_list", "tag_brand_list")]
    plain = OneHotEncoder().fit_transform(
        np.stack([table.columns[name] for name in names if name != "price"], axis=1)
    )
    x = sparse.hstack([plain, np.stack(met, axis=1)]).tocsr()
    model = LogisticRegression(C=0.1, max_iter=100).fit(x[train], table.click[train])
    found = roc_auc_score(table.click[test], model.predict_proba(x[test])[:, 1])
    best = roc_auc_score(table.click[test], table.probability[test])
    assert best - 0.05 < found < best + 0.005


def test_with_few_rows_of_a_user_and_more_weight_only_the_history_tells():
    """What the mean click of a user and topic-free columns know, against what the true probabilities know."""

    def worth_of_the_user(**options):
        table = simulate(20_000, seed=3, **options)
        train, test = slice(0, 15_000), slice(15_000, None)
        user = np.unique(table.columns["user_id"], return_inverse=True)[1]
        ad = np.unique(table.columns["cate_id"], return_inverse=True)[1]
        pair = user * (ad.max() + 1) + ad
        size = pair.max() + 1
        clicks = np.bincount(pair[train], table.click[train], size) + CLICK_RATE
        guess = (clicks / (np.bincount(pair[train], minlength=size) + 1))[pair[test]]
        best = roc_auc_score(table.click[test], table.probability[test])
        return len(np.unique(user)), best, roc_auc_score(table.click[test], guess)

    many, few = worth_of_the_user(), worth_of_the_user(rows_per_user=10, history_weight=3)
    assert few[0] > 10 * many[0]
    assert few[1] > many[1] + 0.02
    assert few[2] < many[2] - 0.02


@pytest.mark.parametrize(
    "options",
    [
        {"rows": 0},
        {"test_rows": 0},
        {"seed": -1},
        {"rows_per_user": 0},
        {"history_weight": -1.0},
        {"history_weight": float("nan")},
    ],
)
def test_options_out_of_range_are_refused(tmp_path, options):
    (name,) = options
    with pytest.raises(DataError, match=f"taobao: {name} is"):
        generate_taobao(tmp_path, **options)


def test_one_row_is_enough(tmp_path):
    assert dict(generate_taobao(tmp_path, rows=1).rows) == {"train.csv": 1, "test.csv": 1, "items.tsv": 2}


def test_the_item_file_holds_every_ad_as_the_rows_do(made):
    read_of = {"train": read(made.folder / "train.csv"), "test": read(made.folder / "test.csv")}
    columns = [Column(name) for name in ITEM_COLUMNS]
    items = read_items(str(made.folder / "items.tsv"), Column("adgroup_id"), columns)
    seen = collections.Counter(row["adgroup_id"] for row in read_of["train"])
    for row in [*read_of["train"], *read_of["test"]]:
        place = items.places[row["adgroup_id"].encode()]
        assert [items.columns[name][place].decode() for name in ITEM_COLUMNS] == [
            row[n] for n in ITEM_COLUMNS
        ]
        assert items.weights[place] == seen[row["adgroup_id"]]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot create the folder"):
        generate_taobao(tmp_path / "file" / "x", rows=1)


def test_every_column_is_described(root):
    text = (root / "docs" / "data.md").read_text(encoding="utf-8")
    assert [name for name in COLUMNS if f"`{name}`" not in text] == []
