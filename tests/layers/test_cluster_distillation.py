import numpy as np
import pytest
import tensorflow as tf

from easyssl.functional.prototypes import cluster_distillation
from easyssl.layers import ClusterDistillation
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
PROTOTYPES, LEFT, RIGHT = RNG.normal(size=(3, 5, 4)).astype("float32")
ASSIGNMENTS = RNG.uniform(size=(5, 5)).astype("float32")
LENGTHS = np.array([3, 0, 2, 1, 5], "int32")
TEACHERS = PROTOTYPES[np.argmax(ASSIGNMENTS, axis=1)]


def test_gate():
    run_layer_test(
        ClusterDistillation,
        {"loss_weight": 0.3, "teacher_gradient": True},
        [ASSIGNMENTS, PROTOTYPES, LEFT, RIGHT, LENGTHS],
        expected_output_shape=(),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        float32_output=True,
    )


@pytest.mark.parametrize("views", [[LEFT], [LEFT, RIGHT]])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("with_lengths", [True, False])
def test_value_and_name(views, normalize, with_lengths):
    layer = ClusterDistillation(loss_weight=0.25, temperature=0.5, normalize=normalize, name="ckd")
    with collect_losses() as collected:
        output = layer([ASSIGNMENTS, PROTOTYPES, *views, *[LENGTHS][:with_lengths]], training=True)
        layer([ASSIGNMENTS, PROTOTYPES, *views, *[LENGTHS][:with_lengths]])
    ((name, term),) = collected.terms.items()
    assert name == "ckd_distillation_loss"
    expected = cluster_distillation(
        [tf.constant(view) for view in views],
        tf.constant(TEACHERS),
        normalize=normalize,
        temperature=0.5,
        weights=tf.constant(LENGTHS > 0, tf.float32) if with_lengths else None,
    )
    np.testing.assert_allclose(term.value, expected, rtol=1e-6)
    np.testing.assert_allclose([output, term.weighted], [0.25 * term.value] * 2, rtol=1e-6)


@pytest.mark.parametrize("allowed", [True, False])
def test_the_gradient_into_the_teacher_is_a_switch(allowed):
    tensors = [tf.constant(x) for x in (ASSIGNMENTS, PROTOTYPES, LEFT)]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = ClusterDistillation(teacher_gradient=allowed)(tensors)
    assignments, prototypes, left = tape.gradient(loss, tensors)
    assert assignments is None and np.any(left != 0)
    assert (prototypes is not None) == allowed


@pytest.mark.parametrize("inputs", [[0 * LEFT], [LEFT, 0 * LENGTHS]])
def test_without_rows_there_is_neither_loss_nor_gradient(inputs):
    tensors = [tf.constant(x) for x in (ASSIGNMENTS, PROTOTYPES, *inputs)]
    with tf.GradientTape() as tape:
        tape.watch(tensors[2])
        loss = ClusterDistillation()(tensors)
    assert float(loss) == 0.0
    np.testing.assert_array_equal(tape.gradient(loss, tensors[2]), np.zeros([5, 4]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_large_half_precision_inputs_stay_finite(dtype):
    tensors = [tf.cast(1e3 * np.sign(x), dtype) for x in (ASSIGNMENTS, PROTOTYPES, LEFT)]
    for normalize in (True, False):
        assert np.isfinite(ClusterDistillation(temperature=0.02, normalize=normalize)(tensors))


@pytest.mark.parametrize(
    "inputs",
    [
        [ASSIGNMENTS, PROTOTYPES],
        [ASSIGNMENTS, PROTOTYPES, LENGTHS],
        [ASSIGNMENTS, PROTOTYPES[:3], LEFT],
        [ASSIGNMENTS, PROTOTYPES, LEFT[:, :2]],
        [ASSIGNMENTS, PROTOTYPES, LEFT, LENGTHS, LENGTHS],
    ],
)
def test_other_inputs_are_refused(inputs):
    with pytest.raises(ValueError, match=r"ClusterDistillation 'ckd' takes assignments"):
        ClusterDistillation(name="ckd")(inputs)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="temperature=0"):
        ClusterDistillation(temperature=0)
