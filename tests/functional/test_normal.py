import numpy as np
import tensorflow as tf
from scipy import stats

from easyssl.functional.normal import normal

KEY = tf.constant([5, 3], tf.int64)


def test_distribution():
    numbers = normal(KEY, [200, 100]).numpy().ravel()
    assert stats.kstest(numbers, "norm").pvalue > 0.01
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.02


def test_same_key_same_numbers_everywhere():
    compiled = tf.function(normal, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(KEY, [3, 4]), normal(KEY, [3, 4]), atol=1e-5)
    np.testing.assert_allclose(normal(KEY, [5, 4])[:3], normal(KEY, [3, 4]), atol=1e-6)
    assert not np.array_equal(normal(KEY, [3]), normal(KEY + [0, 1], [3]))


def test_shapes():
    assert normal(KEY, []).shape == () and normal(KEY, [0, 2]).shape == (0, 2)
    assert normal(KEY, tf.shape(tf.zeros([2, 3]))).shape == (2, 3)
