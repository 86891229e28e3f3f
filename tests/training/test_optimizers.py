"""Optimizers against NumPy in float64, against TensorFlow's own kernels, and sparse against dense."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.config import parse_config
from easyssl.errors import ConfigError
from easyssl.training import optimizers as opt
from easyssl.training.optimizers.build import optimizer_from_config
from easyssl.training.schedules import ExponentialDecay

RATE = 0.05
ROWS, DIM, STEPS = 11, 3, 12


def adam(g, w, s, t, b1=0.8, b2=0.95, eps=1e-8, rate=RATE):
    s["m"] = b1 * s.get("m", 0) + (1 - b1) * g
    s["v"] = b2 * s.get("v", 0) + (1 - b2) * g**2
    return w - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * s["m"] / (np.sqrt(s["v"]) + eps)


def adamw(g, w, s, t):
    return adam(g, w * (1 - 0.01), s, t)


def adagrad(g, w, s, t):
    s["a"] = s.get("a", 0.2) + g**2
    return w - RATE * g / np.sqrt(s["a"])


def momentum(g, w, s, t):
    s["a"] = 0.7 * s.get("a", 0) + g
    return w - RATE * s["a"]


def momentumw(g, w, s, t):
    return momentum(g, w * (1 - 0.01), s, t)


def rmsprop(g, w, s, t):
    s["s"] = 0.8 * s.get("s", 1) + 0.2 * g**2
    s["a"] = 0.6 * s.get("a", 0) + RATE * g / np.sqrt(s["s"] + 1.0)
    return w - s["a"]


def ftrl(g, w, s, t, l1=0.01, l2=0.02, shrink=0.03, power=0.4):
    old = s.get("n", 0.1)
    s["n"] = old + g**2
    s["z"] = s.get("z", 0) + g + 2 * shrink * w - (s["n"] ** power - old**power) / RATE * w
    shrunk = np.sign(s["z"]) * l1 - s["z"]
    return np.where(np.abs(s["z"]) > l1, shrunk / (s["n"] ** power / RATE + 2 * l2), 0)


CASES = {
    "adam": (lambda: opt.Adam(RATE, 0.8, 0.95), adam),
    "lazy_adam": (lambda: opt.LazyAdam(RATE, beta1=0.8, beta2=0.95), adam),
    "adamw": (lambda: opt.AdamW(RATE, 0.01, beta1=0.8, beta2=0.95), adamw),
    "adagrad": (lambda: opt.Adagrad(RATE, 0.2), adagrad),
    "momentum": (lambda: opt.Momentum(RATE, 0.7), momentum),
    "momentumw": (lambda: opt.MomentumW(RATE, 0.01, momentum=0.7), momentumw),
    "rms_prop": (lambda: opt.RMSProp(RATE, 0.8, 0.6), rmsprop),
    "ftrl": (lambda: opt.Ftrl(RATE, -0.4, 0.1, 0.01, 0.02, 0.03), ftrl),
}
every = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def data():
    rng = np.random.default_rng(3)
    return rng.normal(size=(ROWS, DIM)), rng.normal(size=(STEPS, ROWS, DIM)), rng


def test_the_epsilon_defaults_are_those_of_the_config_language():
    assert opt.Adam().epsilon == 1e-8
    assert opt.RMSProp().epsilon == 1.0


@every
def test_dense_steps_follow_the_formula(name, data):
    make, formula = CASES[name]
    start, gradients, _ = data
    optimizer, variable = make(), tf.Variable(start, dtype=tf.float32)
    expected, slots = start, {}
    for step in range(STEPS):
        optimizer.apply_gradients([(tf.constant(gradients[step], tf.float32), variable)])
        expected = formula(gradients[step], expected, slots, step + 1)
        np.testing.assert_allclose(variable, expected, rtol=2e-4, atol=2e-5)


@every
def test_sparse_steps_follow_the_formula_row_by_row_and_leave_other_rows_alone(name, data):
    make, formula = CASES[name]
    start, gradients, rng = data
    optimizer, variable = make(), tf.Variable(start, dtype=tf.float32)
    expected = [np.array(row) for row in start]
    slots = [{} for _ in range(ROWS)]
    optimizer.build([variable])
    before_slots = {k: v.numpy() for k, v in optimizer.slots_of(variable).items()}
    step_function = tf.function(
        lambda values, rows: optimizer.apply_gradients(
            [(tf.IndexedSlices(values, rows, tf.constant([ROWS, DIM])), variable)]
        ),
        input_signature=[tf.TensorSpec([None, DIM]), tf.TensorSpec([None], tf.int64)],
        autograph=False,
    )
    touched = set()
    for step in range(STEPS):
        rows = rng.integers(0, ROWS - 2, size=4)  # with duplicates; the last two rows are never touched
        rows[1] = rows[0]
        before = variable.numpy()
        step_function(tf.constant(gradients[step, :4], tf.float32), tf.constant(rows, tf.int64))
        for row in set(rows.tolist()):
            total = gradients[step, :4][rows == row].sum(axis=0)
            expected[row] = formula(total, expected[row], slots[row], step + 1)
        touched |= set(rows.tolist())
        others = [r for r in range(ROWS) if r not in rows]
        np.testing.assert_array_equal(variable.numpy()[others], before[others])
        np.testing.assert_allclose(variable, np.stack(expected), rtol=2e-4, atol=2e-5)
    untouched = [r for r in range(ROWS) if r not in touched]
    assert len(untouched) >= 2
    for key, slot in optimizer.slots_of(variable).items():
        np.testing.assert_array_equal(slot.numpy()[untouched], before_slots[key][untouched])


def test_sparse_adagrad_equals_dense_adagrad(data):
    start, gradients, rng = data
    dense, sparse = opt.Adagrad(RATE), opt.Adagrad(RATE)
    one, other = tf.Variable(start, dtype=tf.float32), tf.Variable(start, dtype=tf.float32)
    for step in range(STEPS):
        rows = rng.permutation(ROWS)[:4]
        values = tf.constant(gradients[step, :4], tf.float32)
        whole = np.zeros((ROWS, DIM), np.float32)
        whole[rows] = values
        dense.apply_gradients([(tf.constant(whole), one)])
        sparse.apply_gradients(
            [(tf.IndexedSlices(values, tf.constant(rows), tf.constant([ROWS, DIM])), other)]
        )
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@every
def test_all_rows_touched_equals_a_dense_step(name, data):
    start, gradients, _ = data
    make, _ = CASES[name]
    dense, sparse = make(), make()
    one, other = tf.Variable(start, dtype=tf.float32), tf.Variable(start, dtype=tf.float32)
    rows = tf.range(ROWS)
    for step in range(STEPS):
        values = tf.constant(gradients[step], tf.float32)
        dense.apply_gradients([(values, one)])
        sparse.apply_gradients([(tf.IndexedSlices(values, rows, tf.constant([ROWS, DIM])), other)])
    np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def kernel_step(name, w, slots, g, rows, step):
    """One step of TensorFlow's own sparse kernel."""
    raw = tf.raw_ops
    if name == "adagrad":
        raw.ResourceSparseApplyAdagradV2(
            var=w.handle, accum=slots["a"].handle, lr=RATE, epsilon=0.0, grad=g, indices=rows
        )
    elif name == "momentum":
        raw.ResourceSparseApplyMomentum(
            var=w.handle, accum=slots["a"].handle, lr=RATE, grad=g, indices=rows, momentum=0.7
        )
    elif name == "rms_prop":
        raw.ResourceSparseApplyRMSProp(
            var=w.handle,
            ms=slots["s"].handle,
            mom=slots["a"].handle,
            lr=RATE,
            rho=0.8,
            momentum=0.6,
            epsilon=1.0,
            grad=g,
            indices=rows,
        )
    else:
        raw.ResourceSparseApplyFtrlV2(
            var=w.handle,
            accum=slots["n"].handle,
            linear=slots["z"].handle,
            grad=g,
            indices=rows,
            lr=RATE,
            l1=0.01,
            l2=0.02,
            l2_shrinkage=0.03,
            lr_power=-0.4,
        )


