"""One step of a model of a few weights: what it computes, and what it refuses to do."""

import dataclasses
import types

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.models import Losses
from easyssl.training.diagnose import first_bad_tensor
from easyssl.training.loss_scale import LossScale
from easyssl.training.optimizers import Adam, Momentum
from easyssl.training.optimizers.rule import UpdateRule
from easyssl.training.pipeline import Batch
from easyssl.training.step import TrainStep


class Model(keras.Model):
    """`sum(weight * log(x))` against a label, and a table; counts its calls in a variable."""

    def __init__(self):
        super().__init__()
        self.table = self.add_weight(name="table", shape=(6, 2), initializer="ones")
        self.kernel = self.add_weight(name="kernel", shape=(1,), initializer="ones")

    def compute_losses(self, features, labels, sample_weight, training):
        rows = tf.gather(self.table, features["id"])
        score = self.kernel * tf.math.log(features["x"]) + tf.reduce_sum(rows, axis=1)
        error = tf.square(score - labels["y"])
        if sample_weight is not None:
            error = error * sample_weight
        error = tf.reduce_mean(error)
        extra = tf.reduce_sum(tf.square(rows))
        return Losses(
            error + 0.5 * extra,
            {"error": error, "extra": extra},
            {"error": error, "extra": 0.5 * extra},
            {},
            {"rows": tf.cast(tf.size(features["id"]), tf.float32)},
        )


SIGNATURE = {"x": tf.TensorSpec([None], tf.float32), "id": tf.TensorSpec([None], tf.int64)}


def batch(x=(1.0, 2.0, 3.0), ids=(0, 1, 1), y=(1.0, 0.0, 1.0), weights=None):
    raw = types.SimpleNamespace(lines=np.arange(10, 10 + len(x)), paths=np.array(["a.csv"] * len(x)))
    features = {"x": tf.constant(x, tf.float32), "id": tf.constant(ids, tf.int64)}
    weights = None if weights is None else tf.constant(weights, tf.float32)
    return Batch(raw, features, {"y": tf.constant(y, tf.float32)}, weights)


NORM = "global norm of the gradients (the largest, 4.60517e+20, is of 'kernel')"


class Root(Model):
    """The root of 0 is finite, its slope is not."""

    def compute_losses(self, features, labels, sample_weight, training):
        losses = super().compute_losses(features, labels, sample_weight, training)
        root = tf.reduce_sum(tf.sqrt(self.kernel - 1.0))
        return dataclasses.replace(losses, total=losses.total + root)


def make(optimizer=None, kind=Model, **options):
    model = kind()
    rule = UpdateRule([(optimizer or Momentum(0.01, momentum=0.0), model.trainable_variables)])
    return model, rule, TrainStep(model, rule, SIGNATURE, **options)


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("weights", [None, (1.0, 0.0, 2.0)])
def test_a_step_equals_its_closed_form(jit_compile, weights):
    model, _, step = make(jit_compile=jit_compile)
    result = step(batch(weights=weights))
    assert result.metrics == {"rows": 3.0}
    x, y, ids = np.log([1.0, 2.0, 3.0]), np.array([1.0, 0.0, 1.0]), [0, 1, 1]
    w = np.ones(3) if weights is None else np.array(weights)
    score = x + 2.0
    error, extra = np.mean(w * (score - y) ** 2), 6.0
    assert result.finite and not result.overflow
    assert result.unweighted == pytest.approx({"error": error, "extra": extra}, rel=1e-6)
    assert result.weighted == pytest.approx({"error": error, "extra": 3.0}, rel=1e-6)
    assert result.loss == pytest.approx(error + 3.0, rel=1e-6)
    slope = 2 * w * (score - y) / 3
    kernel, table = np.sum(slope * x), np.zeros((6, 2))
    for row, value in zip(ids, slope, strict=True):
        table[row] += value + 1.0
    assert result.norm == pytest.approx(np.sqrt(kernel**2 + np.sum(table**2)), rel=1e-5)
    np.testing.assert_allclose(model.kernel, [1 - 0.01 * kernel], rtol=1e-5)
    np.testing.assert_allclose(model.table, 1 - 0.01 * table, rtol=1e-5)


def test_batches_of_other_sizes_build_no_new_graph():
    _, _, step = make()
    for size in (3, 5, 1):
        step(batch([1.0] * size, [0] * size, [1.0] * size))
    assert step._compiled.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    ("bad", "cause"),
    [
        (batch(x=(1.0, np.nan, 3.0)), r"feature 'x' (a.csv:11)"),
        (batch(x=(1.0, 2.0, np.inf)), r"feature 'x' (a.csv:12)"),
        (batch(y=(np.inf, 0.0, 1.0)), r"label 'y' (a.csv:10)"),
        (batch(weights=(1.0, 1.0, np.nan)), r"sample weight (a.csv:12)"),
        (batch(x=(1.0, -2.0, 3.0)), r"loss 'error'"),
        (batch(x=(1.0, 1e-30, 1.0), y=(1.0, -1e19, 1.0)), NORM),
    ],
)
def test_what_is_not_finite_changes_nothing_and_is_named(bad, cause):
    model, rule, step = make(Adam(0.1))
    step(batch(weights=None if bad.weights is None else (1.0, 1.0, 1.0)))
    state = rule.state({id(v): v.name for v in model.weights})
    before = [v.numpy() for v in [*model.weights, *state.values()]]
    result = step(bad)
    assert not result.finite
    for value, variable in zip(before, [*model.weights, *state.values()], strict=True):
        np.testing.assert_array_equal(value, variable.numpy())
    assert first_bad_tensor(model, rule, bad, result) == cause


def test_a_gradient_that_is_not_finite_is_named():
    model, rule, step = make(kind=Root)
    result = step(batch())
    assert not result.finite and np.isfinite(result.loss)
    assert first_bad_tensor(model, rule, batch(), result) == "gradient of 'kernel'"
    np.testing.assert_array_equal(model.table, np.ones((6, 2)))


def test_a_weight_that_is_not_finite_is_named():
    model, rule, step = make()
    model.table.assign(tf.fill([6, 2], np.inf))
    result = step(batch())
    assert not result.finite
    assert first_bad_tensor(model, rule, batch(), result) == "weight 'table'"


def test_loss_scaling_changes_nothing_but_the_range():
    plain, _, step = make()
    scaled, _, scaled_step = make(loss_scale=LossScale(1024.0))
    for _ in range(3):
        one, other = step(batch()), scaled_step(batch())
        assert other.loss == pytest.approx(one.loss) and other.norm == pytest.approx(one.norm)
    np.testing.assert_allclose(plain.table, scaled.table, rtol=1e-5)


def test_an_overflow_of_scaled_gradients_only_leaves_the_step_out():
    scale = LossScale(3e38)
    model, rule, step = make(loss_scale=scale)
    before = model.table.numpy()
    result = step(batch())
    assert result.overflow and result.finite
    assert float(scale.factor) == pytest.approx(1.5e38)
    np.testing.assert_array_equal(before, model.table.numpy())
    assert int(rule.groups[0][0].iterations) == 0
    for _ in range(20):
        result = step(batch())
    assert not result.overflow
    assert not np.array_equal(before, model.table.numpy())


def test_loss_scaling_does_not_hide_a_loss_that_is_not_finite():
    _, _, step = make(loss_scale=LossScale(8.0))
    result = step(batch(x=(1.0, -2.0, 3.0)))
    assert not result.finite and not result.overflow
