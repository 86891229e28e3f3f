import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional.multi_interest import re_attend
from easyssl.layers import ReAttend
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(5, 3, 6)).astype("float32")
X = RNG.normal(size=(5, 4, 6)).astype("float32")
LENGTHS = np.array([4, 2, 0, 1, 3], "int32")
VALID = np.arange(4) < LENGTHS[:, None]
RAW = RNG.uniform(size=(5, 3, 4)) * VALID[:, None]
ATTENTION = (RAW / np.maximum(RAW.sum(axis=-1, keepdims=True), 1e-9)).astype("float32")
INPUTS = [Z, ATTENTION, X, LENGTHS]


def test_gate():
    run_layer_test(
        ReAttend,
        {"loss_weight": 0.3, "target_stop_gradient": True},
        INPUTS,
        expected_output_shape=(),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        float32_output=True,
    )


@pytest.mark.parametrize("target", ["retrieval", "attention"])
def test_value_and_name(target):
    layer = ReAttend(0.25, target, name="re")
    with collect_losses() as collected:
        output = layer(INPUTS, training=True)
        layer(INPUTS)
    ((name, term),) = collected.terms.items()
    assert name == "re_attend_loss"
    expected = re_attend(*(tf.constant(x) for x in (Z, ATTENTION, X, VALID)), target=target)
    np.testing.assert_allclose(term.value, expected, rtol=1e-6)
    np.testing.assert_allclose([output, term.weighted], [0.25 * term.value] * 2, rtol=1e-6)


@pytest.mark.parametrize("stopped", [True, False])
@pytest.mark.parametrize("target", ["retrieval", "attention"])
def test_gradients_reach_all_but_a_stopped_target(target, stopped):
    tensors = [tf.constant(x) for x in INPUTS[:3]]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = ReAttend(target=target, target_stop_gradient=stopped)([*tensors, LENGTHS])
    z, attention, x = (gradient is not None for gradient in tape.gradient(loss, tensors))
    assert z == x == (not stopped or target == "attention")
    assert attention == (not stopped or target == "retrieval")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_half_precision_inputs_stay_finite(dtype):
    z, x = (tf.cast(1e3 * np.sign(value), dtype) for value in (Z, X))
    for target in ("retrieval", "attention"):
        assert np.isfinite(ReAttend(target=target, dtype=f"mixed_{dtype}")([z, ATTENTION, x, LENGTHS]))


def test_other_inputs_and_arguments_are_refused():
    with pytest.raises(ValueError, match=r"ReAttend 're' takes interests"):
        ReAttend(name="re")([*INPUTS, LENGTHS[:, None]])
    with pytest.raises(ValueError, match="unknown target 'retrieve'; did you mean 'retrieval'"):
        ReAttend(target="retrieve")
