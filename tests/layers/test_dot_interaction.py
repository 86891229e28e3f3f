import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from easyssl.layers import DotInteraction
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
FIELDS = [RNG.normal(size=(3, 4)).astype("float32") for _ in range(4)]


def reference(fields, self_interaction, skip_gather):
    rows = []
    for row in np.stack(fields, axis=1).astype("float64"):
        values = []
        for i in range(len(row)):
            for j in range(len(row)):
                wanted = i > j or (self_interaction and i == j)
                if wanted or skip_gather:
                    values.append(row[i] @ row[j] if wanted else 0.0)
        rows.append(values)
    return np.array(rows)


@pytest.mark.parametrize(
    ("kwargs", "width"), [({}, 6), ({"self_interaction": True}, 10), ({"skip_gather": True}, 16)]
)
def test_gate(kwargs, width):
    run_layer_test(
        DotInteraction,
        kwargs,
        FIELDS,
        expected_output_shape=(3, width),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        policies=("mixed_bfloat16",),
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.booleans(), st.booleans(), st.integers(0, 99))
def test_it_is_the_products_in_order(count, self_interaction, skip_gather, seed):
    fields = list(np.random.default_rng(seed).normal(size=(count, 2, 3)).astype("float32"))
    layer = DotInteraction(self_interaction, skip_gather)
    expected = reference(fields, self_interaction, skip_gather)
    for inputs in (fields, np.stack(fields, axis=1)):
        np.testing.assert_allclose(layer(inputs), expected, rtol=1e-5, atol=1e-5)


def test_one_field_alone_has_no_products():
    assert DotInteraction()(FIELDS[:1]).shape == (3, 0)


@pytest.mark.skipif(hasattr(keras, "ops"), reason="TensorFlow Recommenders has layers of tf_keras only")
@pytest.mark.parametrize("self_interaction", [False, True])
@pytest.mark.parametrize("skip_gather", [False, True])
def test_it_agrees_with_tensorflow_recommenders(self_interaction, skip_gather):
    interaction = pytest.importorskip("tensorflow_recommenders").layers.feature_interaction
    theirs = interaction.DotInteraction(self_interaction=self_interaction, skip_gather=skip_gather)
    ours = DotInteraction(self_interaction, skip_gather)
    fields = [tf.constant(field) for field in FIELDS]
    np.testing.assert_allclose(ours(fields), theirs(fields), rtol=1e-6, atol=1e-6)


def test_fields_of_different_widths_are_refused():
    with pytest.raises(ValueError, match=r"DotInteraction 'dot' needs fields of one width.*\[4, 2\]"):
        DotInteraction(name="dot")([tf.zeros([3, 4]), tf.zeros([3, 2])])