@pytest.mark.parametrize(
    ("name", "initial"),
    [
        ("adagrad", {"a": 0.2}),
        ("momentum", {"a": 0.0}),
        ("rms_prop", {"s": 1.0, "a": 0.0}),
        ("ftrl", {"n": 0.1, "z": 0.0}),
    ],
)
def test_sparse_steps_equal_those_of_tensorflows_kernels(name, initial, data):
    start, gradients, rng = data
    optimizer = CASES[name][0]()
    ours, theirs = tf.Variable(start, dtype=tf.float32), tf.Variable(start, dtype=tf.float32)
    slots = {k: tf.Variable(tf.fill([ROWS, DIM], v)) for k, v in initial.items()}
    for step in range(STEPS):
        rows = tf.constant(rng.permutation(ROWS)[:5])
        g = tf.constant(gradients[step, :5], tf.float32)
        optimizer.apply_gradients([(tf.IndexedSlices(g, rows, tf.constant([ROWS, DIM])), ours)])
        kernel_step(name, theirs, slots, g, rows, step)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@every
def test_a_sparse_step_makes_no_tensor_as_large_as_the_table(name):
    rows = 5000
    optimizer, table = CASES[name][0](), tf.Variable(tf.zeros([rows, DIM]))
    optimizer.build([table])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)], autograph=False)
    def step(ids):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(tf.gather(table, ids) - 1.0))
        optimizer.apply_gradients([(tape.gradient(loss, table), table)])

    graph = step.get_concrete_function().graph
    outputs = [t for op in graph.get_operations() for t in op.outputs if t.dtype != tf.resource]
    assert outputs
    assert not [t for t in outputs if t.shape.rank and t.shape[0] == rows]
    assert not [
        op for op in graph.get_operations() if op.type == "ReadVariableOp" and op.outputs[0].shape.rank
    ]


