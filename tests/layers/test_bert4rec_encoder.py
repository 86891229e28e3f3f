import numpy as np
import pytest
import tensorflow as tf
from encoder_oracle import array, encode_row, randomize, read
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from easyssl.layers import BERT4RecEncoder, ClozeMask
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
LENGTHS = np.array([7, 3, 0, 1, 5], "int32")
SEQUENCE = RNG.normal(size=(5, 7, 4)).astype("float32")
VALID = np.arange(7) < LENGTHS[:, None]
HIDDEN = VALID & (RNG.random((5, 7)) < 0.4)
SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 12, "max_position_embeddings": 9}


def made(**kwargs):
    layer = BERT4RecEncoder(**{**SIZES, **kwargs})
    layer([SEQUENCE, LENGTHS])
    randomize(layer)
    return layer


def reference(layer, sequence, lengths, hidden=None):
    """The definition, row by row in float64."""
    gap, limit, rows = array(layer.mask_vector), layer.max_position_embeddings, []
    output = layer.output_kind if hidden is None else "sequence"
    for index, (row, length) in enumerate(zip(sequence, lengths, strict=True)):
        steps = [gap if hidden is not None and hidden[index, t] else row[t] for t in range(length)]
        if output == "last" and length:
            steps.append(gap)
        steps = steps[-limit:]
        states = encode_row(layer, np.array(steps, np.float64)) if steps else np.zeros((0, layer.hidden_size))
        rows.append(read(states, output, min(limit, sequence.shape[1])))
    return np.stack(rows)


def test_gate():
    run_layer_test(
        BERT4RecEncoder,
        {**SIZES, "num_hidden_layers": 1},
        [SEQUENCE, LENGTHS],
        expected_output_shape=(5, 8),
        # 6 dense layers and 2 normalisations in a block; projection, positions, a normalisation and [mask]
        expected_num_trainable_weights=16 + 2 + 1 + 2 + 1,
        expected_num_non_trainable_weights=3 + 1,  # one random state per dropout
        is_random=True,
        draws_alike_under_xla=False,
    )


@pytest.mark.parametrize("output", ["last", "mean", "sequence"])
@pytest.mark.parametrize(
    "kwargs", [{}, {"norm_position": "pre", "hidden_act": "relu"}, {"num_hidden_layers": 1}]
)
def test_values(kwargs, output):
    layer = made(**kwargs, output=output)
    expected = reference(layer, SEQUENCE, LENGTHS)
    np.testing.assert_allclose(layer([SEQUENCE, LENGTHS]), expected, rtol=1e-3, atol=3e-4)


@pytest.mark.parametrize("output", ["last", "sequence"])
def test_states_of_sequences_with_hidden_steps(output):
    layer = made(output=output)
    got = layer([SEQUENCE, LENGTHS, HIDDEN])
    np.testing.assert_allclose(got, reference(layer, SEQUENCE, LENGTHS, HIDDEN), rtol=1e-3, atol=3e-4)
    changed = np.where(HIDDEN[:, :, None], 1e4, SEQUENCE).astype("float32")  # what was there does not matter
    np.testing.assert_array_equal(layer([changed, LENGTHS, HIDDEN]), got)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=5, max_size=5), st.integers(0, 2**16))
def test_any_lengths(lengths, seed):
    sequence = np.random.default_rng(seed).normal(size=SEQUENCE.shape).astype("float32")
    expected = reference(LAST, sequence, lengths)
    np.testing.assert_allclose(LAST([sequence, np.array(lengths)]), expected, rtol=1e-3, atol=3e-4)


