import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional.prototypes import prototype_contrast
from easyssl.layers import PrototypeContrast
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
LEFT, RIGHT, PROTOTYPES = RNG.normal(size=(3, 5, 4)).astype("float32")
ASSIGNMENTS = RNG.uniform(size=(5, 5)).astype("float32")
LENGTHS = np.array([3, 0, 2, 1, 5], "int32")
IDS = np.array([7, 7, 8, 9, 8])
OWN = np.argmax(ASSIGNMENTS, axis=1)
INPUTS = [LEFT, RIGHT, ASSIGNMENTS, PROTOTYPES]


def expected(**options):
    options.setdefault("weights", None)
    return prototype_contrast(
        *(tf.constant(x) for x in (LEFT, RIGHT, PROTOTYPES)), tf.constant(OWN, tf.int32), **options
    )


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ({"loss_weight": 0.3}, INPUTS),
        ({"denominator": "decoupled", "false_negative_mask": "ids"}, [*INPUTS, LENGTHS, IDS]),
    ],
)
def test_gate(options, inputs):
    run_layer_test(
        PrototypeContrast,
        options,
        inputs,
        expected_output_shape=(),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        float32_output=True,
        tolerance=1e-4,
    )


@pytest.mark.parametrize("denominator", ["standard", "decoupled"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("negatives", ["both_views", "other_view"])
def test_value_and_name(denominator, similarity, negatives):
    options = {
        "denominator": denominator,
        "similarity": similarity,
        "negatives": negatives,
        "temperature": 0.4,
    }
    layer = PrototypeContrast(loss_weight=0.25, **options, name="scl")
    with collect_losses() as collected:
        output = layer(INPUTS, training=True)
        layer(INPUTS, training=False)
    ((name, term),) = collected.terms.items()
    assert name == "scl_contrast_loss"
    np.testing.assert_allclose(term.value, expected(**options), rtol=1e-6)
    np.testing.assert_allclose([output, term.weighted], [0.25 * term.value] * 2, rtol=1e-6)


def test_lengths_and_ids():
    weights = tf.constant(LENGTHS > 0, tf.float32)
    got = PrototypeContrast()([*INPUTS, LENGTHS])
    np.testing.assert_allclose(got, expected(weights=weights), rtol=1e-6)
    layer = PrototypeContrast(false_negative_mask="ids")
    np.testing.assert_allclose(layer([*INPUTS, IDS]), expected(ids=tf.constant(IDS)), rtol=1e-6)
    np.testing.assert_array_equal(layer([*INPUTS, IDS[:, None]]), layer([*INPUTS, IDS]))
    both = PrototypeContrast(false_negative_mask="ids")([*INPUTS, LENGTHS, IDS])
    np.testing.assert_allclose(both, expected(ids=tf.constant(IDS), weights=weights), rtol=1e-6)


def test_zero_rows_do_not_count():
    left = LEFT.copy()
    left[1] = 0
    got = PrototypeContrast()([left, *INPUTS[1:]])
    np.testing.assert_allclose(got, expected(weights=tf.constant([1.0, 0, 1, 1, 1])), rtol=1e-6)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_gradient_into_prototypes_is_a_switch(allowed):
    tensors = [tf.constant(x) for x in INPUTS]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = PrototypeContrast(prototype_gradient=allowed)(tensors)
    left, right, assignments, prototypes = tape.gradient(loss, tensors)
    assert np.any(left != 0) and np.any(right != 0) and assignments is None
    assert (prototypes is not None) == allowed


@pytest.mark.parametrize(
    ("options", "inputs"),
    [
        ({}, INPUTS[:3]),
        ({}, [*INPUTS, LENGTHS, IDS]),
        ({}, [LEFT, RIGHT[:, :2], ASSIGNMENTS, PROTOTYPES]),
        ({}, [LEFT, RIGHT, ASSIGNMENTS, PROTOTYPES[:3]]),
        ({"false_negative_mask": "ids"}, INPUTS),
    ],
)
def test_other_inputs_are_refused(options, inputs):
    with pytest.raises(ValueError, match=r"PrototypeContrast 'scl' takes two views \[batch, dim\]"):
        PrototypeContrast(**options, name="scl")(inputs)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"similarity": "dots"}, "did you mean 'dot'"),
        ({"denominator": "standart"}, "did you mean 'standard'"),
        ({"negatives": "both_view"}, "did you mean 'both_views'"),
        ({"false_negative_mask": "id"}, "unknown false_negative_mask 'id'"),
    ],
)
def test_bad_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        PrototypeContrast(**options)
