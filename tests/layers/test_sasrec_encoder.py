import numpy as np
import pytest
import tensorflow as tf
from encoder_oracle import encode_row, randomize, read
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.layers import EncoderBlock, SASRecEncoder
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
LENGTHS = np.array([7, 3, 0, 1, 5], "int32")
SEQUENCE = RNG.normal(size=(5, 7, 4)).astype("float32")
SIZES = {"hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 12, "max_position_embeddings": 9}


def made(inputs=(SEQUENCE, LENGTHS), **kwargs):
    layer = SASRecEncoder(**{**SIZES, **kwargs})
    layer(inputs)
    randomize(layer)
    return layer


def reference(layer, sequence, lengths):
    """The definition, row by row in float64."""
    limit = layer.max_position_embeddings
    rows = []
    for row, length in zip(sequence, lengths, strict=True):
        kept = row[max(length - limit, 0) : length].astype(np.float64)
        states = encode_row(layer, kept) if length else np.zeros((0, layer.hidden_size or row.shape[1]))
        rows.append(read(states, layer.output_kind, min(limit, sequence.shape[1])))
    return np.stack(rows)


def test_gate():
    run_layer_test(
        SASRecEncoder,
        {**SIZES, "num_hidden_layers": 1},
        [SEQUENCE, LENGTHS],
        expected_output_shape=(5, 8),
        # 6 dense layers and 2 normalisations in a block; projection, positions and a normalisation before
        expected_num_trainable_weights=16 + 2 + 1 + 2,
        expected_num_non_trainable_weights=3 + 1,  # one random state per dropout
        is_random=True,
        draws_alike_under_xla=False,
    )


@pytest.mark.parametrize("output", ["last", "mean", "sequence"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"norm_position": "pre", "embedding_norm": False, "scale_embeddings": True, "num_attention_heads": 1},
        {"hidden_size": None, "num_hidden_layers": 1, "intermediate_size": None, "hidden_act": "gelu"},
        {"use_position_embeddings": False, "num_attention_heads": 8, "num_hidden_layers": 3},
    ],
)
def test_values(kwargs, output):
    layer = made(**kwargs, output=output)
    got = layer([SEQUENCE, LENGTHS])
    np.testing.assert_allclose(got, reference(layer, SEQUENCE, LENGTHS), rtol=1e-3, atol=3e-4)


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(0, 7), min_size=5, max_size=5), st.integers(0, 2**16))
def test_any_lengths(lengths, seed):
    sequence = np.random.default_rng(seed).normal(size=SEQUENCE.shape).astype("float32")
    expected = reference(LAST, sequence, lengths)
    np.testing.assert_allclose(LAST([sequence, np.array(lengths)]), expected, rtol=1e-3, atol=3e-4)


@pytest.mark.parametrize("norm_position", ["post", "pre"])
def test_no_step_depends_on_later_steps(norm_position):
    layer = made(norm_position=norm_position, output="sequence")
    full = np.full(5, 7, "int32")
    states = layer([SEQUENCE, full]).numpy()
    for t in range(6):
        changed = SEQUENCE.copy()
        changed[:, t + 1 :] = RNG.normal(0, 10, size=changed[:, t + 1 :].shape)
        other = layer([changed, full]).numpy()
        np.testing.assert_allclose(other[:, : t + 1], states[:, : t + 1], rtol=1e-4, atol=1e-5)
        assert np.all(np.abs(other[:, t + 1 :] - states[:, t + 1 :]).max(axis=-1) > 1e-3)


def test_no_gradient_flows_from_a_state_to_later_steps():
    layer, sequence = made(output="sequence"), tf.constant(SEQUENCE)
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        loss = tf.reduce_sum(
            layer([sequence, np.full(5, 7, "int32")])[:, 3] * tf.constant(RNG.normal(size=8), tf.float32)
        )
    gradient = tape.gradient(loss, sequence).numpy()
    assert not gradient[:, 4:].any() and gradient[:, :4].any(axis=(0, 2)).all()


def test_the_last_state_is_the_last_of_the_sequence():
    last, sequence = made(), made(output="sequence")
    states = sequence([SEQUENCE, LENGTHS]).numpy()
    expected = [states[b, n - 1] if n else np.zeros(8) for b, n in enumerate(LENGTHS)]
    np.testing.assert_allclose(last([SEQUENCE, LENGTHS]), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["last", "mean", "sequence"])
def test_padding_never_changes_results(output):
    layer = made(output=output)
    expected = layer([SEQUENCE, LENGTHS]).numpy()
    for extra in (1, 8):  # the second one goes beyond max_position_embeddings
        padded = np.concatenate([SEQUENCE, np.full((5, extra, 4), 1e4, "float32")], axis=1)
        got = layer([padded, LENGTHS]).numpy()
        if output == "sequence":
            assert got.shape[1] == min(9, 7 + extra) and not got[:, 7:].any()
            got = got[:, :7]
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_of_longer_sequences_the_last_steps_are_kept():
    layer = made(max_position_embeddings=3)
    np.testing.assert_allclose(
        layer([SEQUENCE, LENGTHS]), reference(layer, SEQUENCE, LENGTHS), rtol=1e-3, atol=3e-4
    )
    recent = np.stack([SEQUENCE[0, 4:7], SEQUENCE[4, 2:5]])
    np.testing.assert_allclose(
        layer([recent, np.array([3, 3])]), tf.gather(layer([SEQUENCE, LENGTHS]), [0, 4]), rtol=1e-4, atol=1e-5
    )


