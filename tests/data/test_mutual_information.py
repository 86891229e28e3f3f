"""What a config's own readers and features make of rows, counted; against scikit-learn on the cells."""

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score, normalized_mutual_info_score

from easyssl.config import parse_config
from easyssl.data.mutual_information import group_information
from easyssl.errors import ConfigError, DataError

CONFIG = """
train_input_path: "train.csv"
model_dir: "unused"
data_config {
  input_type: CSVInput label_fields: "clk" batch_size: 4 BAD
  input_fields { input_name: "clk" input_type: INT32 }
  input_fields { input_name: "item" input_type: INT32 }
  input_fields { input_name: "brand" input_type: STRING }
  input_fields { input_name: "tags" input_type: STRING }
  input_fields { input_name: "hist" input_type: STRING }
  input_fields { input_name: "price" input_type: FLOAT }
}
feature_config {
  features { input_names: "item" feature_type: IdFeature num_buckets: 1000 embedding_dim: 4 }
  features { input_names: "brand" feature_type: IdFeature vocab_list: ["a", "b", "c"] embedding_dim: 4 }
  features { input_names: "tags" feature_type: TagFeature num_buckets: 10 embedding_dim: 4 }
  features { input_names: "hist" feature_type: SequenceFeature num_buckets: 10 embedding_dim: 4 sequence_combiner { attention {} } }
  features { input_names: "price" feature_type: RawFeature }
}
model_config {
  feature_groups { group_name: "mixed" feature_names: "hist" feature_names: "brand" feature_names: "tags" }
  feature_groups { group_name: "ids" feature_names: "item" feature_names: "brand" }
  feature_groups { group_name: "numbers" feature_names: "price" }
}
"""
ROWS = 60


def make(tmp_path, lines=None, bad=""):
    rng = np.random.default_rng(0)
    cells = [(i % 7, "abc"[rng.integers(3)], f"{i % 4}|{i % 3}", f"{i % 5}") for i in range(ROWS)]
    if lines is None:
        lines = [f"0,{item},{brand},{tags},{hist},1.5" for item, brand, tags, hist in cells]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    return parse_config(CONFIG.replace("BAD", bad), str(tmp_path / "my.config")), cells


def test_ids_agree_with_scikit_learn_on_the_cells(tmp_path):
    config, cells = make(tmp_path)
    items, brands = [c[0] for c in cells], [c[1] for c in cells]
    found = group_information(config, "ids")
    assert (found.features, found.rows, found.num_values) == (("item", "brand"), ROWS, (7, 3))
    assert found.matrix[0, 1] == pytest.approx(mutual_info_score(items, brands))
    assert found.matrix[0, 0] == pytest.approx(mutual_info_score(items, items))
    normalized = group_information(config, "ids", normalized=True).matrix
    expected = normalized_mutual_info_score(items, brands, average_method="geometric")
    assert normalized[0, 1] == pytest.approx(expected)


def test_sequences_come_last_and_count_as_several_values(tmp_path):
    found = group_information(make(tmp_path)[0], "mixed")
    assert found.features == ("brand", "tags", "hist")
    # 60 rows are five rounds of the pairs of tags, in which every pair of residues is as frequent as another.
    weights = np.array([0.25 / 2 + (1 / 3 / 2 if tag < 3 else 0) for tag in range(4)])
    assert found.matrix[1, 1] == pytest.approx(-np.sum(weights * np.log(weights)))
    assert found.matrix[1, 2] == pytest.approx(0, abs=1e-12)
    assert found.matrix[2, 2] == pytest.approx(np.log(5))


def test_a_limit_of_rows_and_distinct_items(tmp_path):
    config, cells = make(tmp_path)
    assert group_information(config, "ids", rows=13).rows == 13
    assert group_information(config, "ids", rows=1000).rows == ROWS
    found = group_information(config, "mixed", distinct="item")
    assert found.rows == 7
    brands = [c[1] for c in cells[:7]]
    assert found.matrix[0, 0] == pytest.approx(mutual_info_score(brands, brands))


def test_distinct_items_are_remembered_between_batches(tmp_path, monkeypatch):
    from easyssl.data import mutual_information

    config, _ = make(tmp_path)
    whole = group_information(config, "mixed", distinct="item")
    monkeypatch.setattr(mutual_information, "_BATCH_SIZE", 4)
    parts = group_information(config, "mixed", distinct="item")
    assert parts.rows == whole.rows
    np.testing.assert_allclose(parts.matrix, whole.matrix, atol=1e-12)


def test_other_files_and_rows_that_are_left_out(tmp_path):
    lines = ["0,1,a,1,1,1.5", "0,x,a,1,1,1.5", "0,2,b,2,2,1.5", "0,3,b,2,oops,1.5"]
    config, _ = make(tmp_path, lines, "malformed_rows: SKIP max_malformed_rows: 2")
    assert group_information(config, "mixed", files=str(tmp_path / "train.csv"), distinct="item").rows == 2
    config, _ = make(tmp_path, lines)
    with pytest.raises(DataError, match="train.csv:2: "):
        group_information(config, "ids")


@pytest.mark.parametrize(
    ("group", "options", "message"),
    [
        (None, {}, "feature_groups: say which group; valid are 'ids', 'mixed', 'numbers'"),
        ("id", {}, "there is no group 'id'; did you mean 'ids'"),
        ("numbers", {}, r"features\[4\]: 'price' of group 'numbers' is plain numbers"),
        ("ids", {"distinct": "itm"}, "no feature is called 'itm'; did you mean 'item'"),
        ("ids", {"distinct": "tags"}, r"features\[2\]: 'tags' is not one id a row"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_line(tmp_path, group, options, message):
    config, _ = make(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        group_information(config, group, **options)
    assert "\n" not in str(caught.value)


def test_a_group_of_items_is_measured_on_the_corpus(tmp_path):
    rng = np.random.default_rng(1)
    kinds, years = rng.integers(3, size=ROWS), rng.integers(4, size=ROWS)
    lines = [
        "id\tkind\tyear",
        *(f"{i}\t{'abc'[k]}\t{y}" for i, (k, y) in enumerate(zip(kinds, years, strict=True))),
    ]
    (tmp_path / "items.tsv").write_text("\n".join(lines) + "\n")
    corpus = """item_corpus { input_path: "items.tsv" item_id: "id"
      input_fields { input_name: "id" input_type: INT64 }
      input_fields { input_name: "kind" input_type: STRING }
      input_fields { input_name: "year" input_type: STRING } }"""
    features = """feature_config {
      features { input_names: "kind" feature_type: IdFeature vocab_list: ["a", "b", "c"] embedding_dim: 4 }
      features { input_names: "year" feature_type: SequenceFeature num_buckets: 9 embedding_dim: 4 sequence_combiner { attention {} } }"""
    text = CONFIG.replace("BAD", corpus).replace("feature_config {", features)
    text += 'model_config { feature_groups { group_name: "items" feature_names: ["year", "kind"] } }'
    config = parse_config(text, str(tmp_path / "my.config"))
    found = group_information(config, "items")
    assert (found.features, found.rows) == (("kind", "year"), ROWS)
    assert found.matrix[0, 1] == pytest.approx(mutual_info_score(kinds, years))
    assert group_information(config, "items", rows=10).rows == 10
    with pytest.raises(ConfigError, match="item_corpus: group 'items' reads this file"):
        group_information(config, "items", files="other.csv")
