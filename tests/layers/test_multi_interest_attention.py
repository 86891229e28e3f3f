import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.layers import MultiInterestAttention
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(5, 4, 6)).astype("float32")
LENGTHS = np.array([4, 2, 0, 1, 3], "int32")
VALID = np.arange(4) < LENGTHS[:, None]
ATTEND = MultiInterestAttention(3, output_attention=True)


def reference(layer, x, lengths):
    """Returns interests, z and attention in float64."""
    x, valid = x.astype(np.float64), np.arange(x.shape[1]) < lengths[:, None]
    seen = x
    if layer.max_position_embeddings:
        seen = x + layer.position_table.numpy()[: x.shape[1]]
    scores = np.tanh(seen @ layer.hidden_dense.kernel.numpy()) @ layer.score_dense.kernel.numpy()
    scores = np.where(valid[..., None], np.exp(scores), 0.0).transpose(0, 2, 1)
    attention = scores / np.maximum(scores.sum(axis=-1, keepdims=True), 1e-30)
    z = attention @ (x @ layer.value_dense.kernel.numpy() if layer.value_projection else x)
    if layer.output_head == "none":
        return z, z, attention
    interests = np.tanh(z @ layer.head_dense.kernel.numpy() + layer.head_dense.bias.numpy())
    return np.where(lengths[:, None, None] > 0, interests, 0.0), z, attention


@pytest.mark.parametrize(
    ("options", "weights"),
    [
        ({"num_interests": 3}, 3),
        ({"num_interests": 2, "hidden_size": 5, "max_position_embeddings": 7, "output_head": "tanh_fc"}, 6),
    ],
)
def test_gate(options, weights):
    run_layer_test(
        MultiInterestAttention,
        options,
        [X, LENGTHS],
        expected_output_shape=(5, options["num_interests"], 6),
        expected_num_trainable_weights=weights,
        expected_num_non_trainable_weights=0,
    )


def test_gate_with_attention():
    run_layer_test(
        MultiInterestAttention,
        {"num_interests": 3, "output_attention": True, "output_head": "tanh_fc", "value_projection": False},
        [X, LENGTHS],
        expected_output_shape=[(5, 3, 6), (5, 3, 6), (5, 3, 4)],
        expected_num_trainable_weights=4,
        policies=(),  # the attention is float32 under each of them, see below
    )


@pytest.mark.parametrize("positions", [None, 9])
@pytest.mark.parametrize("value_projection", [True, False])
@pytest.mark.parametrize("head", ["none", "tanh_fc"])
def test_values(positions, value_projection, head):
    layer = MultiInterestAttention(3, 5, value_projection, positions, output_head=head, output_attention=True)
    got = layer([X, LENGTHS])
    if head == "tanh_fc":
        layer.head_dense.bias.assign(np.arange(6) / 3.0)
        got = layer([X, LENGTHS])
    for ours, expected in zip(got, reference(layer, X, LENGTHS), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    attention = got[2].numpy()
    np.testing.assert_allclose(attention.sum(axis=-1)[LENGTHS > 0], 1.0, rtol=1e-6)
    np.testing.assert_array_equal(attention * ~VALID[:, None], 0.0)
    for x in got:
        np.testing.assert_array_equal(x[2], np.zeros_like(x[2]))


def test_hidden_size_is_four_times_the_width():
    layer = MultiInterestAttention(3)
    layer([X, LENGTHS])
    assert layer.hidden_dense.kernel.shape == (6, 24)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 4), min_size=5, max_size=5), st.integers(0, 2**31))
def test_permuting_the_history_permutes_the_attention_only(lengths, seed):
    rng, lengths = np.random.default_rng(seed), np.array(lengths, "int32")
    order = np.array([[*rng.permutation(n), *range(n, 4)] for n in lengths])
    _, z, attention = ATTEND([X, lengths])
    _, moved_z, moved_attention = ATTEND([np.take_along_axis(X, order[:, :, None], 1), lengths])
    np.testing.assert_allclose(moved_z, z, rtol=1e-4, atol=1e-5)
    expected = np.take_along_axis(attention.numpy(), order[:, None], 2)
    np.testing.assert_allclose(moved_attention, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        attention.numpy().sum(axis=-1), np.minimum(lengths, 1)[:, None] * np.ones(3), atol=1e-6
    )
    assert not np.any(attention.numpy()[np.broadcast_to(np.arange(4) >= lengths[:, None, None], (5, 3, 4))])


def test_positions_tell_the_order():
    full, order = np.full([5], 4), [2, 0, 3, 1]
    with_positions = MultiInterestAttention(3, max_position_embeddings=4)
    with_positions([X, full])
    with_positions.position_table.assign(np.random.default_rng(0).normal(size=(4, 6)))
    assert np.any(np.abs(with_positions([X[:, order], full]) - with_positions([X, full])) > 1e-2)


@pytest.mark.parametrize("positions", [None, 4])
def test_padding_changes_nothing(positions):
    layer = MultiInterestAttention(3, max_position_embeddings=positions)
    expected = layer([X, LENGTHS])
    garbage = np.where(VALID[..., None], X, np.inf)
    longer = np.concatenate([garbage, np.full([5, 3, 6], np.nan, "float32")], axis=1)
    np.testing.assert_allclose(layer([longer, LENGTHS]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_attention_stays_in_single_precision(policy):
    layer = MultiInterestAttention(3, output_attention=True, output_head="tanh_fc", dtype=policy)
    interests, z, attention = layer([1e3 * X, LENGTHS])
    assert [x.dtype.name for x in (interests, z, attention)] == [policy.split("_")[1]] * 2 + ["float32"]
    for x in (interests, z, attention):
        assert np.all(np.isfinite(tf.cast(x, tf.float32)))


def test_a_sequence_of_more_steps_than_positions_is_refused():
    layer = MultiInterestAttention(3, max_position_embeddings=3, name="a")
    with pytest.raises(tf.errors.InvalidArgumentError, match="max_position_embeddings=3"):
        layer([X, LENGTHS])


@pytest.mark.parametrize("inputs", [[X], X, [X, X], [X[:, 0], LENGTHS]])
def test_other_inputs_are_refused(inputs):
    with pytest.raises(ValueError, match=r"MultiInterestAttention 'a' takes a sequence"):
        MultiInterestAttention(3, name="a")(inputs)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_interests": 0}, "num_interests=0"),
        ({"num_interests": 2, "hidden_size": 0}, "hidden_size=0"),
        ({"num_interests": 2, "max_position_embeddings": -1}, "max_position_embeddings=-1"),
        ({"num_interests": 2, "output_head": "tanh"}, "did you mean 'tanh_fc'"),
    ],
)
def test_bad_arguments_are_refused(options, text):
    with pytest.raises(ValueError, match=text):
        MultiInterestAttention(**options)
