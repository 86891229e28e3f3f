"""Checks that a config's data settings reach the reader and the data set."""

import csv
import gzip
import subprocess
import sys

import pytest

from easyssl.config import load_config, parse_config
from easyssl.data import BadRows, columns_from_config, dataset_from_config
from easyssl.data.from_config import bad_rows_from_config, separator_from_config
from easyssl.errors import ConfigError, DataError

FIELDS = """
  input_fields { input_name: "label" input_type: INT32 }
  input_fields { input_name: "user" }
  input_fields { input_name: "price" input_type: FLOAT default_val: "0.5" }
  label_fields: "label"
"""


def config_text(data="", rest='train_input_path: "train*.csv" eval_input_path: "eval.csv"', kind="CSVInput"):
    return f"{rest}\ndata_config {{ input_type: {kind} batch_size: 4 {FIELDS} {data} }}"


def config(tmp_path, *args, **kwargs):
    return parse_config(config_text(*args, **kwargs), str(tmp_path / "x.config"))


@pytest.fixture
def files(tmp_path):
    for name, start in (("train1.csv", 0), ("train2.csv", 10), ("eval.csv", 20)):
        rows = "".join(f"{n % 2},user {n},{n}.5\n" for n in range(start, start + 10))
        (tmp_path / name).write_text(rows)
    return tmp_path


def users(dataset):
    return [user.decode() for batch in dataset.batches() for user in batch.columns["user"].tolist()]


def test_training_is_shuffled_and_repeated(files):
    dataset = dataset_from_config(config(files, "num_epochs: 2 shuffle_buffer_size: 100"), "train")
    rows = users(dataset)
    assert sorted(rows) == sorted([f"user {n}" for n in range(20)] * 2)
    assert rows[:20] != rows[20:]
    assert (dataset.batch_size, dataset.seed, dataset.num_epochs, dataset.shuffle) == (4, 2020, 2, True)
    endless = dataset_from_config(config(files, "shuffle: false"), "train", worker_index=1, num_workers=2)
    assert (endless.num_epochs, endless.shuffle, endless.worker_index, endless.num_workers) == (
        0,
        False,
        1,
        2,
    )


def test_seed_and_other_settings(files):
    given = config(
        files, "drop_remainder: true file_shard: true", 'train_input_path: "train*" train_config { seed: 7 }'
    )
    dataset = dataset_from_config(given, "train")
    assert (dataset.seed, dataset.drop_remainder, dataset.file_shard) == (7, True, True)


@pytest.mark.parametrize("mode", ["evaluate", "predict"])
def test_evaluation_and_prediction_are_one_pass_in_order(files, mode):
    given = config(files, "num_epochs: 0 drop_remainder: true shuffle: true batch_size: 3")
    dataset = dataset_from_config(given, mode)
    assert users(dataset) == [f"user {n}" for n in range(20, 30)]


def test_given_paths_and_columns(files, monkeypatch):
    monkeypatch.chdir(files)
    dataset = dataset_from_config(config(files), "predict", "train2.csv", ["user"])
    batch = next(dataset.batches())
    assert list(batch.columns) == ["user"]
    assert batch.paths.tolist() == ["train2.csv"] * 4


def test_labels_may_be_missing_while_predicting(files):
    (files / "new.csv").write_text("ann,1\nbob,\n")
    given = config(files, 'sample_weight: "price"')
    assert [column.required for column in columns_from_config(given, "train")] == [True, True, True]
    assert [column.required for column in columns_from_config(given, "predict")] == [False, True, False]
    given = config(files)
    batch = next(dataset_from_config(given, "predict", str(files / "new.csv")).batches())
    assert {name: values.tolist() for name, values in batch.columns.items()} == {
        "user": [b"ann", b"bob"],
        "price": [1.0, 0.5],
    }
    with pytest.raises(DataError, match="new.csv:1: column_count: 2 columns, expected 3"):
        list(dataset_from_config(given, "evaluate", str(files / "new.csv")).batches())


