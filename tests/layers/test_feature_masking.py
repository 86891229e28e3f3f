import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.functional.feature_masking import correlated_masks
from easyssl.layers import FeatureMasking
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

WIDTHS = (2, 3, 1, 2)
FIELDS = [
    np.random.default_rng(i).uniform(1, 2, (5, width)).astype("float32") for i, width in enumerate(WIDTHS)
]
INFORMATION = [[2.0, 0.1, 0.9, 0.3], [0.1, 2.0, 0.4, 0.2], [0.9, 0.4, 2.0, 0.0], [0.3, 0.2, 0.0, 2.0]]
CORRELATED = {"strategy": "correlated", "mutual_information": INFORMATION}


def hidden(view):
    """Which fields of a concatenated view are the default embedding, that is, zero; the same in all rows."""
    fields = tf.split(view, WIDTHS, axis=-1)
    masks = np.array([[not field[row].any() for field in map(np.asarray, fields)] for row in range(5)])
    assert (masks == masks[0]).all()
    for mask, field, given in zip(masks[0], fields, FIELDS, strict=True):
        np.testing.assert_array_equal(field, 0 * given if mask else given)
    return tuple(masks[0].tolist())


def draws(layer, count):
    return [tuple(map(hidden, layer(FIELDS, training=True))) for _ in range(count)]


@pytest.mark.parametrize("options", [{}, CORRELATED, {"complementary": False}])
def test_gate(options):
    run_layer_test(
        FeatureMasking,
        {"seed": 1, **options},
        FIELDS,
        expected_output_shape=[(5, 8), (5, 8)],
        expected_num_trainable_weights=1,
        expected_num_non_trainable_weights=1,
        is_random=True,
    )


def test_gate_of_frozen_defaults():
    run_layer_test(
        FeatureMasking,
        {"seed": 1, "trainable_default": False},
        FIELDS,
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=2,
        is_random=True,
    )


@pytest.mark.parametrize("trained", [True, False])
def test_frozen_defaults_stay_zero(trained):
    inputs = [keras.Input([width]) for width in WIDTHS]
    first, _ = FeatureMasking(seed=1, trainable_default=trained, name="views")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1)(first))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    model.fit(FIELDS, np.ones([5, 1], "float32"), epochs=2, verbose=0)
    assert np.any(model.get_layer("views").default_embedding.numpy() != 0) == trained


def test_gate_of_lists():
    run_layer_test(
        FeatureMasking,
        {"seed": 1, "concat": False},
        FIELDS,
        expected_output_shape=2 * [field.shape for field in FIELDS],
        is_random=True,
    )


def test_views_are_complementary_and_vary():
    seen = draws(FeatureMasking(seed=1), 60)
    for first, second in seen:
        assert [not x for x in first] == list(second) and sum(first) == 2
    assert len(set(seen)) == 6  # all choices of two of four


def test_correlated_views_hide_a_seed_and_its_partners():
    seen = draws(FeatureMasking(seed=1, **CORRELATED), 60)
    groups = {tuple(row) for row in correlated_masks(np.array(INFORMATION), 3).tolist()}
    assert {first for first, _ in seen} == groups
    assert all(sum(first) == 3 and [not x for x in first] == list(second) for first, second in seen)


def test_views_that_are_not_complementary_are_independent():
    seen = draws(FeatureMasking(seed=1, complementary=False, num_masked=1), 100)
    assert {sum(mask) for pair in seen for mask in pair} == {1}
    assert len(set(seen)) == 16


def test_evaluation_shows_everything():
    for view in FeatureMasking()(FIELDS, training=False):
        np.testing.assert_array_equal(view, np.concatenate(FIELDS, axis=1))
    for view in FeatureMasking(concat=False)(FIELDS):
        for field, given in zip(view, FIELDS, strict=True):
            np.testing.assert_array_equal(field, given)