def test_a_schedule_is_read_at_the_step_before_the_update():
    schedule = ExponentialDecay(1.0, 1, 0.5)
    optimizer, variable = opt.Momentum(schedule, momentum=0.0), tf.Variable(0.0)
    seen = []
    for _ in range(4):
        optimizer.apply_gradients([(tf.constant(1.0), variable)])
        seen.append(float(variable))
    np.testing.assert_allclose(seen, -np.cumsum([1, 0.5, 0.25, 0.125]))


@every
def test_config_round_trip(name):
    optimizer = CASES[name][0]()
    copy = type(optimizer).from_config(optimizer.get_config())
    assert copy.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    "make",
    [
        lambda: opt.Adagrad(initial_accumulator_value=0.0),
        lambda: opt.Ftrl(learning_rate_power=0.1),
        lambda: opt.Ftrl(l1_reg=-1.0),
        lambda: opt.Adam(-0.1),
        lambda: opt.Momentum(float("nan")),
        lambda: opt.RMSProp(float("inf")),
    ],
)
def test_arguments_out_of_range_are_refused(make):
    with pytest.raises(ValueError, match="expected"):
        make()


@pytest.mark.parametrize(
    ("rate", "place"),
    [
        ("constant_learning_rate { learning_rate: -0.1 }", "constant_learning_rate.learning_rate"),
        (
            "exponential_decay_learning_rate { initial_learning_rate: 0.1 min_learning_rate: -1e-4 }",
            "exponential_decay_learning_rate.min_learning_rate",
        ),
        (
            "manual_step_learning_rate { initial_learning_rate: 0.1 schedule { step: 5 learning_rate: -0.1 } }",
            "manual_step_learning_rate.schedule[0].learning_rate",
        ),
        (
            "poly_decay_learning_rate { learning_rate_base: inf total_steps: 9 power: 1 }",
            "learning_rate_base",
        ),
    ],
)
def test_a_rate_that_is_no_rate_is_refused_at_its_place(rate, place):
    text = f"train_config {{ optimizer_config {{ adam_optimizer {{ learning_rate {{ {rate} }} }} }} }}"
    with pytest.raises(ConfigError, match="expected a rate of at least 0") as caught:
        optimizer_from_config(parse_config(text), "train_config.optimizer_config[0]")
    assert place in str(caught.value)
