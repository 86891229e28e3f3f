"""The exported artefact, checked from outside: loaded, called and compared with NumPy."""

import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from easyssl.data.rows import Column, object_array
from easyssl.errors import UsageError
from easyssl.export import snippet, versions
from easyssl.export.row_text import rows_as_text
from easyssl.export.saved_model import write_saved_model
from easyssl.export.serving import ServingModule, argument_names

COLUMNS = [
    Column("user id", "STRING", "nobody"),
    Column("price", "FLOAT"),
    Column("count", "INT32", "3"),
    Column("年", "INT64", "2000"),
    Column("exact", "DOUBLE", "0.5"),
    Column("new", "BOOL", "true"),
]
ROWS = {
    "user id": object_array([b"anna", b"", b"\xff\x00", "ü".encode()]),
    "price": np.array([0.5, 1.25, -3.0, 1e6], np.float32),
    "count": np.array([1, 2, -3, 2**31 - 1], np.int32),
    "年": np.array([2001, 2002, 2003, 2**53], np.int64),
    "exact": np.array([0.25, 0.5, 0.75, -1.5], np.float64),
    "new": np.array([True, False, True, False]),
}
WEIGHTS = np.linspace(-1.0, 1.0, 8, dtype=np.float32)


def predict_with(weights: tf.Variable, dtype: tf.DType = tf.float32):
    """A model of one line that reads every column."""

    def predict(raw):
        known = tf.cast(tf.equal(raw["user id"], "nobody"), tf.float32)
        bucket = tf.clip_by_value(raw["count"], 0, 7)
        score = tf.gather(weights, bucket) + known + tf.tanh(raw["price"]) + tf.cast(raw["new"], tf.float32)
        score += tf.cast(raw["exact"], tf.float32) + tf.cast(raw["年"] % 7, tf.float32)
        return {"logits": tf.cast(score, dtype), "y": tf.cast(score > 0, tf.int64)}

    return predict


def expected_logits(rows=ROWS):
    """The same in NumPy, with the reader's rule for empty cells."""
    users = np.where(rows["user id"] == b"", b"nobody", rows["user id"])
    score = (
        WEIGHTS[np.clip(rows["count"], 0, 7)] + (users == b"nobody") + np.tanh(rows["price"]) + rows["new"]
    )
    return score + rows["exact"] + rows["年"] % 7


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "export"
    weights, unused = tf.Variable(WEIGHTS), tf.Variable(tf.zeros([1000]))
    module = ServingModule(predict_with(weights), COLUMNS, [weights, unused])
    asset = folder.parent / "words.txt"
    asset.write_text("a\nb\n")
    return write_saved_model(
        module, folder, ROWS, name="demo", step=7, config_text="x: 1", assets=[asset], check=True
    )


def test_outputs_are_float32_and_right(exported):
    serve = tf.saved_model.load(str(exported.path)).signatures["serving_default"]
    names = argument_names(list(ROWS))
    outputs = serve(
        **{names[n]: tf.constant(v, tf.string if v.dtype == object else None) for n, v in ROWS.items()}
    )
    assert outputs["logits"].dtype == tf.float32 and outputs["y"].dtype == tf.int64
    np.testing.assert_allclose(outputs["logits"], expected_logits(), rtol=1e-5)


def test_examples_take_the_defaults_of_absent_columns(exported):
    serve = tf.saved_model.load(str(exported.path)).signatures["serve_examples"]
    price = tf.train.Feature(float_list=tf.train.FloatList(value=[1.25]))
    example = tf.train.Example(features=tf.train.Features(feature={"price": price}))
    got = serve(examples=tf.constant([example.SerializeToString()]))["logits"]
    row = {
        "user id": object_array([b"nobody"]),
        "price": np.array([1.25]),
        "count": np.array([3]),
        "年": np.array([2000]),
        "exact": np.array([0.5]),
        "new": np.array([True]),
    }
    np.testing.assert_allclose(got, expected_logits(row), rtol=1e-5)


def test_verification_compared_all_rows(exported):
    assert exported.verification.rows == 4
    assert exported.verification.max_difference < 1e-5


def test_only_variables_that_are_read_are_saved(exported):
    saved = dict(tf.train.list_variables(str(exported.path / "variables" / "variables")))
    shapes = sorted(shape for name, shape in saved.items() if "read_variables" in name)
    assert shapes == [[8]]


