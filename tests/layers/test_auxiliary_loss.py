import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.functional import decoupled, l2_distance, nt_xent, one_way, spread_out, symmetric
from easyssl.layers import AuxiliaryLoss
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

A, B = np.random.default_rng(0).normal(size=(2, 6, 4)).astype("float32")
NAMES = {
    "l2_loss": "cl_l2_loss",
    "nce_loss": "cl_nce_loss",
    "info_nce": "cl_info_nce_loss",
    "symmetric": "cl_symmetric_loss",
    "decoupled": "cl_decoupled_loss",
}
FUNCTIONS = {"nce_loss": nt_xent, "info_nce": one_way, "symmetric": symmetric, "decoupled": decoupled}
KINDS = [*NAMES]
IDS = np.array([1, 2, 1, 3, 4, 2])


@pytest.mark.parametrize(
    ("kind", "inputs"),
    [("l2_loss", [A, B]), ("nce_loss", [A, B]), *((kind, [A, B, IDS]) for kind in FUNCTIONS)],
)
def test_gate(kind, inputs):
    run_layer_test(
        AuxiliaryLoss,
        {"loss_type": kind, "loss_weight": 0.3, "normalize": True, "cross_replica": kind == "decoupled"},
        inputs,
        expected_output_shape=(),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        float32_output=True,
    )


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_names(kind, normalize):
    layer = AuxiliaryLoss(kind, loss_weight=0.25, temperature=0.5, normalize=normalize, name="cl")
    with collect_losses() as collected:
        output = layer([A, B], training=True)
    options = {"similarity": "cosine" if normalize else "dot", "temperature": 0.5}
    a, b = tf.constant(A), tf.constant(B)
    expected = l2_distance(a, b) if kind == "l2_loss" else FUNCTIONS[kind](a, b, **options)
    ((name, term),) = collected.terms.items()
    assert name == NAMES[kind]
    np.testing.assert_allclose(term.value, expected, rtol=1e-6)
    np.testing.assert_allclose([term.weighted, output], [0.25 * expected] * 2, rtol=1e-6)


@pytest.mark.parametrize("kind", FUNCTIONS)
@pytest.mark.parametrize("shape", [[6], [6, 1]])
def test_ids_tell_false_negatives(kind, shape):
    layer = AuxiliaryLoss(kind, temperature=0.5)
    expected = FUNCTIONS[kind](tf.constant(A), tf.constant(B), temperature=0.5, ids=tf.constant(IDS))
    np.testing.assert_allclose(layer([A, B, IDS.reshape(shape)]), expected, rtol=1e-6)
    assert float(expected) != pytest.approx(float(layer([A, B])))


@pytest.mark.parametrize(
    ("normalize", "inputs"), [(False, A), (True, [A, IDS]), pytest.param(False, [A], marks=pytest.mark.slow)]
)
def test_gate_and_value_of_spread_out(normalize, inputs):
    options = {"loss_type": "spread_out", "loss_weight": 0.3, "normalize": normalize}
    run_layer_test(
        AuxiliaryLoss,
        options,
        inputs,
        expected_output_shape=(),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=0,
        float32_output=True,
    )
    with collect_losses() as collected:
        AuxiliaryLoss(**options, name="far")(inputs, training=True)
    ((name, term),) = collected.terms.items()
    ids = tf.constant(IDS) if len(inputs) == 2 else None
    expected = spread_out(tf.constant(A), similarity="cosine" if normalize else "dot", ids=ids)
    assert name == "far_spread_out_loss"
    np.testing.assert_allclose([term.value, term.weighted], [expected, 0.3 * expected], rtol=1e-6)


def test_spread_out_leaves_empty_rows_out():
    padded = np.insert(A, 2, 0.0, axis=0)
    layer = AuxiliaryLoss("spread_out")
    assert float(layer(padded)) == pytest.approx(float(layer(A)), rel=1e-6)
    assert float(layer(np.zeros_like(A))) == float(layer(A[:1])) == 0.0


@pytest.mark.parametrize("inputs", [[A, B], [A, IDS, IDS], A[0]])
def test_spread_out_takes_one_input(inputs):
    with pytest.raises(
        ValueError, match=r"AuxiliaryLoss 'aux' takes one input \[batch, dim\], and optionally"
    ):
        AuxiliaryLoss("spread_out", name="aux")(inputs)


