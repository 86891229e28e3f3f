import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers.streaming_frequency import StreamingFrequency

pytestmark = pytest.mark.both_keras


def test_it_equals_the_algorithm_for_each_id_alone():
    """With enough buckets nothing collides; the reference keeps a dictionary."""
    layer, rng = StreamingFrequency(100_003, 2, 0.2), np.random.default_rng(0)
    run = tf.function(lambda ids: layer(ids, training=True), autograph=False)
    last, gap = {}, {}
    for step in range(1, 30):
        ids = rng.integers(-5, 10, size=6)
        got = run(tf.constant(ids))
        for i in set(ids):
            newest = step - last.get(i, 0)
            gap[i] = 0.8 * gap[i] + 0.2 * newest if i in gap else newest
            last[i] = step
        np.testing.assert_allclose(np.exp(-got), [gap[i] for i in ids], rtol=1e-5)
    assert int(layer.steps) == 29


def test_without_training_nothing_is_learned_and_unseen_ids_are_rare():
    layer = StreamingFrequency(1009, 1, 0.5)
    for _ in range(8):
        layer(tf.constant([1, 2]), training=True)
    weights = layer.get_weights()
    got = tf.exp(layer(tf.constant([1, 2, 3])))
    np.testing.assert_allclose(got, [1.0, 1.0, 1 / 8], rtol=1e-5)
    for before, after in zip(weights, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_estimates_converge_and_more_hashes_forgive_collisions():
    chances = np.repeat([0.5, 0.2, 0.05], 20)
    draws = np.random.default_rng(3).uniform(size=(800, 60)) < chances
    layers = [StreamingFrequency(*sizes, 0.05) for sizes in ((10_007, 1), (32, 1), (32, 4))]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False)
    def run(ids):
        for layer in layers:
            layer(ids, training=True)

    for drawn in draws:
        run(tf.constant(np.flatnonzero(drawn)))
    spacious, one_hash, four = (np.exp(layer(tf.range(60))).reshape(3, 20) for layer in layers)
    # Of an average over 20 ids and about 40 gaps; in rare ids the first gap still weighs.
    np.testing.assert_allclose(np.mean(1 / spacious, axis=1), [2.0, 5.0, 20.0], rtol=0.15)
    assert np.mean(one_hash[2]) > np.mean(four[2]) > np.mean(spacious[2])


def test_compiled_by_xla():
    layer, other = StreamingFrequency(101, 2, 0.5), StreamingFrequency(101, 2, 0.5)
    run = tf.function(lambda ids: layer(ids, training=True), jit_compile=True, autograph=False)
    layer.build((None,))
    for ids in ([1, 1, 2], [2, 3, 4], [1, 2, 5]):
        np.testing.assert_allclose(run(tf.constant(ids)), other(tf.constant(ids), training=True), rtol=1e-5)
    for a, b in zip(layer.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b)


@pytest.mark.slow
def test_replicas_learn_from_the_whole_batch():
    code = """
import numpy as np
import tensorflow as tf
devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from easyssl.layers.streaming_frequency import StreamingFrequency

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = StreamingFrequency(101, 2, 0.5)
    layer.build((None,))
alone = StreamingFrequency(101, 2, 0.5)
run = tf.function(lambda x: strategy.run(lambda ids: layer(ids, training=True), [x]), autograph=False)
for ids in np.random.default_rng(0).integers(0, 9, (5, 6)):
    parts = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(np.split(ids, [4])[context.replica_id_in_sync_group]))
    got = tf.concat(strategy.experimental_local_results(run(parts)), axis=0)
    np.testing.assert_allclose(got, alone(tf.constant(ids), training=True), rtol=1e-5)
for weight, expected in zip(layer.weights, alone.weights):
    for local in strategy.experimental_local_results(weight):
        np.testing.assert_allclose(local.numpy(), expected.numpy())
"""
    subprocess.run([sys.executable, "-c", code], check=True)