def test_no_gradient_reaches_padding():
    layer, sequence = made(max_position_embeddings=4), tf.constant(SEQUENCE)
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        loss = tf.reduce_sum(layer([sequence, LENGTHS]) * tf.constant(RNG.normal(size=8), tf.float32))
    gradient = tape.gradient(loss, sequence).numpy()
    steps = np.arange(7)
    kept = (steps < LENGTHS[:, None]) & (steps >= LENGTHS[:, None] - 4)
    assert not gradient[~kept].any() and gradient[kept].any(axis=1).all()


def test_gradients_equal_finite_differences():
    layer = made()
    direction = RNG.normal(size=SEQUENCE.shape).astype("float32")
    weights = RNG.normal(size=(5, 8))
    sequence = tf.constant(SEQUENCE)
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        loss = tf.reduce_sum(layer([sequence, LENGTHS]) * tf.constant(weights, tf.float32))
    slope = np.sum(tape.gradient(loss, sequence).numpy() * direction)
    step = 1e-5
    above, below = (
        reference(layer, SEQUENCE + s * step * direction.astype(np.float64), LENGTHS) for s in (1, -1)
    )
    assert slope == pytest.approx(np.sum((above - below) * weights) / (2 * step), rel=1e-2)


def test_edge_cases():
    layer = made()
    assert not layer([SEQUENCE, np.zeros(5, "int32")]).numpy().any()
    single = layer([SEQUENCE[3:4], LENGTHS[3:4]])
    np.testing.assert_allclose(single, layer([SEQUENCE, LENGTHS])[3:4], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer([SEQUENCE, LENGTHS, SEQUENCE[:, 0]]), layer([SEQUENCE, LENGTHS]))


def test_dynamic_shapes():
    layer = made()
    spec = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None], tf.int32)]
    graph = tf.function(lambda *x: layer(list(x)), input_signature=spec, autograph=False)
    np.testing.assert_allclose(graph(SEQUENCE, LENGTHS), layer([SEQUENCE, LENGTHS]), rtol=1e-5, atol=1e-5)


def test_values_and_gradients_are_the_same_under_xla():
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    layer = made(num_hidden_layers=1, norm_position="pre", output="sequence", **dropout)

    def both(sequence, lengths):
        with tf.GradientTape() as tape:
            states = layer([sequence, lengths], training=True)
            loss = tf.reduce_sum(tf.square(states - 1.0))
        return [states, *tape.gradient(loss, layer.trainable_variables)]

    spec = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None], tf.int32)]
    compiled = tf.function(both, input_signature=spec, jit_compile=True, autograph=False)
    eager = both(tf.constant(SEQUENCE), tf.constant(LENGTHS))
    for got, want in zip(compiled(SEQUENCE, LENGTHS), eager, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("norm_position", ["post", "pre"])
def test_half_precision_is_close(policy, norm_position):
    layer = made(norm_position=norm_position)
    half = SASRecEncoder(**SIZES, norm_position=norm_position, dtype=policy)
    half([SEQUENCE, LENGTHS])
    half.set_weights(layer.get_weights())
    got = tf.cast(half([1e3 * SEQUENCE, LENGTHS]), tf.float32)
    assert np.all(np.isfinite(got))
    got = tf.cast(half([SEQUENCE, LENGTHS]), tf.float32)
    np.testing.assert_allclose(
        got, layer([SEQUENCE, LENGTHS]), atol=0.06 if policy == "mixed_float16" else 0.5
    )


def test_an_arbitrary_mask_hides_steps_of_a_causal_block():
    block = EncoderBlock(2, 6, causal=True)
    sequence, mask = tf.constant(SEQUENCE), np.ones((5, 7), bool)
    mask[:, 2] = False
    states = block(sequence, mask=tf.constant(mask)).numpy()
    changed = SEQUENCE.copy()
    changed[:, 2] = 100.0
    other = block(tf.constant(changed), mask=tf.constant(mask)).numpy()
    np.testing.assert_allclose(other[mask], states[mask], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_attention_heads": 3}, "hidden_size=8, num_attention_heads=3"),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0"),
        ({"intermediate_size": -1}, "intermediate_size=-1"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob=1.0"),
        ({"norm_position": "prae"}, "unknown norm_position 'prae'; did you mean 'pre'"),
        ({"output": "lats"}, "SASRecEncoder: unknown output 'lats'; did you mean 'last'"),
        ({"hidden_act": "gelo"}, "did you mean 'gelu'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        SASRecEncoder(**{**SIZES, **kwargs})


@pytest.mark.parametrize("inputs", [SEQUENCE, [SEQUENCE], [LENGTHS, SEQUENCE]])
def test_other_inputs_are_refused(inputs):
    with pytest.raises(
        ValueError, match=r"SASRecEncoder 'encoder' takes a sequence \[batch, seq_len, dim\] and"
    ):
        SASRecEncoder(**SIZES, name="encoder")(inputs)


LAST = made()