def loss_and_gradients(kind, normalize, *inputs):
    layer = AuxiliaryLoss(kind, temperature=0.5, normalize=normalize)
    left, right, *ids = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch([left, right])
        loss = layer([left, right, *ids])
    return loss.numpy(), [gradient.numpy() for gradient in tape.gradient(loss, [left, right])]


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_empty_rows_change_nothing(kind, normalize):
    rows = [1, 2, 4, 5, 7, 8]
    ids = [] if kind == "l2_loss" else [IDS, np.array([1, 1, 2, 2, 1, 3, 4, 4, 2])]
    padded = np.zeros([2, 9, 4], "float32")
    padded[:, rows] = A, B
    padded[1, 0], padded[0, 3] = B[0], A[1]  # one view that is empty is enough; row 6 is empty in both
    loss, gradients = loss_and_gradients(kind, normalize, A, B, *ids[:1])
    padded_loss, padded_gradients = loss_and_gradients(kind, normalize, *padded, *ids[1:])
    np.testing.assert_allclose(padded_loss, loss, rtol=1e-6)
    for got, expected in zip(padded_gradients, gradients, strict=True):
        np.testing.assert_allclose(got[rows], expected, rtol=1e-5, atol=1e-7)
        np.testing.assert_array_equal(np.delete(got, rows, axis=0), 0.0)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_only_empty_rows_give_exactly_zero(kind, normalize):
    loss, gradients = loss_and_gradients(kind, normalize, np.zeros_like(A), B)
    assert loss == 0.0
    np.testing.assert_array_equal(gradients, 0.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sum_is_the_mean_times_the_rows_that_count(kind):
    left = np.where(np.arange(6)[:, None] == 3, 0.0, A).astype("float32")
    terms = 10 if kind in ("nce_loss", "decoupled") else 5
    mean, total = (
        AuxiliaryLoss(kind, temperature=0.5, reduction=name)([left, B]) for name in ("mean", "sum")
    )
    assert float(total) == pytest.approx(terms * float(mean), rel=1e-5)


def test_l2_loss_has_no_use_for_ids():
    with pytest.raises(ValueError, match="two inputs .batch, dim. of one width. Received"):
        AuxiliaryLoss("l2_loss")([A, B, IDS])


def test_the_published_value():
    layer = AuxiliaryLoss("nce_loss", temperature=1.0)
    assert float(layer([tf.eye(2), tf.eye(2)])) == pytest.approx(0.5514447, abs=1e-6)


def test_nothing_is_reported_without_training():
    layer = AuxiliaryLoss("nce_loss")
    with collect_losses() as collected:
        layer([A, B], training=False)
        layer([A, B])
    assert not collected.terms and not layer.losses


def test_fit_minimises_it_together_with_the_task():
    keras.utils.set_random_seed(0)
    left, right = keras.Input([4]), keras.Input([4])
    a, b = keras.layers.Dense(3)(left), keras.layers.Dense(3)(right)
    loss = AuxiliaryLoss("l2_loss", name="aux")([a, b])
    model = keras.Model([left, right], [keras.layers.Dense(1)(a), loss])

    def distance():
        return float(model([A, B], training=False)[1])

    before = distance()
    for _ in range(20):
        with tf.GradientTape() as tape:
            task = tf.reduce_mean(tf.square(model([A, B], training=True)[0]))
            (auxiliary,) = model.losses
            total = task + auxiliary
        variables = model.trainable_variables
        for variable, gradient in zip(variables, tape.gradient(total, variables), strict=True):
            variable.assign_sub(0.02 * gradient)
    assert distance() < 0.5 * before


@pytest.mark.parametrize("kind", KINDS)
def test_large_half_precision_inputs_stay_finite(kind):
    rows = tf.cast(1e3 * np.sign(A), tf.float16)
    assert np.isfinite(AuxiliaryLoss(kind, temperature=0.02, dtype="mixed_float16")([rows, -rows]))


@pytest.mark.parametrize("inputs", [[A], [A, B, A], [A, B[:, :2]], [A, B[:, 0]], A])
def test_other_inputs_are_refused(inputs):
    with pytest.raises(ValueError, match=r"AuxiliaryLoss 'aux' takes two inputs \[batch, dim\]"):
        AuxiliaryLoss("nce_loss", name="aux")(inputs)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="unknown loss_type 'infonce'; did you mean 'info_nce'"):
        AuxiliaryLoss("infonce")
    with pytest.raises(ValueError, match="unknown reduction 'men'; did you mean 'mean'"):
        AuxiliaryLoss("info_nce", reduction="men")
    with pytest.raises(ValueError, match="temperature=0"):
        AuxiliaryLoss("info_nce", temperature=0)