def test_the_gap_behind_a_sequence_is_a_hidden_last_step():
    layer = made()
    longer = np.concatenate([SEQUENCE, np.zeros((5, 1, 4), "float32")], axis=1)
    states = layer([longer, LENGTHS + 1, np.arange(8) == LENGTHS[:, None]]).numpy()
    expected = states[np.arange(5), LENGTHS] * (LENGTHS > 0)[:, None]
    np.testing.assert_allclose(layer([SEQUENCE, LENGTHS]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("limit", [3, 7, 8])
def test_the_oldest_steps_make_room(limit):
    layer = made(max_position_embeddings=limit)
    expected = reference(layer, SEQUENCE, LENGTHS)
    np.testing.assert_allclose(layer([SEQUENCE, LENGTHS]), expected, rtol=1e-3, atol=3e-4)
    expected = reference(layer, SEQUENCE, LENGTHS, HIDDEN)
    np.testing.assert_allclose(layer([SEQUENCE, LENGTHS, HIDDEN]), expected, rtol=1e-3, atol=3e-4)


def test_padding_never_changes_results():
    layer = made()
    for rest in ([], [HIDDEN]):
        expected = layer([SEQUENCE, LENGTHS, *rest]).numpy()
        for extra in (1, 8):
            padded = np.concatenate([SEQUENCE, np.full((5, extra, 4), 1e4, "float32")], axis=1)
            hidden = [np.concatenate([x, np.ones((5, extra), bool)], axis=1) for x in rest]
            got = layer([padded, LENGTHS, *hidden]).numpy()
            np.testing.assert_allclose(got[:, :7] if rest else got, expected, rtol=1e-4, atol=1e-5)


def test_gradients_reach_the_mask_vector_and_visible_steps():
    layer, sequence = made(), tf.constant(SEQUENCE)
    weights = tf.constant(RNG.normal(size=(5, 7, 8)), tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(sequence)
        hidden = tf.reduce_sum(layer([sequence, LENGTHS, HIDDEN]) * weights)
        served = tf.reduce_sum(layer([sequence, LENGTHS]) * weights[:, 0])
    visible = VALID & ~HIDDEN
    for loss, reached in ((hidden, visible), (served, VALID)):
        gradient, of_mask = tape.gradient(loss, [sequence, layer.mask_vector])
        assert not gradient.numpy()[~reached].any() and gradient.numpy()[reached].any(axis=1).all()
        assert np.all(np.isfinite(of_mask)) and np.any(of_mask)


def test_gradients_equal_finite_differences():
    layer, sequence = made(), tf.constant(SEQUENCE)
    weights, direction = RNG.normal(size=(5, 8)), RNG.normal(size=SEQUENCE.shape)
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        loss = tf.reduce_sum(layer([sequence, LENGTHS]) * tf.constant(weights, tf.float32))
    slope = np.sum(tape.gradient(loss, sequence).numpy() * direction)
    above, below = (reference(layer, SEQUENCE + s * 1e-5 * direction, LENGTHS) for s in (1, -1))
    assert slope == pytest.approx(np.sum((above - below) * weights) / 2e-5, rel=1e-2)


def test_other_third_inputs_are_ignored():
    layer = made()
    expected = layer([SEQUENCE, LENGTHS])
    for third in (SEQUENCE[:, 0], None):
        np.testing.assert_array_equal(layer([SEQUENCE, LENGTHS, third]), expected)


def test_edge_cases():
    layer = made()
    assert not layer([SEQUENCE, np.zeros(5, "int32")]).numpy().any()
    single = layer([SEQUENCE[3:4, :1], LENGTHS[3:4]])
    np.testing.assert_allclose(single, layer([SEQUENCE, LENGTHS])[3:4], rtol=1e-4, atol=1e-5)


def test_values_and_gradients_are_the_same_under_xla():
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    layer = made(num_hidden_layers=1, **dropout)

    def both(sequence, lengths, hidden):
        with tf.GradientTape() as tape:
            served, states = layer([sequence, lengths], training=True), layer([sequence, lengths, hidden])
            loss = tf.reduce_sum(tf.square(states)) + tf.reduce_sum(tf.square(served - 1.0))
        return [served, states, *tape.gradient(loss, layer.trainable_variables)]

    spec = [
        tf.TensorSpec([None, None, 4]),
        tf.TensorSpec([None], tf.int32),
        tf.TensorSpec([None, None], tf.bool),
    ]
    compiled = tf.function(both, input_signature=spec, jit_compile=True, autograph=False)
    eager = both(*map(tf.constant, (SEQUENCE, LENGTHS, HIDDEN)))
    for got, want in zip(compiled(SEQUENCE, LENGTHS, HIDDEN), eager, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


def test_a_cloze_task_teaches_to_guess():
    """Sequences count up; the encoder learns to guess a hidden number from its neighbours, and the next one."""
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    table = tf.constant(rng.normal(size=(12, 16)), tf.float32)
    cloze, encoder = (
        ClozeMask(0.3, 0.5, seed=1),
        BERT4RecEncoder(num_hidden_layers=1, hidden_dropout_prob=0.0),
    )
    optimizer = keras.optimizers.Adam(0.02)
    encoder([tf.gather(table, [[0, 1]]), np.array([2])])
    optimizer.build(encoder.trainable_variables)

    def batch(size, longest):
        start, lengths = rng.integers(0, 4, size), rng.integers(3, longest + 1, size)
        return (start[:, None] + np.arange(8)).astype("int32"), lengths.astype("int32")

    @tf.function(autograph=False)
    def step(ids, lengths):
        with tf.GradientTape() as tape:
            sequence, lengths, chosen = cloze([tf.gather(table, ids), lengths], training=True)
            states = encoder([sequence, lengths, chosen], training=True)
            logits = tf.matmul(states, table, transpose_b=True)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(ids, logits)
            loss = tf.reduce_sum(tf.where(chosen, losses, 0.0)) / tf.reduce_sum(tf.cast(chosen, tf.float32))
        gradients = tape.gradient(loss, encoder.trainable_variables)
        optimizer.apply_gradients(zip(gradients, encoder.trainable_variables, strict=True))

    for _ in range(120):
        step(*map(tf.constant, batch(32, 8)))
    ids, lengths = batch(64, 7)
    user = encoder([tf.gather(table, ids), lengths])
    guessed = np.argmax(tf.matmul(user, table, transpose_b=True), axis=1)
    assert np.mean(guessed == ids[np.arange(64), lengths]) > 0.9


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_attention_heads": 3}, "BERT4RecEncoder: `hidden_size` must be a multiple"),
        ({"max_position_embeddings": 1}, "max_position_embeddings=1"),
        ({"output": "first"}, "unknown output 'first'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        BERT4RecEncoder(**{**SIZES, **kwargs})


LAST = made()
