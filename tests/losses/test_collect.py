import threading

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.losses import collect_losses, report_loss, report_metric

pytestmark = pytest.mark.both_keras


class Reporting(keras.layers.Layer):
    def call(self, inputs, training=None):
        if training:
            report_loss(self, f"{self.name}_loss", tf.reduce_sum(inputs), weight=0.5)
        return inputs


def test_terms_are_collected_and_add_loss_is_left_alone():
    layer = Reporting(name="aux")
    with collect_losses() as collected:
        layer(tf.constant([1.0, 3.0]), training=True)
    assert list(collected.terms) == ["aux_loss"]
    value, weighted = collected.terms["aux_loss"]
    assert (float(value), float(weighted), float(collected.total())) == (4.0, 2.0, 2.0)
    assert not layer.losses


def test_without_a_collector_keras_gets_the_weighted_loss():
    layer = Reporting(name="aux")
    layer(tf.constant([1.0, 3.0]), training=True)
    assert [float(loss) for loss in layer.losses] == [2.0]
    layer(tf.constant([1.0, 3.0]), training=False)
    assert not layer.losses


def test_every_report_counts():
    layer, other = Reporting(name="aux"), Reporting(name="other")
    with collect_losses() as collected:
        for value in (1.0, 2.0, 3.0):
            layer(tf.constant([value]), training=True)
        other(tf.constant([4.0]), training=True)
    assert list(collected.terms) == ["aux_loss", "aux_loss_1", "aux_loss_2", "other_loss"]
    assert float(collected.total()) == 5.0


def test_no_terms_make_zero():
    with collect_losses() as collected:
        pass
    assert float(collected.total()) == 0.0 and not collected.terms


def test_blocks_nest_and_close_after_errors():
    layer = Reporting(name="aux")
    with collect_losses() as outer:
        with pytest.raises(RuntimeError), collect_losses() as inner:
            layer(tf.constant([1.0]), training=True)
            raise RuntimeError
        layer(tf.constant([2.0]), training=True)
    assert float(inner.total()) == 0.5 and float(outer.total()) == 1.0
    layer(tf.constant([1.0]), training=True)
    assert len(layer.losses) == 1


def test_collection_is_per_thread():
    layer, seen = Reporting(name="aux"), []

    def work():
        with collect_losses() as collected:
            layer(tf.constant([1.0]), training=True)
        seen.append(float(collected.total()))

    with collect_losses() as mine:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == [0.5] and not mine.terms


def test_inside_a_compiled_step_with_gradients():
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1), Reporting(name="aux")])

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape, collect_losses() as collected:
            model(x, training=True)
            total = collected.total()
        return dict(collected.terms), tape.gradient(total, model.trainable_variables)

    terms, gradients = step(tf.constant([[1.0, 2.0]]))
    assert list(terms) == ["aux_loss"]
    np.testing.assert_allclose(gradients[0], [[0.5], [1.0]])


def test_half_precision_losses_become_float32():
    layer = keras.layers.Identity()
    with collect_losses() as collected:
        report_loss(layer, "a", tf.constant(2.0, tf.float16), weight=tf.constant(3.0, tf.float64))
    assert collected.total().dtype == tf.float32 and float(collected.total()) == 6.0


def test_a_model_that_keras_builds_by_a_dry_run_reports_once():
    class Model(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.aux = keras.layers.Dense(1), Reporting(name="aux")

        def call(self, inputs, training=None):
            return self.aux(self.dense(inputs), training=training)

    with collect_losses() as collected:
        Model()(tf.ones([2, 2]), training=True)
    assert list(collected.terms) == ["aux_loss"]
    assert np.isfinite(float(collected.total()))


def test_a_loss_that_cannot_leave_its_graph_is_an_error():
    layer = Reporting(name="aux")
    inner = tf.function(lambda x: layer(x, training=True), autograph=False)
    with pytest.raises(RuntimeError, match="'aux_loss' is computed in a tf.function"), collect_losses():
        inner(tf.ones([2]))


class Watching(keras.layers.Layer):
    def call(self, inputs):
        report_metric(self, f"{self.name}_mean", tf.reduce_mean(inputs))
        return inputs


def test_metrics_are_collected_without_gradient():
    layer, x = Watching(name="seen"), tf.Variable([1.0, 3.0])
    with tf.GradientTape() as tape:
        with collect_losses() as collected:
            layer(x)
            layer(2.0 * x)
        total = tf.add_n(list(collected.metrics.values()))
    assert {name: float(value) for name, value in collected.metrics.items()} == {
        "seen_mean": 2.0,
        "seen_mean_1": 4.0,
    }
    assert tape.gradient(total, x) is None and not collected.terms


def test_metrics_without_a_collector_go_nowhere():
    layer = Watching(name="seen")
    layer(tf.constant([1.0]))
    assert not layer.losses


def test_a_metric_cannot_leave_another_graph():
    layer = Watching(name="seen")
    with collect_losses(), pytest.raises(RuntimeError, match="metric 'seen_mean'"):
        tf.function(layer, autograph=False)(tf.constant([1.0]))
