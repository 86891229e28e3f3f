"""Schedules against their closed forms, computed by NumPy in float64."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.training import schedules

STEPS = [0, 1, 2, 9, 10, 11, 99, 100, 101, 499, 500, 501, 999, 1000, 1001, 20_000_001]


def check(schedule, closed_form, steps=STEPS):
    in_graph = tf.function(schedule, input_signature=[tf.TensorSpec([], tf.int64)], autograph=False)
    for step in steps:
        expected = closed_form(np.float64(step))
        np.testing.assert_allclose(schedule(step), expected, rtol=2e-7, atol=1e-12, err_msg=str(step))
        np.testing.assert_allclose(in_graph(tf.constant(step, tf.int64)), expected, rtol=2e-7, atol=1e-12)
    assert schedule(3).dtype == tf.float32


def test_constant():
    check(schedules.Constant(0.3), lambda t: 0.3)


@pytest.mark.parametrize("staircase", [True, False])
@pytest.mark.parametrize("burnin", [(0.0, 0), (0.0, 10), (0.002, 10)])
def test_exponential_decay(staircase, burnin):
    rate, length = burnin

    def closed(t):
        if t < length:
            value = rate + (0.1 - rate) * t / length if rate else 0.1
        else:
            exponent = (t - length) / 100
            value = 0.1 * 0.5 ** (math.floor(exponent) if staircase else exponent)
        return max(value, 0.004)

    check(schedules.ExponentialDecay(0.1, 100, 0.5, staircase, rate, length, 0.004), closed)


def test_exponential_decay_keeps_its_digits_at_steps_that_float32_cannot_hold():
    schedule = schedules.ExponentialDecay(0.1, 1, 1 - 1e-8, staircase=False)
    check(schedule, lambda t: 0.1 * (1 - 1e-8) ** t, [16_777_217, 33_554_433])


@pytest.mark.parametrize("warmup", [True, False])
def test_manual_steps(warmup):
    def closed(t):
        if t < 10:
            return 0.01 + (0.1 - 0.01) * t / 10 if warmup else 0.01
        return 0.1 if t < 100 else 0.05 if t < 500 else 0.002

    check(schedules.ManualSteps(0.01, [10, 100, 500], [0.1, 0.05, 0.002], warmup), closed)


@pytest.mark.parametrize("hold", [0, 50])
def test_cosine_decay(hold):
    def closed(t):
        if t > 1000:
            return 0.0
        if t < 100:
            return 0.01 + (0.2 - 0.01) * t / 100
        if t < 100 + hold:
            return 0.2
        return 0.1 * (1 + math.cos(math.pi * (t - 100 - hold) / (1000 - 100 - hold)))

    check(schedules.CosineDecay(0.2, 1000, 0.01, 100, hold), closed)


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_polynomial_decay(power):
    check(
        schedules.PolynomialDecay(0.2, 500, power, 0.01),
        lambda t: (0.2 - 0.01) * (1 - min(t, 500) / 500) ** power + 0.01,
    )


@pytest.mark.parametrize("scaling", [1.0, 2.5])
def test_transformer_decay(scaling):
    def closed(t):
        ts, ws = t * scaling, 100 * scaling
        return 2.0 * 64**-0.5 * min((ts + 1) * ws**-1.5, (ts + 1) ** -0.5)

    check(schedules.TransformerDecay(2.0, 64, 100, scaling), closed)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: schedules.ExponentialDecay(0.1, 0, 0.5), "decay_steps"),
        (lambda: schedules.ManualSteps(0.1, [0, 5], [1, 2]), "increase"),
        (lambda: schedules.ManualSteps(0.1, [5, 5], [1, 2]), "increase"),
        (lambda: schedules.ManualSteps(0.1, [], []), "not 0"),
        (lambda: schedules.CosineDecay(0.1, 100, 0.2, 10), "above learning_rate_base"),
        (lambda: schedules.CosineDecay(0.1, 100, 0.0, 101), "above total_steps"),
        (lambda: schedules.PolynomialDecay(0.1, 0, 1.0), "total_steps"),
        (lambda: schedules.TransformerDecay(1.0, 0, 5), "hidden_size"),
    ],
)
def test_impossible_values_are_refused(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**7), st.floats(1e-6, 1.0), st.floats(0.1, 1.0), st.integers(1, 10**6))
def test_exponential_decay_never_rises_and_respects_its_floor(step, initial, factor, decay_steps):
    schedule = schedules.ExponentialDecay(initial, decay_steps, factor, minimum=1e-7)
    here, later = float(schedule(step)), float(schedule(step + 1))
    assert np.float32(1e-7) <= later <= here


def test_config_round_trip():
    for schedule in [
        schedules.Constant(0.3),
        schedules.ExponentialDecay(0.1, 10, 0.5, False, 0.01, 5, 0.001),
        schedules.ManualSteps(0.1, [3, 9], [0.2, 0.1], True),
        schedules.CosineDecay(0.2, 100, 0.01, 10, 5),
        schedules.PolynomialDecay(0.2, 50, 2.0, 0.1),
        schedules.TransformerDecay(2.0, 64, 10),
    ]:
        copy = type(schedule).from_config(schedule.get_config())
        assert [float(copy(s)) for s in range(60)] == [float(schedule(s)) for s in range(60)]
