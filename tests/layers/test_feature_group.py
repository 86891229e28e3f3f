"""FeatureGroup against a NumPy reference, and what must not change its result."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers.embedding_table import create_tables
from easyssl.layers.feature_group import FeatureGroup
from easyssl.layers.input_layer import InputLayer

pytestmark = pytest.mark.both_keras

ROWS, DIM = 11, 4


def feature(name, kind, dim=DIM, **kwargs):
    described = {
        "name": name,
        "kind": kind,
        "table": name if dim else None,
        "rows": ROWS,
        "dim": dim,
        "width": dim or 1,
        "combiner": "sum",
        "weighted": False,
        "initializer": {"class_name": "RandomNormal", "config": {"mean": 0.0, "stddev": 1.0}},
        "max_seq_len": 0,
        "sequence_combiner": "",
    }
    return {**described, **kwargs}


FEATURES = [
    feature("id", "id"),
    feature("hist", "id_sequence", max_seq_len=3, sequence_combiner="attention"),
    feature("tags", "tags", combiner="mean", weighted=True),
    feature("plain", "values", dim=0, width=2),
    feature("projected", "values", rows=2),
    feature("steps", "tag_sequence", combiner="sqrtn"),
    feature("prices", "value_sequence", dim=0),
    feature("levels", "value_sequence", rows=4, dim=2, width=2),
]


def batch(size=5, seed=0, seq_len=5):
    rng = np.random.default_rng(seed)

    def padded(shape, lengths):
        ids = rng.integers(0, ROWS, shape)
        ids[np.arange(shape[1]) >= lengths[:, None]] = -1
        return ids

    tags = padded((size, 4), rng.integers(0, 5, size))
    lengths = rng.integers(0, seq_len + 1, size)
    step_lengths = rng.integers(1, 5, size)
    steps = rng.integers(-1, ROWS, (size, 4, 2))
    steps[np.arange(4) >= step_lengths[:, None]] = -1
    value_lengths = rng.integers(0, 5, size)
    values = rng.normal(size=(size, 4)) * (np.arange(4) < value_lengths[:, None])
    return {
        "id": rng.integers(-1, ROWS, size),
        "hist": padded((size, seq_len), lengths),
        "hist/length": lengths.astype(np.int32),
        "tags": tags,
        "tags/weight": (rng.random((size, 4)) * (tags >= 0)).astype(np.float32),
        "plain": rng.normal(size=(size, 2)).astype(np.float32),
        "projected": rng.normal(size=(size, 2)).astype(np.float32),
        "steps": steps,
        "steps/length": step_lengths.astype(np.int32),
        "prices": values.astype(np.float32),
        "prices/length": value_lengths.astype(np.int32),
        "levels": values.astype(np.float32),
        "levels/length": value_lengths.astype(np.int32),
    }


def tensors(arrays):
    return {name: tf.constant(array) for name, array in arrays.items()}


@pytest.fixture(scope="module")
def group():
    layer = FeatureGroup(FEATURES)
    layer.build(None)
    return layer


def lookup(matrix, ids):
    return np.where((ids < 0)[..., None], 0.0, matrix[np.maximum(ids, 0)])


def test_every_kind_equals_numpy(group):
    data = batch()
    output = group(tensors(data))
    matrix = {name: table.variable.numpy().astype(np.float64) for name, table in group.tables.items()}
    weights = data["tags/weight"].astype(np.float64)
    pooled_tags = (weights[..., None] * lookup(matrix["tags"], data["tags"])).sum(1)
    total = weights.sum(1, keepdims=True)
    plain = [
        lookup(matrix["id"], data["id"]),
        np.divide(pooled_tags, total, out=np.zeros_like(pooled_tags), where=total > 0),
        data["plain"],
        data["projected"] @ matrix["projected"],
    ]
    for got, expected in zip(output.plain, plain, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)

    count = (data["steps"] >= 0).sum(-1, keepdims=True)
    sequences = [
        lookup(matrix["hist"], data["hist"])[:, :3],
        lookup(matrix["steps"], data["steps"]).sum(2) / np.sqrt(np.maximum(count, 1)),
        data["prices"][..., None],
        data["levels"][..., None] * matrix["levels"],
    ]
    for got, expected in zip(output.sequences, sequences, strict=True):
        assert got.shape[1] == 4
        expected = np.pad(expected, [(0, 0), (0, 4 - expected.shape[1]), (0, 0)])
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(output.lengths[0], np.minimum(data["hist/length"], 3))

    kernel = group.poolers["hist"].get_weights()[0].astype(np.float64)
    hist = lookup(matrix["hist"], data["hist"])
    for row, length, got in zip(hist, data["hist/length"], output.pooled[0], strict=True):
        scores = np.exp(row[:length] @ kernel)
        expected = scores / scores.sum() @ row[:length] if length else np.zeros(DIM)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("options", "width"), [({}, 5), ({"mlp": {"hidden_units": [7]}}, 7)])
def test_a_sequence_is_pooled_by_convolutions(options, width):
    options = {"filter_sizes": [2, 3], "num_filters": [3, 2], **options}
    described = feature(
        "hist", "id_sequence", sequence_combiner="text_cnn", sequence_combiner_options=options
    )
    group = FeatureGroup([described, feature("id", "id")])
    data = tensors(batch())
    output = group(data, training=False)
    assert output.pooled[0].shape == (5, width) and InputLayer()(output).shape == (5, 4 + width)
    steps = tf.cast(output.sequences[0], tf.float32)
    expected = group.poolers["hist"]([steps, data["hist/length"]], training=False)
    np.testing.assert_allclose(output.pooled[0], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(output.pooled[0][data["hist/length"] == 0], 0.0)
    assert [v for v in group.trainable_variables if "pool_hist" in getattr(v, "path", v.name)]
    again = FeatureGroup.from_config(json.loads(json.dumps(group.get_config())))
    assert again.poolers["hist"].filter_sizes == (2, 3) and again(data).pooled[0].shape == (5, width)


def test_embeddings_are_what_was_looked_up(group):
    """One tensor for each feature with a table, padding being zero."""
    data = batch()
    output = group(tensors(data))
    matrix = {name: table.variable.numpy() for name, table in group.tables.items()}
    squares = [float(tf.reduce_sum(e**2)) for e in output.embeddings]
    assert len(squares) == 6
    np.testing.assert_allclose(squares[0], (lookup(matrix["id"], data["id"]) ** 2).sum(), rtol=1e-5)
    np.testing.assert_allclose(squares[1], (lookup(matrix["hist"], data["hist"]) ** 2).sum(), rtol=1e-5)


def test_a_row_does_not_depend_on_the_rest_of_the_batch(group):
    data = batch(size=6)
    whole = group(tensors(data))
    for row in range(6):
        alone = group(tensors({name: array[row : row + 1] for name, array in data.items()}))
        for one, many in zip(tf.nest.flatten(alone[:4]), tf.nest.flatten(whole[:4]), strict=True):
            np.testing.assert_allclose(one[0], many[row], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("extra", [1, 4])
def test_padding_changes_nothing(group, extra):
    data = batch()
    wider = dict(data)
    for name in ("hist", "tags", "steps"):
        pads = [(0, 0), (0, extra), (0, 1)][: data[name].ndim]
        wider[name] = np.pad(data[name], pads, constant_values=-1)
    wider["tags/weight"] = np.pad(data["tags/weight"], [(0, 0), (0, extra)])
    output, padded = group(tensors(data)), group(tensors(wider))
    for got, expected in zip(padded.plain + padded.pooled, output.plain + output.pooled, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    for got, expected in zip(padded.sequences, output.sequences, strict=True):
        steps = expected.shape[1]
        np.testing.assert_allclose(got[:, :steps], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(got[:, steps:], tf.zeros_like(got[:, steps:]))


def test_xla_equals_eager(group):
    data = tensors(batch())
    compiled = tf.function(lambda data: tuple(group(data)[:3]), jit_compile=True, autograph=False)
    for got, expected in zip(tf.nest.flatten(compiled(data)), tf.nest.flatten(group(data)[:3]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_shared_table_is_one_object_and_gets_one_sparse_gradient():
    query = feature("query", "id", table="word")
    features = [query, feature("title", "id_sequence", table="word")]
    tables = create_tables([*features, feature("other", "id")])
    first, second = FeatureGroup(features, tables=tables), FeatureGroup([query], tables=tables)
    data = {
        "query": tf.constant([3, 4]),
        "title": tf.constant([[5, -1], [3, 6]]),
        "title/length": tf.constant([1, 2]),
    }
    assert list(first.tables) == ["word"] and first.tables["word"] is second.tables["word"]
    with tf.GradientTape() as tape:
        output = first(data)
        loss = tf.reduce_sum(output.plain[0]) + tf.reduce_sum(output.sequences[0])
        loss += tf.reduce_sum(second(data).plain[0])
    gradient = tape.gradient(loss, tables["word"].variable)
    assert isinstance(gradient, tf.IndexedSlices)
    counts = tf.convert_to_tensor(gradient).numpy()[:, 0]
    np.testing.assert_array_equal(counts, [0, 0, 0, 3, 2, 1, 1, 0, 0, 0, 0])


def test_missing_table_is_named():
    with pytest.raises(ValueError, match=r"`tables` lacks \['id'\]"):
        FeatureGroup([feature("id", "id")], tables={})


@pytest.mark.parametrize(
    "described, message",
    [
        (feature("a", "id", dim=0), "'a' consists of ids"),
        (feature("a", "none"), "'a' has no numbers"),
        (feature("a", "id_sequence", sequence_combiner="mean"), "Received: 'mean'"),
        (
            feature("a", "id_sequence", sequence_combiner="text_cnn"),
            "`sequence_combiner of feature 'a'` needs the parameter 'filter_sizes'",
        ),
    ],
)
def test_unusable_feature_is_refused(described, message):
    with pytest.raises(ValueError, match=message):
        FeatureGroup([described])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_casts_rows_not_tables(policy):
    group = FeatureGroup(FEATURES, dtype=policy)
    output = group(tensors(batch()))
    assert all(t.dtype == group.compute_dtype for t in output.plain + output.pooled + output.sequences)
    assert all(t.dtype == tf.float32 for t in output.embeddings)
    assert all(table.variable.dtype == tf.float32 for table in group.tables.values())


def test_numbers_are_embedded_in_float32_under_mixed_precision():
    """70000 is no float16, and 0.001 * 70000 is."""
    constant = {"class_name": "Constant", "config": {"value": 0.001}}
    group = FeatureGroup([feature("x", "values", rows=1, initializer=constant)], dtype="mixed_float16")
    np.testing.assert_allclose(
        group({"x": tf.constant([[70000.0]])}).plain[0], np.full((1, 4), 70), rtol=1e-3
    )


def test_config_round_trip_through_json(group):
    config = json.loads(json.dumps(group.get_config()))
    copy = FeatureGroup.from_config(config)
    copy.build(None)
    copy.set_weights(group.get_weights())
    data = tensors(batch())
    for got, expected in zip(tf.nest.flatten(copy(data)), tf.nest.flatten(group(data)), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.filterwarnings("ignore:When providing `inputs` as a dict")
def test_functional_model_saves_and_loads(tmp_path):
    inputs = {
        "id": keras.Input((), dtype="int64", name="id"),
        "hist": keras.Input((None,), dtype="int64", name="hist"),
        "hist/length": keras.Input((), dtype="int32", name="hist_length"),
    }
    hidden = InputLayer(do_batch_norm=True, dropout_rate=0.5)(FeatureGroup(FEATURES[:2])(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(hidden))
    data = tensors({name: array for name, array in batch().items() if name in inputs})
    model.compile("sgd", "mse")
    model.fit(data, np.ones((5, 1)), verbose=0)
    expected = model(data, training=False)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(data, training=False), expected, rtol=1e-6)


def traced(layer, arrays, **kwargs):
    """Types and shapes of a group's output, in a graph with open dimensions, and that graph's operations."""
    graph = tf.__internal__.FuncGraph("shapes")
    with graph.as_default():
        given = {
            name: tf.compat.v1.placeholder(
                x.dtype, [None, *(x.shape[1:] if "plain" in name else [None] * (x.ndim - 1))]
            )
            for name, x in arrays.items()
        }
        found = layer(given, training=True, **kwargs)
    return [[(x.dtype, str(x.shape)) for x in part] for part in found], len(graph.get_operations())


def test_shapes_alone_are_those_of_looking_up_and_come_from_one_of_the_features_that_are_alike():
    arrays, features = batch(), list(FEATURES)
    for copy in range(4):
        for described in FEATURES:
            name = f"{described['name']}{copy}"
            table = described["table"] and name
            features.append({**described, "name": name, "table": table})
            for part in ("", "/length", "/weight"):
                if described["name"] + part in arrays:
                    arrays[name + part] = arrays[described["name"] + part]
    arrays = {name: np.asarray(x) for name, x in arrays.items()}
    layer = FeatureGroup(features)
    only, few = traced(layer, arrays, only_shapes=True)
    variables = len(layer.weights)
    looked_up, many = traced(layer, arrays)
    assert only == looked_up and few < many / 2
    assert variables == len(layer.weights) == 5 * len(FeatureGroup(FEATURES).tables) + 5


def test_a_feature_that_cannot_be_looked_up_is_found_though_a_like_one_can():
    layer = FeatureGroup([feature("a", "values", rows=2), feature("b", "values", rows=2)])
    with tf.__internal__.FuncGraph("shapes").as_default():
        given = {"a": tf.zeros([3, 2]), "b": tf.zeros([3, 4])}
        with pytest.raises((ValueError, tf.errors.InvalidArgumentError), match="2"):
            layer(given, only_shapes=True)
        with pytest.raises((KeyError, RuntimeError)):
            layer({"a": tf.zeros([3, 2])}, only_shapes=True)
