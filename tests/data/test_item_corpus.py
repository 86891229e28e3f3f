import gzip

import numpy as np
import pytest

from easyssl.config import parse_config
from easyssl.data.item_corpus import corpus_columns, read_corpus
from easyssl.errors import ConfigError, DataError

CONFIG = """
data_config {
  input_fields { input_name: 'items' }
  item_corpus {
    input_path: 'items*.tsv*' item_id: 'item' popularity: 'count'
    input_fields { input_name: 'item' }
    input_fields { input_name: 'count' input_type: INT64 default_val: '7' }
    %s
  }
}
"""


def config_in(folder, options=""):
    return parse_config(CONFIG % options, str(folder / "my.config"), data_root=str(folder))


def test_files_are_joined_and_defaults_filled_in(tmp_path):
    (tmp_path / "items1.tsv").write_text("count\titem\tunused\n3\ta\tx\n\tb\ty\n")
    (tmp_path / "items2.tsv.gz").write_bytes(gzip.compress(b"item\tcount\nc\t0\n"))
    corpus = read_corpus(config_in(tmp_path))
    assert corpus.ids.tolist() == [b"a", b"b", b"c"] and len(corpus) == 3
    np.testing.assert_array_equal(corpus.popularity, [3.0, 7.0, 0.0])
    assert corpus.lines.tolist() == [2, 3, 2] and corpus.paths[2].endswith("items2.tsv.gz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("item\tcount\na\t1\nb\t2\na\t3\n", r"items.tsv:4: the item .?a.? comes a second time, after line 2"),
        ("item\tcount\na\t1\n\t2\n", "items.tsv:3: the id of the item is empty"),
        ("item\tcount\na\t-1\n", "items.tsv:2: the popularity is -1"),
        ("item\tcount\na\tmany\n", "items.tsv:2.*many"),
        ("item\tcount\n", "items.tsv.* no items"),
        ("item\tcounts\na\t1\n", "count"),
    ],
)
def test_bad_files_are_named_with_their_line(tmp_path, text, message):
    (tmp_path / "items.tsv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_corpus(config_in(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("item_id: 'itm'", "item_corpus.item_id: 'itm' is not among input_fields.*'item'"),
        ("popularity: 'counts'", "item_corpus.popularity: 'counts' is not among input_fields.*'count'"),
        ("input_path: ''", "item_corpus.input_path: is not set"),
        ("input_fields { input_name: 'items' }", r"declared twice among data_config.input_fields"),
        (
            "input_fields { input_name: 'item' }",
            r"input_fields\[2\].input_name: column 'item' is declared twice",
        ),
        ("separator: 'ab'", "item_corpus.separator: found 'ab', expected one ASCII character"),
    ],
)
def test_wrong_fields_are_named(tmp_path, options, message):
    (tmp_path / "items.tsv").write_text("item\tcount\na\t1\n")
    with pytest.raises(ConfigError, match=message):
        config = config_in(tmp_path, options)
        corpus_columns(config)
        read_corpus(config)