def test_labels_may_be_missing_with_or_without_the_weight(files):
    given = config(files, 'sample_weight: "price"')
    for text, names in ("1,ann,1", "label user price"), ("ann,1", "user price"), ("ann", "user"):
        (files / "new.csv").write_text(f"{text}\n")
        batch = next(dataset_from_config(given, "predict", str(files / "new.csv")).batches())
        assert list(batch.columns) == names.split()


def test_only_needed_columns_must_be_in_a_file_with_names(files):
    given = config(files, r'separator: "," with_header: true')
    (files / "new.csv").write_text("price\n1\n")
    dataset = dataset_from_config(given, "predict", str(files / "new.csv"), needed=["price"])
    assert list(next(dataset.batches()).columns) == ["price"]
    with pytest.raises(DataError, match="the header has no column 'user'"):
        list(dataset_from_config(given, "predict", str(files / "new.csv")).batches())


@pytest.mark.parametrize(
    ("kind", "default", "mode", "warned"),
    [
        ("INT32", "", "train", True),
        ("INT32", "", "evaluate", True),
        ("INT32", "0", "train", False),
        ("INT32", "", "predict", False),
    ],
)
def test_an_empty_label_is_told_unless_it_has_a_default(files, capsys, kind, default, mode, warned):
    text = config_text("num_epochs: 1").replace("INT32 }", f'{kind} default_val: "{default}" }}', 1)
    (files / "new.csv").write_text("1,ann,1\n,bob,\n")
    given = parse_config(text, str(files / "x.config"))
    batch = next(dataset_from_config(given, mode, str(files / "new.csv")).batches())
    assert sorted(batch.columns["label"].tolist()) == [0, 1]
    assert ("new.csv:2: column 'label' is empty" in capsys.readouterr().err) == warned


def test_a_label_that_is_text_is_told_once(tmp_path):
    text = config_text().replace("input_type: INT32", "")
    given = parse_config(text, str(tmp_path / "x.config"))
    for mode in ("train", "evaluate", "predict"):
        columns_from_config(given, mode)
    (warning,) = given.warnings
    assert warning.startswith(f"{tmp_path}/x.config:")
    assert "data_config.label_fields[0]: the label 'label' is a STRING column" in warning


def test_a_label_of_several_values_is_text(tmp_path):
    with pytest.raises(ConfigError, match="label_dim is 2: 'label' has to be a STRING column, found INT32"):
        columns_from_config(config(tmp_path, "label_dim: 2"))
    text = config_text("label_dim: 2").replace("input_type: INT32", "")
    assert parse_config(text, "x.config").warnings == []


def test_csv_options(files):
    with gzip.open(files / "train.csv.gz", "wt") as handle:
        handle.write('price\tuser\tmore\tlabel\n1\t"a\tb"\tx\t1\n')
    given = config(files, r'separator: "\\t" with_header: true', 'train_input_path: "train.csv.gz"')
    batch = next(dataset_from_config(given, "train").batches())
    assert [values.tolist() for values in batch.columns.values()] == [[1], [b"a\tb"], [1.0]]


def test_csv_ex_has_no_quotes(files):
    (files / "train.csv").write_text('1,"ann,1\n')
    given = config(files, rest='train_input_path: "train.csv"', kind="CSVInputEx")
    assert next(dataset_from_config(given, "train").batches()).columns["user"].tolist() == [b'"ann']


@pytest.mark.parametrize(
    ("written", "separator"),
    [
        ("\\t", b"\t"),
        ("\\\\t", b"\t"),
        ("\\001", b"\x01"),
        ("\\\\001", b"\x01"),
        ("\\\\x01", b"\x01"),
        (";", b";"),
        ("\\\\u0001", b"\x01"),
        ("\\\\", b"\\"),
        (" ", b" "),
    ],
)
def test_separators_and_escapes(tmp_path, written, separator):
    assert separator_from_config(config(tmp_path, f'separator: "{written}"')) == separator


