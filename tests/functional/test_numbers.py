import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.numbers import digits, num_digits, whole_numbers


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 2**33))
def test_the_number_of_digits_is_the_smallest_that_suffices(base):
    assert base ** num_digits(base) >= 2**32
    assert num_digits(base) == 1 or base ** (num_digits(base) - 1) < 2**32


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4), st.integers(2, 300))
def test_digits_make_up_the_number(numbers, base):
    found = digits(tf.constant(numbers, tf.int64), base).numpy()
    assert found.min() >= 0 and found.max() < base
    assert [sum(int(d) * base**p for p, d in enumerate(row)) for row in found] == numbers


def test_numbers_are_cut_towards_zero_and_kept_in_range():
    x = tf.constant([1.99, -1.99, 0.7, 3e9, -3e9, np.nan, 1e38])
    largest, smallest = 2**31 - 128, 2**31
    expected = [19, 2**32 - 19, 7, largest, smallest, 0, largest]
    assert whole_numbers(x, 10.0).numpy().tolist() == expected
