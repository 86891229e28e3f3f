import numpy as np
import tensorflow as tf

from easyssl.functional.frequency import hash_buckets, log_probability, updated_gap


def murmur(x, start):
    """The finalizer, in integers of Python."""
    x = (x + start) % 2**64
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        x = (x ^ (x >> 33)) * factor % 2**64
    return x >> 33


def test_hash_equals_its_definition_everywhere():
    ids = [0, 1, -1, 2**62, -(2**63), 12345]
    expected = [[murmur(i % 2**64, k * 0x9E3779B97F4A7C15 % 2**64) % 97 for i in ids] for k in (1, 2, 3)]
    compiled = tf.function(lambda x: hash_buckets(x, 97, 3), jit_compile=True, autograph=False)
    np.testing.assert_array_equal(hash_buckets(tf.constant(ids, tf.int64), 97, 3), expected)
    np.testing.assert_array_equal(compiled(tf.constant(ids, tf.int64)), expected)
    np.testing.assert_array_equal(
        hash_buckets(tf.constant(ids[:3], tf.int32), 97, 3), np.array(expected)[:, :3]
    )


def test_hashes_spread_evenly_and_independently():
    buckets = hash_buckets(tf.range(20000), 50, 2).numpy()
    for row in buckets:
        counts = np.bincount(row, minlength=50)
        assert np.sum((counts - 400) ** 2 / 400) < 90  # chi-square with 49 degrees of freedom, p = 0.0003
    both = np.bincount(buckets[0] * 50 + buckets[1], minlength=2500)
    assert np.sum((both - 8) ** 2 / 8) < 2750


def test_gaps():
    gap, last = tf.constant([4.0, 0.0, 1.0]), tf.constant([7, 0, 9], tf.int64)
    got = updated_gap(gap, last, tf.constant(10, tf.int64), 0.1)
    np.testing.assert_allclose(got, [0.9 * 4 + 0.1 * 3, 10.0, 1.0])
    np.testing.assert_allclose(updated_gap(gap, last, tf.constant(10, tf.int64), 1.0), [3.0, 10.0, 1.0])


def test_probabilities_are_at_most_one_and_of_the_largest_gap():
    gaps = tf.constant([[0.5, 8.0, 0.0], [0.25, 2.0, 0.0]])
    got = tf.exp(log_probability(gaps, tf.constant(20, tf.int64)))
    np.testing.assert_allclose(got, [1.0, 1 / 8, 1 / 20], rtol=1e-6)
    assert np.all(log_probability(gaps, tf.constant(0, tf.int64)) <= 0.0)