def test_gradients_go_to_shown_fields_and_defaults_of_hidden_ones():
    layer = FeatureMasking(seed=1)
    fields = list(map(tf.constant, FIELDS))
    layer(fields)
    with tf.GradientTape() as tape:
        tape.watch(fields)
        first, _ = layer(fields, training=True)
        total = tf.reduce_sum(first)
    *to_fields, to_default = tape.gradient(total, [*fields, *layer.trainable_weights])
    mask = hidden(first)
    for gradient, is_hidden in zip(to_fields, mask, strict=True):
        np.testing.assert_array_equal(gradient, np.full(gradient.shape, 0.0 if is_hidden else 1.0))
    np.testing.assert_array_equal(to_default, np.repeat(np.where(mask, 5.0, 0.0), WIDTHS))


def test_defaults_are_trained_vectors_of_each_field():
    layer = FeatureMasking(seed=1)
    layer(FIELDS)
    default = np.arange(1, 9, dtype="float32")
    layer.default_embedding.assign(default)
    first, second = layer(FIELDS, training=True)
    whole = np.concatenate(FIELDS, axis=1)
    np.testing.assert_allclose(first + second, whole + default, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["npy", "json"])
def test_the_matrix_comes_from_a_file_and_stays_in_the_config(tmp_path, suffix):
    path = tmp_path / f"mi.{suffix}"
    if suffix == "npy":
        np.save(path, INFORMATION)
    else:
        path.write_text(json.dumps({"features": ["a", "b", "c", "d"], "mutual_information": INFORMATION}))
    layer = FeatureMasking("correlated", mutual_information=str(path), seed=1)
    path.unlink()
    again = FeatureMasking.from_config(layer.get_config())
    assert layer.get_config()["mutual_information"] == INFORMATION
    assert draws(layer, 5) == draws(again, 5) == draws(FeatureMasking(seed=1, **CORRELATED), 5)


def test_mixed_precision_keeps_fields_of_other_types():
    layer = FeatureMasking(dtype="mixed_float16")
    view, _ = layer([tf.constant(field) for field in FIELDS], training=True)
    assert view.dtype == tf.float16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "other"}, "strategy"),
        ({"strategy": "correlated"}, "needs `mutual_information`"),
        ({"mutual_information": INFORMATION}, "no use for"),
        ({"num_masked": 0}, "num_masked"),
        ({**CORRELATED, "mutual_information": [[1.0, 2.0], [3.0, 1.0]]}, "symmetric"),
        ({**CORRELATED, "mutual_information": [[1.0, 2.0]]}, "symmetric"),
        ({**CORRELATED, "mutual_information": "absent.npy"}, "absent.npy"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        FeatureMasking(**options)


@pytest.mark.parametrize(
    ("options", "inputs", "message"),
    [
        ({}, FIELDS[:1], "at least two fields"),
        ({}, FIELDS[0], "only_output_feature_list"),
        ({}, [FIELDS[0], FIELDS[1][:, None]], "at least two fields"),
        ({"num_masked": 4}, FIELDS, "num_masked"),
        (CORRELATED, FIELDS[:3], "has 4 fields, the input has 3"),
    ],
)
def test_inputs_that_do_not_suit_are_refused(options, inputs, message):
    with pytest.raises(ValueError, match=message):
        FeatureMasking(**options)(inputs)


def test_two_fields_are_one_each():
    information = {"strategy": "correlated", "mutual_information": [[1.0, 0.5], [0.5, 1.0]]}
    for options in ({}, information):
        layer = FeatureMasking(seed=1, **options)
        first, second = layer(FIELDS[:2], training=True)
        shown = np.concatenate([np.any(first, axis=0), np.any(second, axis=0)])
        assert shown.sum() == 5


def test_it_is_in_a_model_that_trains_one_encoder_on_both_views():
    inputs = [keras.Input([width]) for width in WIDTHS]
    encoder = keras.layers.Dense(2)
    first, second = FeatureMasking(seed=1)(inputs)
    model = keras.Model(inputs, [encoder(first), encoder(second)])
    a, b = model(FIELDS, training=False)
    np.testing.assert_array_equal(a, b)
