"""The update rule: clipping, multiplier, groups, averages, against NumPy in float64."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.config import parse_config
from easyssl.errors import ConfigError
from easyssl.training import optimizers as opt
from easyssl.training.loss_scale import LossScale
from easyssl.training.optimizers.averages import MovingAverages
from easyssl.training.optimizers.build import frozen_variables, update_rule_from_config
from easyssl.training.optimizers.rule import UpdateRule

ROWS, DIM = 9, 2


def plain(rate=1.0):
    return opt.Momentum(rate, momentum=0.0)


def slices(values, rows):
    return tf.IndexedSlices(tf.constant(values, tf.float32), tf.constant(rows), tf.constant([ROWS, DIM]))


def test_the_global_norm_counts_a_row_that_occurs_twice_as_one_row():
    table, weight = tf.Variable(tf.zeros([ROWS, DIM])), tf.Variable([0.0])
    rule = UpdateRule([(plain(), [table, weight])])
    gradients = [slices([[3, 0], [1, 0], [0, 0]], [2, 2, 5]), tf.constant([3.0])]
    prepared, norm = rule.prepare(gradients)
    assert float(norm) == 5.0
    assert isinstance(prepared[0], tf.IndexedSlices)
    rule.apply(prepared, norm)
    np.testing.assert_allclose(table[2], [-4, 0])
    assert float(weight[0]) == -3.0


@pytest.mark.parametrize(("limit", "factor"), [(2.5, 0.5), (10.0, 1.0), (0.0, 1.0)])
def test_clipping_scales_all_gradients_by_one_factor(limit, factor):
    table, weight = tf.Variable(tf.zeros([ROWS, DIM])), tf.Variable([0.0])
    rule = UpdateRule([(plain(), [table]), (plain(), [weight])], clip_norm=limit)
    rule.apply(*rule.prepare([slices([[4, 0]], [2]), tf.constant([3.0])]))
    np.testing.assert_allclose(table[2], [-4 * factor, 0])
    np.testing.assert_allclose(weight, [-3 * factor])
    assert [int(optimizer.iterations) for optimizer, _ in rule.groups] == [1, 1]


def test_the_multiplier_comes_before_the_norm():
    table, weight = tf.Variable(tf.zeros([ROWS, DIM])), tf.Variable([0.0])
    rule = UpdateRule([(plain(), [table, weight])], multiplied=[table], multiplier=2.0)
    prepared, norm = rule.prepare([slices([[2, 0]], [2]), tf.constant([3.0])])
    assert float(norm) == 5.0
    rule.apply(prepared, norm)
    np.testing.assert_allclose(table[2], [-4, 0])


def test_each_group_has_its_own_rate():
    table, weight = tf.Variable(tf.zeros([ROWS, DIM])), tf.Variable([0.0])
    rule = UpdateRule([(plain(0.5), [table]), (plain(0.25), [weight])])
    rule.apply(*rule.prepare([slices([[4, 0]], [2]), tf.constant([4.0])]))
    np.testing.assert_allclose(table[2], [-2, 0])
    np.testing.assert_allclose(weight, [-1])
    assert [float(rate) for rate in rule.learning_rates] == [0.5, 0.25]


def test_a_variable_without_gradient_stays():
    used, unused = tf.Variable([1.0]), tf.Variable([1.0])
    rule = UpdateRule([(opt.AdamW(0.1, 0.5), [used, unused])])
    rule.apply(*rule.prepare([tf.constant([1.0]), None]))
    assert float(unused[0]) == 1.0
    assert float(used[0]) != 1.0


@pytest.mark.parametrize("sparse", [True, False])
def test_averages_equal_those_of_averaging_everything_in_every_step(sparse):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(ROWS, DIM))
    table = tf.Variable(start, dtype=tf.float32)
    averages = MovingAverages([table], [table] if sparse else [], decay=0.8)
    rule = UpdateRule([(plain(0.3), [table])], averages=averages)
    step_function = tf.function(
        lambda values, rows: rule.apply(
            *rule.prepare([tf.IndexedSlices(values, rows, tf.constant([ROWS, DIM]))])
        ),
        input_signature=[tf.TensorSpec([None, DIM]), tf.TensorSpec([None], tf.int64)],
        autograph=False,
    )
    value, average = start.copy(), start.copy()
    for step in range(1, 21):
        rows = rng.integers(0, ROWS, 3)
        values = rng.normal(size=(3, DIM))
        step_function(tf.constant(values, tf.float32), tf.constant(rows))
        np.subtract.at(value, rows, 0.3 * values)
        average = 0.8 * average + 0.2 * value
        np.testing.assert_allclose(averages.value(table, step), average, rtol=1e-4, atol=1e-5)
    held = table.numpy()
    with rule.averaged():
        np.testing.assert_allclose(table, average, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(table.numpy(), held)


def test_averages_keep_up_when_a_table_gets_a_dense_gradient():
    table = tf.Variable(tf.ones([ROWS, DIM]))
    averages = MovingAverages([table], [table], decay=0.5)
    rule = UpdateRule([(plain(1.0), [table])], averages=averages)
    rule.apply(*rule.prepare([tf.ones([ROWS, DIM])]))
    np.testing.assert_allclose(averages.value(table, 1), 0.5 * np.ones([ROWS, DIM]))


def test_a_decay_out_of_range_is_refused():
    with pytest.raises(ValueError, match="0 to 1"):
        MovingAverages([tf.Variable(0.0)], [], 1.5)


ONE_OPTIMIZER = """train_config { %s
  optimizer_config { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 1 } } } }
}"""


def test_frozen_variables_are_in_no_group_and_have_no_slots():
    model = keras.Sequential([keras.layers.Dense(2, name="low"), keras.layers.Dense(1, name="high")])
    model.build((None, 3))
    config = parse_config(ONE_OPTIMIZER % "freeze_gradient: '^low/' freeze_gradient: 'bias'")
    rule = update_rule_from_config(config, model)
    assert [variable.name for variable in rule.variables] == ["high/kernel:0"]
    assert [v.name for v in frozen_variables(config, model)] == ["low/kernel:0", "low/bias:0", "high/bias:0"]
    state = rule.state({id(v): v.name for v in model.variables})
    assert {name.split("/", 2)[2] for name in state if "/" in name[2:]} == {"high/kernel:0"}
    before = [weights.copy() for weights in model.get_weights()]
    rule.apply(*rule.prepare([tf.ones([2, 1])]))
    moved = [not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert moved == [False, False, True, False]


def test_tables_are_frozen_by_the_name_that_they_have_in_easyrec():
    model = keras.Sequential([keras.layers.Embedding(4, 2, name="user"), keras.layers.Dense(1)])
    model.build((None, 3))
    config = parse_config(ONE_OPTIMIZER % "freeze_gradient: 'user.*/embedding_weights'")
    assert [v.name for v in frozen_variables(config, model)] == ["user/embeddings:0"]


def test_a_pattern_that_freezes_nothing_comes_with_a_near_name():
    model = keras.Sequential([keras.layers.Dense(2, name="tower")])
    model.build((None, 3))
    with pytest.raises(ConfigError, match=r"freeze_gradient\[0\]: 'towre/kernel' .*mean 'tower/kernel:0'"):
        frozen_variables(parse_config(ONE_OPTIMIZER % "freeze_gradient: 'towre/kernel'"), model)


def test_the_state_has_every_variable_once_and_is_enough_to_go_on():
    def make():
        table, weight = tf.Variable(tf.zeros([ROWS, DIM])), tf.Variable([0.0])
        averages = MovingAverages([table, weight], [table], 0.9)
        rule = UpdateRule([(opt.Adam(0.1), [table]), (opt.RMSProp(0.1), [weight])], averages=averages)
        return rule, table, weight, rule.state({id(table): "table", id(weight): "weight"})

    def steps(rule, rng, number):
        for _ in range(number):
            rows = rng.integers(0, ROWS, 3)
            rule.apply(*rule.prepare([slices(rng.normal(size=(3, DIM)), rows), tf.constant([0.3])]))

    rule, table, weight, state = make()
    assert len({id(variable) for variable in state.values()}) == len(state)
    assert {"0/iterations", "1/iterations", "0/m/table", "1/mean_square/weight"} <= set(state)
    assert {"average/table", "average_step/table", "average/weight"} <= set(state)
    steps(rule, np.random.default_rng(0), 5)
    other, other_table, other_weight, other_state = make()
    other_table.assign(table)
    other_weight.assign(weight)
    for key, value in state.items():
        other_state[key].assign(value)
    steps(rule, np.random.default_rng(1), 5)
    steps(other, np.random.default_rng(1), 5)
    np.testing.assert_array_equal(table.numpy(), other_table.numpy())
    for key, value in state.items():
        np.testing.assert_array_equal(value.numpy(), other_state[key].numpy())


def test_loss_scale_halves_on_overflow_and_grows_after_good_steps():
    scale = LossScale(8.0, growth_steps=3)
    history = []
    for finite in [True, True, True, False, False, False, False, True, True, False, True, True, True]:
        scale.update(tf.constant(finite))
        history.append(float(scale.factor))
    assert history == [8, 8, 16, 8, 4, 2, 1, 1, 1, 1, 1, 1, 2]
    scale.factor.assign(3e38)
    for _ in range(3):
        scale.update(tf.constant(True))
    assert np.isfinite(float(scale.factor))
