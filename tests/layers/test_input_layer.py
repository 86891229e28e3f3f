"""InputLayer: the forms of an input block, normalisation and dropout."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers.feature_group import GroupOutput
from easyssl.layers.input_layer import InputLayer

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)


def normal(*shape):
    return tf.constant(RNG.normal(size=shape), tf.float32)


def group(batch=6, widths=(3, 2), pooled=(4,), sequences=(4,)):
    return GroupOutput(
        plain=[normal(batch, width) for width in widths],
        pooled=[normal(batch, width) for width in pooled],
        sequences=[normal(batch, 5, width) for width in sequences],
        lengths=[tf.range(batch) + i for i in range(len(sequences))],
        embeddings=[],
    )


def features(output):
    return [t.numpy() for t in output.plain + output.pooled]


def test_default_is_the_concatenation_plain_first():
    given = group()
    np.testing.assert_array_equal(InputLayer()(given), np.concatenate(features(given), axis=1))


def test_feature_list():
    given = group()
    got = InputLayer(only_output_feature_list=True)(given)
    assert isinstance(got, list)
    for one, expected in zip(got, features(given), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_3d_tensor():
    given = group(widths=(4, 4))
    got = InputLayer(only_output_3d_tensor=True)(given)
    np.testing.assert_array_equal(got, np.stack(features(given), axis=1))


def test_3d_tensor_needs_equal_widths():
    with pytest.raises(ValueError, match=r"needs equal widths. Received: \[3, 2, 4\]"):
        InputLayer(only_output_3d_tensor=True)(group())


def test_2d_tensor_and_list():
    given = group()
    got = InputLayer(output_2d_tensor_and_feature_list=True)(given)
    assert isinstance(got, tuple) and len(got) == 2 and isinstance(got[1], list)
    np.testing.assert_array_equal(got[0], np.concatenate(features(given), axis=1))
    for one, expected in zip(got[1], features(given), strict=True):
        np.testing.assert_array_equal(one, expected)


def test_sequence_format():
    given = group(pooled=(), sequences=(4, 2))
    sequence, lengths, plain = InputLayer(output_seq_and_normal_feature=True)(given)
    np.testing.assert_array_equal(sequence, np.concatenate(given.sequences, axis=-1))
    np.testing.assert_array_equal(lengths, given.lengths[0])
    np.testing.assert_array_equal(plain, np.concatenate(given.plain, axis=-1))


def test_sequence_format_without_plain_features():
    got = InputLayer(output_seq_and_normal_feature=True)(group(widths=(), pooled=()))
    assert isinstance(got, tuple) and got[2] is None


def test_sequence_format_as_lists():
    given = group(sequences=(4, 2))
    layer = InputLayer(output_seq_and_normal_feature=True, concat_seq_feature=False)
    sequences, lengths, plain = layer(given)
    assert [s.shape[-1] for s in sequences] == [4, 2] and [p.shape[-1] for p in plain] == [3, 2]
    np.testing.assert_array_equal(lengths, given.lengths[0])


def test_sequence_format_ignores_normalisation_and_dropout():
    given = group()
    layer = InputLayer(
        output_seq_and_normal_feature=True, do_batch_norm=True, dropout_rate=0.5, feature_dropout_rate=0.5
    )
    sequence, _, plain = layer(given, training=True)
    np.testing.assert_array_equal(sequence, given.sequences[0])
    np.testing.assert_array_equal(plain, np.concatenate(given.plain, axis=-1))
    assert not layer.weights


def test_sequence_format_needs_a_sequence():
    with pytest.raises(ValueError, match="needs at least one sequence"):
        InputLayer(output_seq_and_normal_feature=True)(group(pooled=(), sequences=()))


def test_other_formats_need_pooled_sequences():
    with pytest.raises(ValueError, match="sequence_combiner"):
        InputLayer()(group(pooled=(4,), sequences=(4, 4)))


def batch_normalised(x):
    return (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-3)


def layer_normalised(x):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12)


@pytest.mark.parametrize(
    "flag, expected", [("do_batch_norm", batch_normalised), ("do_layer_norm", layer_normalised)]
)
def test_tensor_and_list_are_normalised_apart(flag, expected):
    given = group(batch=32)
    flat, parts = InputLayer(output_2d_tensor_and_feature_list=True, **{flag: True})(given, training=True)
    whole = np.concatenate(features(given), axis=1).astype(np.float64)
    np.testing.assert_allclose(flat, expected(whole), rtol=1e-3, atol=1e-4)
    for one, feature in zip(parts, features(given), strict=True):
        np.testing.assert_allclose(one, expected(feature.astype(np.float64)), rtol=1e-3, atol=1e-4)


def test_only_the_needed_normalisations_exist():
    given = group()
    for kwargs, count in [
        ({}, 4),
        ({"only_output_feature_list": True}, 12),
        ({"output_2d_tensor_and_feature_list": True}, 16),
        ({"feature_dropout_rate": 0.5}, 13),
    ]:
        layer = InputLayer(do_batch_norm=True, **kwargs)
        layer(given)
        assert len(layer.weights) == count


def test_batch_norm_updates_once_per_call():
    given = group()
    layer = InputLayer(do_batch_norm=True)
    layer(given, training=True)
    mean = np.concatenate(features(given), axis=1).mean(0)
    moving = next(w for w in layer.weights if "moving_mean" in w.name)
    np.testing.assert_allclose(moving, 0.01 * mean, rtol=1e-4, atol=1e-6)
    layer(given, training=True)
    np.testing.assert_allclose(moving, (0.99 * 0.01 + 0.01) * mean, rtol=1e-4, atol=1e-6)


def test_both_normalisations_are_refused():
    with pytest.raises(ValueError, match="exclude each other"):
        InputLayer(do_batch_norm=True, do_layer_norm=True)


def test_dropout_is_elementwise_and_scaled():
    given = group(batch=2000)
    got = np.asarray(InputLayer(dropout_rate=0.25, seed=1)(given, training=True))
    whole = np.concatenate(features(given), axis=1)
    kept = got != 0
    np.testing.assert_allclose(got[kept], (whole / 0.75)[kept], rtol=1e-5)
    assert abs(kept.mean() - 0.75) < 0.02
    np.testing.assert_array_equal(InputLayer(dropout_rate=0.25)(given, training=False), whole)


def test_feature_dropout_drops_whole_features_for_the_whole_batch():
    given = group(widths=(3,) * 40, pooled=(), sequences=())
    layer = InputLayer(feature_dropout_rate=0.25, only_output_feature_list=True, seed=3)
    shares = []
    for _ in range(30):
        got = layer(given, training=True)
        kept = [bool(tf.reduce_any(t != 0)) for t in got]
        for one, feature, keep in zip(got, given.plain, kept, strict=True):
            np.testing.assert_allclose(one, feature / 0.75 if keep else 0 * feature, rtol=1e-6)
        shares.append(np.mean(kept))
    assert abs(np.mean(shares) - 0.75) < 0.05
    assert len(set(shares)) > 3


def test_feature_dropout_replaces_elementwise_dropout_of_the_2d_tensor():
    given = group(widths=(50, 50), pooled=(), sequences=())
    got = InputLayer(feature_dropout_rate=0.5, dropout_rate=0.5, seed=1)(given, training=True).numpy()
    for part in (got[:, :50], got[:, 50:]):
        assert (part == 0).all() or (part != 0).all()


def test_feature_dropout_rebuilds_the_2d_tensor_from_the_list():
    given = group(batch=64)
    layer = InputLayer(
        feature_dropout_rate=0.5, dropout_rate=0.5, do_batch_norm=True, output_2d_tensor_and_feature_list=True
    )
    for training in (True, False):
        flat, parts = layer(given, training=training)
        np.testing.assert_array_equal(flat, np.concatenate(parts, axis=1))


def test_calls_start_from_the_same_features_and_draw_their_own_masks():
    given = group(batch=50)
    layer = InputLayer(dropout_rate=0.5, seed=1)
    first, second = layer(given, training=True).numpy(), layer(given, training=True).numpy()
    whole = np.concatenate(features(given), axis=1)
    assert (first != second).any()
    for got in (first, second):
        np.testing.assert_allclose(got[got != 0], (2 * whole)[got != 0], rtol=1e-6)


def test_restored_layer_continues_its_masks():
    given = group(batch=50)
    kwargs = {"dropout_rate": 0.5, "feature_dropout_rate": 0.3, "only_output_feature_list": True}
    layer, restored = InputLayer(seed=1, **kwargs), InputLayer(seed=2, **kwargs)
    layer(given, training=True)
    restored(given, training=True)
    restored.set_weights(layer.get_weights())
    for got, expected in zip(restored(given, training=True), layer(given, training=True), strict=True):
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("kwargs", [{"do_batch_norm": True}, {"do_layer_norm": True}, {"dropout_rate": 0.5}])
def test_xla_equals_eager(kwargs):
    given = group()
    layer = InputLayer(output_2d_tensor_and_feature_list=True, **kwargs)
    eager = layer(given, training=False)
    compiled = tf.function(lambda group: layer(group, training=False), jit_compile=True, autograph=False)(
        given
    )
    for got, expected in zip(tf.nest.flatten(compiled), tf.nest.flatten(eager), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_normalises_and_stays_finite(policy):
    layer = InputLayer(do_layer_norm=True, dropout_rate=0.1, dtype=policy)
    given = group()
    given = given._replace(plain=[tf.cast(t, layer.compute_dtype) for t in given.plain])
    given = given._replace(pooled=[tf.cast(t, layer.compute_dtype) for t in given.pooled])
    got = layer(given, training=True)
    assert got.dtype == layer.compute_dtype
    assert bool(tf.reduce_all(tf.math.is_finite(tf.cast(got, tf.float32))))


def test_config_and_weights_round_trip():
    given = group()
    layer = InputLayer(do_batch_norm=True, output_2d_tensor_and_feature_list=True, name="deep")
    layer(given, training=True)
    copy = keras.utils.deserialize_keras_object(keras.utils.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    if not copy.built:  # Keras 3 builds while it deserializes
        copy.build_from_config(layer.get_build_config())
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(given)[0], layer(given)[0])
