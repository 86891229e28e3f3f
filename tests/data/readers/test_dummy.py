"""Made-up rows: of the right kind, the same from any position, readable by every type of feature."""

import numpy as np
import pytest

from easyssl.config import parse_config
from easyssl.data import BadRows, columns_from_config, dataset_from_config
from easyssl.data.readers.dummy import Cells, DummyReader
from easyssl.data.rows import Column
from easyssl.errors import ConfigError

COLUMNS = [Column("age", "INT32"), Column("price", "FLOAT"), Column("tags"), Column("new", "BOOL")]
CELLS = {
    "age": Cells(high=9, whole=True),
    "price": Cells(low=-2, high=3),
    "tags": Cells(entries=("a", "b"), separator=";", length=0, max_length=4, pair=":"),
    "new": Cells(entries=("0", "1")),
}


def reader(**changes):
    return DummyReader(COLUMNS, CELLS, **{"rows": 1000, "block_size": 64, **changes})


def test_cells_are_what_was_asked_for():
    chunks = list(reader().read("train", BadRows()))
    columns = {name: np.concatenate([chunk.columns[name] for chunk in chunks]) for name in CELLS}
    assert [columns[column.name].dtype for column in COLUMNS] == [column.dtype for column in COLUMNS]
    assert set(columns["age"].tolist()) == set(range(9))
    assert (np.diff(np.bincount(columns["age"])) < 0).sum() > 5  # small numbers are the frequent ones
    assert -2 <= columns["price"].min() < -1.9 and 2.9 < columns["price"].max() < 3
    assert 0.4 < columns["new"].mean() < 0.6
    pairs = [[tag.split(b":") for tag in cell.split(b";")] for cell in columns["tags"]]
    assert {len(cell) for cell in pairs} == {1, 2, 3, 4}
    assert {tag[0] for cell in pairs for tag in cell} == {b"a", b"b"}
    assert all(0 <= float(tag[1]) <= 1 for cell in pairs for tag in cell)
    lines = np.concatenate([chunk.lines for chunk in chunks])
    np.testing.assert_array_equal(lines, np.arange(1, 1001))


def test_reading_goes_on_from_any_chunk_and_depends_on_seed_and_file():
    chunks = list(reader().read("train", BadRows()))
    again = list(reader().read("train", BadRows(), chunks[4].end))
    assert len(again) == len(chunks) - 5
    for first, second in zip(chunks[5:], again, strict=True):
        for name in CELLS:
            np.testing.assert_array_equal(first.columns[name], second.columns[name])
    for other in (reader(seed=1).read("train", BadRows()), reader().read("eval", BadRows())):
        assert not np.array_equal(next(other).columns["price"], chunks[0].columns["price"])


def test_a_column_does_not_depend_on_which_others_are_read():
    whole, alone = reader(), reader(select=["tags"])
    first, second = next(whole.read("a", BadRows())), next(alone.read("a", BadRows()))
    assert list(second.columns) == ["tags"]
    np.testing.assert_array_equal(first.columns["tags"], second.columns["tags"])


CONFIG = """
train_input_path: 'nowhere' eval_input_path: 'nowhere'
data_config {
  input_type: DummyInput batch_size: 8 num_epochs: 1
  label_fields: ['clk', 'steps'] label_dim: [1, 3] label_sep: [',', ';'] sample_weight: 'weight'
  input_fields { input_name: 'clk' input_type: INT32 }
  input_fields { input_name: 'steps' }
  input_fields { input_name: 'weight' input_type: FLOAT }
  input_fields { input_name: 'user' }
  input_fields { input_name: 'kind' }
  input_fields { input_name: 'age' input_type: INT32 }
  input_fields { input_name: 'price' input_type: DOUBLE }
  input_fields { input_name: 'vector' }
  input_fields { input_name: 'tags' }
  input_fields { input_name: 'more' }
  input_fields { input_name: 'weights' }
  input_fields { input_name: 'hist' }
  input_fields { input_name: 'times' }
  input_fields { input_name: 'map' }
  input_fields { input_name: 'key' }
}
feature_config {
  features { input_names: 'user' embedding_dim: 4 hash_bucket_size: 50 }
  features { input_names: 'kind' embedding_dim: 4 vocab_list: ['x', 'y'] }
  features { input_names: 'age' embedding_dim: 4 num_buckets: 7 }
  features { input_names: 'price' feature_type: RawFeature embedding_dim: 4 boundaries: [1, 5] }
  features { input_names: 'vector' feature_type: RawFeature raw_input_dim: 3 separator: ',' }
  features { input_names: 'tags' feature_type: TagFeature embedding_dim: 4 hash_bucket_size: 9 kv_separator: ':' }
  features { input_names: ['more', 'weights'] feature_type: TagFeature embedding_dim: 4 hash_bucket_size: 9 }
  features { input_names: 'hist' feature_type: SequenceFeature embedding_dim: 4 num_buckets: 5 }
  features { input_names: 'times' feature_type: SequenceFeature sub_feature_type: RawFeature sequence_length: 4 }
  features {
    feature_name: 'found' input_names: ['key', 'map'] feature_type: LookupFeature embedding_dim: 4
    hash_bucket_size: 9 kv_separator: ':'
  }
  features {
    feature_name: 'both' input_names: ['user', 'kind'] feature_type: ComboFeature embedding_dim: 4
    hash_bucket_size: 9
  }
  features { feature_name: 'old' input_names: 'age' feature_type: ExprFeature expression: 'age > 3' }
}
"""


def test_every_type_of_feature_can_read_them():
    from easyssl.data.features.spec import build_feature_specs
    from easyssl.data.transform import FeatureTransform
    from easyssl.training.labels import Labels
    from easyssl.training.pipeline import Preparation

    config = parse_config(CONFIG)
    types = {column.name: column.type for column in columns_from_config(config)}
    transform = FeatureTransform(build_feature_specs(config), types)
    preparation = Preparation(transform, Labels.from_config(config, ["clk", "steps"]))
    training = list(dataset_from_config(config, "train").batches())
    assert len(training) == 100
    batch = preparation(training[0])
    assert batch.rows == 8 and set(np.unique(batch.labels["clk"])) == {0, 1}
    assert batch.labels["steps"].shape == (8, 3) and (batch.weights.numpy() == 1).all()
    assert len(batch.features["user"]) == 8
    assert (batch.features["hist"].numpy() >= 0).any() and batch.features["found"].shape[1] > 0
    evaluation = next(dataset_from_config(config, "evaluate").batches())
    assert not np.array_equal(evaluation.columns["price"], training[0].columns["price"])


def test_files_cannot_be_named():
    with pytest.raises(ConfigError, match="DummyInput makes rows up, and reads no files"):
        dataset_from_config(parse_config(CONFIG), "predict", paths="a.csv")