def test_manifest_describes_every_file(exported):
    manifest = json.loads((exported.path / versions.MANIFEST).read_text())
    files = {p.relative_to(exported.path).as_posix() for p in exported.path.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == files - {versions.MANIFEST}
    assert "assets.extra/words.txt" in files
    for name, entry in manifest["files"].items():
        data = (exported.path / name).read_bytes()
        assert entry == {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert manifest["step"] == 7 and manifest["config"] == "x: 1"
    assert manifest["outputs"] == {"logits": "float32 [batch]", "y": "int64 [batch]"}
    assert manifest["columns"] == argument_names(list(ROWS))
    assert "Tanh" in manifest["operations"] and "PyFunc" not in manifest["operations"]


def test_python_snippet_runs_as_printed(exported):
    text = exported.instructions
    program = text[text.index("import tensorflow") : text.index("# REST")]
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "logits [" in done.stdout and "y [" in done.stdout


@pytest.mark.parametrize("by_column", [False, True])
def test_json_request_gives_the_same_answer(exported, by_column):
    """The body is turned into tensors as the REST interface of TensorFlow Serving documents it."""
    names = argument_names(list(ROWS))
    body = json.loads(json.dumps(snippet.rest_request({names[n]: v for n, v in ROWS.items()}, by_column)))
    serve = tf.saved_model.load(str(exported.path)).signatures[body["signature_name"]]
    if by_column:
        columns = body["inputs"]
    else:
        columns = {name: [row[name] for row in body["instances"]] for name in body["instances"][0]}
    tensors = {}
    for name, spec in serve.structured_input_signature[1].items():
        values = [_from_json(v) for v in columns[name]]
        tensors[name] = tf.constant(values, spec.dtype)
    np.testing.assert_allclose(serve(**tensors)["logits"], expected_logits(), rtol=1e-5)


def _from_json(value):
    import base64

    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


def test_versions_count_up_and_old_ones_go(tmp_path):
    weights = tf.Variable(WEIGHTS)
    module = ServingModule(predict_with(weights), COLUMNS, [weights])
    (tmp_path / "1").mkdir()  # somebody else's: never replaced, never deleted
    (tmp_path / "1" / "keep.txt").write_text("mine")
    paths = [write_saved_model(module, tmp_path, ROWS, keep=2, check=False).path.name for _ in range(3)]
    assert paths == ["2", "3", "4"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "3", "4"]
    assert (tmp_path / "1" / "keep.txt").read_text() == "mine"


def test_failed_export_leaves_nothing(tmp_path):
    def predict(raw):
        return {"logits": tf.numpy_function(lambda x: 2 * x, [raw["price"]], tf.float32)}

    module = ServingModule(predict, [Column("price", "FLOAT")], [])
    rows = {"price": np.array([1.0, 2.0], np.float32)}
    with pytest.raises(UsageError, match=r"^export: '.*PyFunc.*' \(node '.*'\) runs Python code"):
        write_saved_model(module, tmp_path / "export", rows)
    assert list((tmp_path / "export").iterdir()) == []


def test_a_wrong_answer_is_found(tmp_path):
    """Weights that change between tracing and saving must not get past the check."""
    from easyssl.export.verify import verify

    weights = tf.Variable(WEIGHTS)
    module = ServingModule(predict_with(weights), COLUMNS, [weights])
    path = write_saved_model(module, tmp_path, ROWS, check=False).path
    wrong = {"logits": expected_logits().astype(np.float32) + 0.01, "y": np.zeros(4, np.int64)}
    with pytest.raises(RuntimeError, match="output 'logits', batch of 4: the exported model gives"):
        verify(path, ROWS, argument_names(list(ROWS)), wrong)


def test_half_precision_models_answer_in_float32(tmp_path):
    weights = tf.Variable(WEIGHTS)
    module = ServingModule(predict_with(weights, tf.float16), COLUMNS, [weights])
    assert module.serve.structured_outputs["logits"].dtype == tf.float32


@pytest.mark.parametrize("separator", [",", "\x01"])
def test_rows_of_text_get_the_same_answers(tmp_path, separator):
    weights = tf.Variable(WEIGHTS)
    module = ServingModule(predict_with(weights), COLUMNS, [weights], separator=separator)
    made = write_saved_model(module, tmp_path / "export", ROWS, check=separator == ",")
    serve = tf.saved_model.load(str(made.path)).signatures["serve_rows"]
    texts = rows_as_text(ROWS, COLUMNS, separator)
    outputs = serve(features=tf.constant(texts))
    np.testing.assert_allclose(outputs["logits"], expected_logits(), rtol=1e-5)
    empty = separator.join(["", "0.5", "", "", "", "YES"])
    defaults = {**{column.name: None for column in COLUMNS}, "user id": object_array([b""])}
    defaults |= {"price": np.float32([0.5]), "count": np.array([3]), "年": np.array([2000])}
    defaults |= {"exact": np.array([0.5]), "new": np.array([True])}
    found = serve(features=tf.constant([empty]))["logits"]
    np.testing.assert_allclose(found, expected_logits(defaults), rtol=1e-5)
    assert "'serve_rows' takes 'features'" in made.instructions
    with pytest.raises(tf.errors.InvalidArgumentError):
        serve(features=tf.constant(["a"]))


def test_cells_with_the_separator_make_no_rows_of_text():
    rows = {"tags": object_array([b"a", b"b|c"])}
    assert rows_as_text(rows, [Column("tags")], ",") == [b"a", b"b|c"]
    assert rows_as_text(rows, [Column("tags")], "|") is None


def test_argument_names_are_unique_and_keep_what_fits():
    names = argument_names(["user_id", "User_ID", "geo.city", "geo_city", "1st", "self", "价格", "a b"])
    assert names["user_id"] == "user_id" and names["geo_city"] == "geo_city" and names["a b"] == "a_b"
    assert names["geo.city"] == "column_3" and names["价格"] == "column_7"
    assert len({n.lower() for n in names.values()}) == len(names)
    assert set(names) == {"user_id", "User_ID", "geo.city", "geo_city", "1st", "self", "价格", "a b"}
