import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.layers import FM
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
FIELDS = [RNG.normal(size=(4, 3)).astype("float32") for _ in range(5)]


def reference(fields):
    """The products of all pairs, one by one."""
    fields = np.stack(fields, axis=1).astype("float64")
    total = np.zeros_like(fields[:, 0])
    for j in range(fields.shape[1]):
        for i in range(j):
            total += fields[:, i] * fields[:, j]
    return total


@pytest.mark.parametrize(
    ("use_variant", "inputs", "shape"), [(False, FIELDS, (4, 1)), (True, np.stack(FIELDS, axis=1), (4, 3))]
)
def test_gate(use_variant, inputs, shape):
    run_layer_test(
        FM,
        {"use_variant": use_variant},
        inputs,
        expected_output_shape=shape,
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 4), st.integers(0, 99))
def test_it_is_the_sum_over_pairs(batch, count, dim, seed):
    fields = list(np.random.default_rng(seed).normal(size=(count, batch, dim)).astype("float32"))
    expected = reference(fields)
    np.testing.assert_allclose(FM(use_variant=True)(fields), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(FM()(fields), expected.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-5)


def test_a_list_and_a_tensor_are_the_same():
    np.testing.assert_array_equal(FM()(FIELDS), FM()(np.stack(FIELDS, axis=1)))


def test_one_field_has_no_products():
    np.testing.assert_array_equal(FM()(FIELDS[:1]), np.zeros([4, 1]))


def test_half_precision_does_not_lose_the_difference_of_squares():
    fields = [np.full([1, 8], 200.0, "float32"), np.full([1, 8], 1.0, "float32")]
    assert float(FM(dtype="mixed_float16")(fields)[0, 0]) == 1600.0


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (tf.zeros([4, 6]), r"takes a list of fields \[batch, dim\].*Received shapes: \[\(4, 6\)\]"),
        ([tf.zeros([4, 3]), tf.zeros([4, 2])], r"needs fields of one width. Received widths: \[3, 2\]"),
    ],
)
def test_what_is_no_list_of_equal_fields_is_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        FM(name="fm")(inputs)
