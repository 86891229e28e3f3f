import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional.field_interaction import dot_products, pair_products, squeeze_fields


def operations(function, *specs):
    return len(tf.function(function, autograph=False).get_concrete_function(*specs).graph.get_operations())


@pytest.mark.parametrize("inner", [False, True])
def test_products_of_pairs_take_operations_by_fields(inner):
    """The graph grows with the number of fields, not with that of pairs."""

    def size(count):
        mapped = tf.TensorSpec([None, 4 * count * (count - 1) // 2], tf.float32)
        fields = [tf.TensorSpec([None, 4], tf.float32)] * count
        return operations(lambda m, *f: pair_products(m, f, inner), mapped, *fields)

    assert size(40) - size(30) == size(30) - size(20)


def test_dot_products_and_squeezing_take_the_same_operations_for_any_number_of_fields():
    sizes = {
        operations(lambda x: dot_products(x, False, False), tf.TensorSpec([None, n, 4])) for n in (5, 50)
    }
    assert len(sizes) == 1
    few, many = (
        operations(lambda *x: squeeze_fields(x, 2), *[tf.TensorSpec([None, 4], tf.float32)] * n)
        for n in (5, 50)
    )
    assert many - few == 45  # the inputs


def test_where_nothing_is_wanted_infinity_does_not_matter():
    fields = tf.constant([[[np.inf], [1.0]]])
    found = dot_products(fields, self_interaction=False, keep_square=True).numpy()
    np.testing.assert_array_equal(found, [[0, 0, np.inf, 0]])