@pytest.mark.parametrize("written", ["", ",,", "\\n", "\\\\n", "\\\\r", '\\"', "é", "\\\\u00e9", "\\\\777"])
def test_separators_that_cannot_be(tmp_path, written):
    with pytest.raises(
        ConfigError, match=r"x.config:\d+:\d+: data_config.separator: found .*, expected one ASCII"
    ):
        separator_from_config(config(tmp_path, f'separator: "{written}"'))


def test_names_are_expanded(tmp_path):
    data = 'input_fields { input_name: "f[8-11]_x" input_type: INT64 } auto_expand_input_fields: '
    assert [column.name for column in columns_from_config(config(tmp_path, data + "true"))][3:] == [
        "f8_x",
        "f9_x",
        "f10_x",
        "f11_x",
    ]
    assert columns_from_config(config(tmp_path, data + "false"))[3].name == "f[8-11]_x"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("input_fields { input_type: INT32 }", "data_config.input_fields[3]: input_name is missing"),
        (
            'input_fields { input_name: "user" }',
            "input_fields[3].input_name: column 'user' is declared twice",
        ),
        (
            'input_fields { input_name: "x" input_type: INT32 default_val: "1.5" }',
            "input_fields[3].default_val: default value of column 'x' holds '1.5', expected INT32",
        ),
        (
            'label_fields: "lable"',
            "data_config.label_fields[1]: 'lable' is not an input field; did you mean 'label'?",
        ),
        (
            'sample_weight: "prize"',
            "data_config.sample_weight: 'prize' is not an input field; did you mean 'price'?",
        ),
        (
            'auto_expand_input_fields: true input_fields { input_name: "f[9-3]" }',
            "'f[9-3]' must count upwards",
        ),
        (
            'auto_expand_input_fields: true input_fields { input_name: "f[0-999999999]" }',
            "must count upwards, over at most 100000 names",
        ),
        ("batch_size: 0", "data_config.batch_size: found 0, expected at least 1"),
        (
            'data_compression_type: "BZIP2"',
            "data_config.data_compression_type: found 'BZIP2', expected GZIP or ZLIB",
        ),
        (
            "malformed_rows: SKIP",
            "data_config.malformed_rows: skipping malformed rows needs data_config.max_malformed_rows",
        ),
        ("input_type: OdpsInput", "data_config.input_type: "),
        ("negative_sampler { num_sample: 3 }", "data_config.negative_sampler: "),
    ],
)
def test_settings_that_cannot_be(files, data, words):
    with pytest.raises(ConfigError) as caught:
        dataset_from_config(config(files, data), "train")
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{files}/x.config:")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data_config { input_type: CSVInput }", "data_config: no input_fields"),
        (
            f"data_config {{ {FIELDS} }}",
            "data_config: input_type is missing; use CSVInput, TFRecordInput or Parquet",
        ),
        (config_text(rest=""), "train_input_path: it is not set, expected the names of data files"),
        (
            config_text(rest="kafka_train_input { topic: 'x' }"),
            "kafka_train_input: not available here; give files in",
        ),
    ],
)
def test_what_is_missing_is_named(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        dataset_from_config(parse_config(text, "x.config"), "train")
    assert words in str(caught.value)


def test_files_that_are_missing_are_named(files):
    with pytest.raises(DataError) as caught:
        dataset_from_config(config(files, rest='train_input_path: "trian1.csv"'), "train")
    assert str(caught.value) == (
        f"{files}/x.config:1:1: no file matches 'trian1.csv' in '{files}'; did you mean 'train1.csv'?"
    )
    with pytest.raises(ConfigError, match="leaves the folder"):
        dataset_from_config(config(files, rest='train_input_path: "../*.csv"'), "train")


@pytest.mark.parametrize("data", ["malformed_rows: SKIP", "ignore_error: true"])
def test_malformed_rows_are_skipped_up_to_the_limit(files, data):
    (files / "train1.csv").write_text("1,ann,1\nx,bob,2\n1,cid,3\n1,dan\n")
    given = config(files, f"{data} max_malformed_rows: 2", 'train_input_path: "train1.csv"')
    dataset = dataset_from_config(
        given, "evaluate", str(files / "train1.csv"), quarantine=files / "bad.jsonl"
    )
    assert users(dataset) == ["ann", "cid"]
    assert dataset.bad_rows.counts == {"bad_number": 1, "column_count": 1}
    assert len((files / "bad.jsonl").read_text().splitlines()) == 2
    assert isinstance(bad_rows_from_config(config(files)), BadRows)


def test_ignore_error_alone_skips_any_number_and_says_so(files):
    (files / "train1.csv").write_text("1,ann,1\n" + "x,bob,2\n" * 1000 + "1,cid,3\n")
    given = config(files, "ignore_error: true", 'train_input_path: "train1.csv"')
    dataset = dataset_from_config(given, "evaluate", str(files / "train1.csv"))
    assert users(dataset) == ["ann", "cid"]
    assert dataset.bad_rows.counts == {"bad_number": 1000}
    assert [w for w in given.warnings if "leaves out any number of malformed rows" in w]


def test_tfrecord_and_parquet(files):
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    import tensorflow as tf

    table = {"label": [1, 0], "user": [["a", "b"], ["c"]], "price": [1.0, None]}
    pq.write_table(pa.table(table), files / "train.parquet")
    features = 'feature_configs { input_names: "user" feature_type: SequenceFeature separator: ";" }'
    given = config(files, rest=f'parquet_train_input: "train.parquet" {features}', kind="ParquetInputV3")
    batch = next(dataset_from_config(given, "evaluate", str(files / "train.parquet")).batches())
    assert [values.tolist() for values in batch.columns.values()] == [[1, 0], [b"a;b", b"c"], [1.0, 0.5]]
    assert dataset_from_config(given, "train").files == (str(files / "train.parquet"),)

    path = str(files / "train.tfrecord")
    with tf.io.TFRecordWriter(path, "ZLIB") as writer:
        value = {
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
            "user": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"ann"])),
        }
        writer.write(tf.train.Example(features=tf.train.Features(feature=value)).SerializeToString())
    given = config(
        files, 'data_compression_type: "ZLIB"', 'train_input_path: "*.tfrecord"', kind="TFRecordInput"
    )
    batch = next(dataset_from_config(given, "train").batches())
    assert [values.tolist() for values in batch.columns.values()] == [[1], [b"ann"], [0.5]]


