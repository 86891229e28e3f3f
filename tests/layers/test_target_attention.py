"""Target attention of feature groups against NumPy in float64."""

import json

import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers.feature_group import FeatureGroup
from easyssl.layers.input_layer import InputLayer
from easyssl.layers.target_attention import AttentionInputs, TargetAttention

pytestmark = pytest.mark.both_keras

NETWORK = {"hidden_units": [5, 1], "use_bn": False, "use_bias": True, "activation": "tanh"}
LENGTHS = np.array([4, 2, 0])


def inputs(key=3, width=4, auxiliary=(2,), seed=0):
    rng = np.random.default_rng(seed)
    history, *rest = (rng.normal(size=(3, 4, dim)).astype(np.float32) for dim in (width, *auxiliary))
    return AttentionInputs(rng.normal(size=(3, key)).astype(np.float32), history, LENGTHS, rest)


def tensors(given, padding=0, fill=0.0):
    def padded(array):
        return tf.constant(np.pad(array, [(0, 0), (0, padding), (0, 0)], constant_values=fill))

    auxiliary = [padded(each) for each in given.auxiliary]
    return AttentionInputs(tf.constant(given.key), padded(given.history), tf.constant(LENGTHS), auxiliary)


def oracle(layer, given):
    """The formula, row by row and step by step."""
    weights = [np.asarray(w, np.float64) for w in layer.get_weights()]
    key, history = given.key.astype(np.float64), given.history.astype(np.float64)
    if layer.transform:
        *weights, w_key, b_key, w_history, b_history = weights
        key, history = key @ w_key + b_key, history @ w_history + b_history
    w1, b1, w2, b2 = weights
    key = np.pad(key, [(0, 0), (0, history.shape[-1] - key.shape[-1])])
    rows = []
    for q, length, *sequences in zip(key, given.lengths, history, *given.auxiliary, strict=True):
        scores = [
            (np.tanh(np.concatenate([q, h, q - h, q * h]) @ w1 + b1) @ w2 + b2)[0]
            for h in sequences[0][:length]
        ]
        shares = np.exp(scores) / np.sum(np.exp(scores)) if scores else np.zeros(0)
        summed = [shares @ each[:length] for each in sequences]
        rows.append(np.concatenate([*summed, q] if layer.need_key else summed))
    return np.stack(rows)


@pytest.mark.parametrize(
    ("key", "kwargs"),
    [(4, {}), (3, {"need_key": False}), (3, {"transform": True}), (6, {"transform": True})],
)
def test_values(key, kwargs):
    given = inputs(key)
    layer = TargetAttention(NETWORK, **kwargs)
    layer(tensors(given))
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    np.testing.assert_allclose(layer(tensors(given)), oracle(layer, given), rtol=2e-5, atol=1e-6)


def test_padding_does_not_matter():
    given = inputs(4)
    layer = TargetAttention({"hidden_units": [5, 1]})
    expected = layer(tensors(given), training=True)
    again = TargetAttention.from_config(layer.get_config())
    again(tensors(given))
    again.set_weights(layer.get_weights())
    padded = tensors(given, padding=3, fill=np.nan)
    np.testing.assert_allclose(again(padded), layer(tensors(given)), rtol=1e-5, atol=1e-6)
    again.set_weights(layer.get_weights())
    np.testing.assert_allclose(again(padded, training=True), layer(tensors(given), training=True), atol=1e-5)
    assert expected.shape == (3, 4 + 2 + 4)
    np.testing.assert_array_equal(expected[2, :6], np.zeros(6))


def test_half_precision_stays_finite_and_xla_gives_the_same():
    given = inputs(4)
    half = TargetAttention(NETWORK, dtype="mixed_float16")
    huge = given._replace(key=given.key * 100, history=given.history * 100)
    assert half(tensors(huge)).dtype == tf.float16 and np.isfinite(half(tensors(huge))).all()
    layer = TargetAttention(NETWORK)
    expected = layer(tensors(given))
    np.testing.assert_allclose(
        tf.function(layer, jit_compile=True, autograph=False)(tensors(given)), expected, rtol=1e-5, atol=1e-6
    )


def test_a_wide_key_needs_a_projection():
    with pytest.raises(ValueError, match="key width 6, history width 4"):
        TargetAttention(NETWORK)(tensors(inputs(6)))


def feature(name, kind="id", **kwargs):
    start = {"class_name": "RandomNormal", "config": {"stddev": 1.0}}
    base = {"name": name, "kind": kind, "table": name, "rows": 9, "dim": 2, "width": 2, "combiner": "sum"}
    base |= {"weighted": False, "initializer": start, "max_seq_len": 0, "sequence_combiner": ""}
    return {**base, **kwargs}


def test_a_group_appends_its_attentions():
    attention = {"keys": ["brand", "cate"], "histories": ["brands", "cates"], "auxiliary": ["prices"]}
    attention |= {"name": "a", "attention_dnn": NETWORK, "transform": False, "need_key": True}
    group = FeatureGroup(
        [feature("brand"), feature("user")],
        attentions=[attention],
        attention_features=[
            feature("cate"),
            feature("brands", "id_sequence", table="brand", max_seq_len=3),
            feature("cates", "id_sequence", table="cate"),
            feature("prices", "value_sequence", table=None, dim=0, width=1),
        ],
    )
    json.dumps(group.get_config())
    brands, cates = np.array([[1, 2, 3, 4], [5, -1, -1, -1]]), np.array([[7, 7, 8], [0, -1, -1]])
    given = {"brand": [1, 5], "user": [0, 1], "cate": [7, -1], "brands": brands, "cates": cates}
    given |= {"prices": np.float32([[1, 2, 3], [4, 0, 0]])}
    given |= {f"{name}/length": np.int32([3, 1]) for name in ("cates", "prices")}
    given["brands/length"] = np.int32([4, 1])
    given = {name: tf.constant(value) for name, value in given.items()}
    output = group(given)
    assert [table.name for table in group.tables.values()] == ["table_brand", "table_user", "table_cate"]
    assert [len(part) for part in output] == [2, 0, 0, 0, 5, 1]

    tables = {name: np.asarray(table.variable) for name, table in group.tables.items()}
    key = np.stack([[*tables["brand"][1], *tables["cate"][7]], [*tables["brand"][5], 0, 0]])
    history = np.concatenate([tables["brand"][brands[:, :3]], tables["cate"][cates]], axis=-1)
    layer = group.attention_layers[0]
    prices = np.asarray(given["prices"])[..., None]
    expected = oracle(layer, AttentionInputs(key, history, np.array([3, 1]), [prices]))
    np.testing.assert_allclose(output.attended[0], expected, rtol=2e-5, atol=1e-6)
    flat, listed = InputLayer(output_2d_tensor_and_feature_list=True)(output)
    assert flat.shape == (2, 2 + 2 + 9) and [each.shape[1] for each in listed] == [2, 2, 9]

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(InputLayer()(group(given))))
    sources = [table.variable for table in group.tables.values()]
    gradients = tape.gradient(loss, sources)
    assert all(gradient is not None for gradient in gradients)
