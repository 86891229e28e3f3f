import random
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from tensorflow import keras

from easyssl.functional import add_random_state, advance, uniform

pytestmark = pytest.mark.both_keras


def key(seed, counter):
    return tf.constant([seed, counter], tf.int64)


class Drawing(keras.layers.Layer):
    def __init__(self, seed=None, **kwargs):
        super().__init__(**kwargs)
        self.seed = seed

    def build(self, input_shape):
        self.state = add_random_state(self, self.seed)
        super().build(input_shape)

    def call(self, inputs):
        return inputs + uniform(advance(self.state), tf.shape(inputs))


@pytest.mark.parametrize("shape", [[1], [7], [3, 5], [257, 3], [0, 4]])
def test_eager_graph_and_xla_draw_the_same(shape):
    def draw(k):
        return uniform(k, shape)

    eager = uniform(key(2020, 7), shape).numpy()
    graph = tf.function(draw, autograph=False)(key(2020, 7))
    xla = tf.function(draw, autograph=False, jit_compile=True)(key(2020, 7))
    np.testing.assert_array_equal(graph, eager)
    np.testing.assert_array_equal(xla, eager)


def test_numbers_are_uniform_on_the_unit_interval():
    numbers = uniform(key(1, 1), [200_000]).numpy()
    assert numbers.dtype == np.float32 and numbers.min() >= 0.0 and numbers.max() < 1.0
    assert stats.kstest(numbers, "uniform").pvalue > 1e-3


def test_neighbouring_calls_and_seeds_are_unrelated():
    draws = [uniform(key(*pair), [50_000]).numpy() for pair in ((1, 1), (1, 2), (2, 1), (2, 2))]
    correlation = np.corrcoef(draws) - np.eye(4)
    assert np.abs(correlation).max() < 5 / np.sqrt(50_000)


def test_a_longer_first_axis_only_appends():
    np.testing.assert_array_equal(uniform(key(3, 4), [9, 5])[:4], uniform(key(3, 4), [4, 5]))


def test_each_call_advances_and_the_state_is_saved(tmp_path):
    layer = Drawing(seed=5)
    zeros = tf.zeros([4])
    draws = [layer(zeros).numpy() for _ in range(3)]
    assert not np.array_equal(draws[0], draws[1])
    assert tf.convert_to_tensor(layer.state).numpy().tolist() == [5, 3]
    assert not layer.trainable_weights and len(layer.non_trainable_weights) == 1

    checkpoint = tf.train.Checkpoint(layer=layer).write(str(tmp_path / "state"))
    uninterrupted = layer(zeros).numpy()
    resumed = Drawing(seed=99)
    resumed.build([4])
    tf.train.Checkpoint(layer=resumed).read(checkpoint).assert_consumed()
    np.testing.assert_array_equal(resumed(zeros), uninterrupted)


def test_every_step_of_a_compiled_function_draws_anew():
    layer = Drawing(seed=5)
    twice = tf.function(lambda x: (layer(x), layer(x)), autograph=False)
    draws = [*twice(tf.zeros([4])), *twice(tf.zeros([4]))]
    eager = Drawing(seed=5)
    for got in draws:
        np.testing.assert_array_equal(got, eager(tf.zeros([4])))


def test_seeds_follow_the_global_seed():
    def seeds():
        keras.utils.set_random_seed(11)
        layers = [Drawing(), Drawing()]
        for layer in layers:
            layer.build([1])
        return [tf.convert_to_tensor(layer.state).numpy().tolist() for layer in layers]

    first = seeds()
    assert first == seeds()
    assert first[0] != first[1]
    random.seed()


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seeds_out_of_range_are_refused(seed):
    with pytest.raises(ValueError, match="seed"):
        Drawing(seed=seed).build([1])


@pytest.mark.slow
def test_replicas_draw_different_numbers():
    code = """
import tensorflow as tf
devices = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(devices[0], [tf.config.LogicalDeviceConfiguration()] * 2)
from easyssl.layers import Dropout
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    layer = Dropout(0.5, seed=1)
    layer.build([8, 8])
def step():
    return layer(tf.ones([8, 8]), training=True)
run = tf.function(lambda: strategy.run(step), autograph=False)
for count in (1, 2):
    one, two = strategy.experimental_local_results(run())
    assert bool(tf.reduce_any(one != two))
    assert tf.convert_to_tensor(layer.random_state).numpy().tolist() == [1, count]
"""
    subprocess.run([sys.executable, "-c", code], check=True)