def test_the_real_taobao_rows(tmp_path, real_data):
    path = real_data("taobao_alimama_sample/taobao_dmr_500.csv")
    with open(path, newline="", encoding="utf-8") as handle:
        header = next(csv.reader(handle))
    kinds = {"clk": "INT32", "price": "FLOAT"}
    fields = "".join(
        f'input_fields {{ input_name: "{name}" input_type: {kinds.get(name, "STRING")} }} '
        for name in reversed(header)
        if name != "tag_btag_list"
    )
    (tmp_path / "x.config").write_text(
        f'train_input_path: "{path}" data_config {{ input_type: CSVInput with_header: true batch_size: 64 '
        f'num_epochs: 2 label_fields: "clk" {fields} }}'
    )
    batches = list(dataset_from_config(load_config(tmp_path / "x.config"), "train").batches())
    assert sum(map(len, batches)) == 1000
    assert len(batches[0].columns) == 19
    clicks = sum(int(batch.columns["clk"].sum()) for batch in batches) / 2
    assert clicks == 210  # 42 % of 500


def test_reading_text_does_not_load_tensorflow(files):
    (files / "x.config").write_text(config_text())
    program = (
        "import sys; from easyssl.config import load_config; from easyssl.data import dataset_from_config; "
        f"dataset = dataset_from_config(load_config({str(files / 'x.config')!r}), 'evaluate'); "
        "assert sum(map(len, dataset.batches())) == 10; assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
