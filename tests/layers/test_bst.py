import itertools

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import BST
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
LENGTHS = np.array([7, 3, 0, 1, 5], "int32")
SEQUENCE = RNG.normal(size=(5, 7, 4)).astype("float32")
TARGET = RNG.normal(size=(5, 3)).astype("float32")
SIZES = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 12,
    "max_position_embeddings": 9,
}
SINGLE = {**SIZES, "output_all_token_embeddings": False}


def array(variable):
    return np.asarray(tf.convert_to_tensor(variable), np.float64)


def randomize(layer):
    rng = np.random.default_rng(1)
    layer.set_weights(
        [
            w if w.dtype == np.int64 else rng.normal(0, 0.5, w.shape).astype(w.dtype)
            for w in layer.get_weights()
        ]
    )


def made(inputs, **kwargs):
    layer = BST(**kwargs)
    layer(inputs)
    randomize(layer)
    return layer


def dense(layer, x):
    return x @ array(layer.kernel) + array(layer.bias)


def norm(layer, x):
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12) * array(layer.gamma) + array(layer.beta)


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def attend(layer, x):
    query, key, value = (dense(getattr(layer, f"{n}_dense"), x) for n in ("query", "key", "value"))
    width = x.shape[1] // layer.num_heads
    heads = []
    for h in range(layer.num_heads):
        part = slice(h * width, (h + 1) * width)
        scores = query[:, part] @ key[:, part].T / np.sqrt(width)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        heads.append(weights / weights.sum(axis=1, keepdims=True) @ value[:, part])
    return dense(layer.output_dense, np.concatenate(heads, axis=1))


def encode(layer, tokens):
    """The transformer on the valid tokens of one row, `[tokens, dim]`: no padding, no mask."""
    x = norm(layer.norm, tokens)
    for block in layer.blocks:
        x = norm(block.attention_residual.norm, x + attend(block.attention, x))
        update = dense(block.output_dense, gelu(dense(block.intermediate, x)))
        x = norm(block.output_residual.norm, x + update)
    return x


def project(dense_layer, x):
    return x if dense_layer is None else np.maximum(dense(dense_layer, x), 0)


def reference(layer, sequence, lengths, target=None):
    """The definition, row by row in float64."""
    limit, dim, where = layer.max_position_embeddings, layer.hidden_size, layer.target_item_position
    use_target = target is not None and where != "ignore"
    reserved = layer.output_all_token_embeddings and layer.reserve_target_position and where != "ignore"
    slot = use_target or reserved
    table = array(layer.position_table) if layer.use_position_embeddings else np.zeros((limit + 1, dim))
    first_row = 1 if slot and where == "head" else 0
    rows = []
    for index, length in enumerate(np.minimum(lengths, limit)):
        steps = project(layer.sequence_projection, sequence[index, :length].astype(np.float64))
        tokens = list(steps + table[first_row : first_row + length])
        if use_target:
            token = project(layer.target_projection, target[index].astype(np.float64))
            place = 0 if where == "head" else len(tokens)
            tokens.insert(place, token + table[0 if where == "head" else limit])
        encoded = list(encode(layer, np.array(tokens))) if tokens else []
        own = [encoded.pop(0 if where == "head" else -1)] if use_target else [np.zeros(dim)] * slot
        if layer.output_all_token_embeddings:
            steps = encoded + [np.zeros(dim)] * (limit - len(encoded))
            rows.append(np.concatenate(own + steps if where == "head" else steps + own))
        elif own:
            rows.append(own[0])
        else:
            rows.append((encoded[0] if where == "head" else encoded[-1]) if encoded else np.zeros(dim))
    return np.stack(rows)


@pytest.mark.parametrize(
    ("kwargs", "inputs", "shape"),
    [
        (SIZES, (SEQUENCE, LENGTHS, TARGET), (5, 80)),
        (SINGLE, [SEQUENCE, LENGTHS], (5, 8)),
    ],
)
def test_gate(kwargs, inputs, shape):
    per_block = 16  # 6 dense layers and 2 normalisations, two weights each
    projections = 2 * (len(inputs) - 1)
    run_layer_test(
        BST,
        kwargs,
        inputs,
        expected_output_shape=shape,
        expected_num_trainable_weights=per_block + 2 + 1 + projections,
        expected_num_non_trainable_weights=1 + 3,  # one random state per dropout
        is_random=True,
        draws_alike_under_xla=False,
    )


@pytest.mark.parametrize(
    ("output_all", "target", "where", "reserve"),
    itertools.product([True, False], [True, False], ["head", "tail", "ignore"], [True, False]),
)
def test_values_of_every_combination(output_all, target, where, reserve):
    inputs = [SEQUENCE, LENGTHS, TARGET] if target else [SEQUENCE, LENGTHS]
    layer = made(
        inputs,
        **SIZES,
        output_all_token_embeddings=output_all,
        target_item_position=where,
        reserve_target_position=reserve,
    )
    got = layer(inputs)
    tokens = 9 + (where != "ignore" and (target or reserve))
    assert got.shape == (5, 8 * tokens if output_all else 8)
    np.testing.assert_allclose(got, reference(layer, *inputs), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"use_position_embeddings": False},
        {"hidden_size": 4},
        {"num_hidden_layers": 3, "num_attention_heads": 8},
    ],
)
def test_values_without_positions_without_projection_and_of_several_layers(kwargs):
    inputs = [SEQUENCE, LENGTHS]
    layer = made(inputs, **{**SIZES, **kwargs})
    np.testing.assert_allclose(layer(inputs), reference(layer, *inputs), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("where", ["head", "tail"])
@pytest.mark.parametrize("target", [True, False])
@pytest.mark.parametrize("sizes", [SIZES, SINGLE])
def test_padding_never_changes_results(sizes, target, where):
    rest = [TARGET] if target else []
    layer = made([SEQUENCE, LENGTHS, *rest], **sizes, target_item_position=where)
    expected = layer([SEQUENCE, LENGTHS, *rest])
    for extra in (1, 8):  # the second one goes beyond max_position_embeddings
        padded = np.concatenate([SEQUENCE, np.full((5, extra, 4), 1e4, "float32")], axis=1)
        np.testing.assert_allclose(layer([padded, LENGTHS, *rest]), expected, rtol=1e-5, atol=1e-5)


def test_no_gradient_reaches_padding():
    layer = made([SEQUENCE, LENGTHS], **SINGLE, target_item_position="tail")
    sequence = tf.constant(SEQUENCE)
    with tf.GradientTape() as tape:
        tape.watch(sequence)
        total = tf.reduce_sum(layer([sequence, LENGTHS]) * tf.random.stateless_normal([5, 8], [1, 2]))
    gradient = tape.gradient(total, sequence).numpy()
    valid = np.arange(7) < LENGTHS[:, None]
    assert not gradient[~valid].any() and gradient[valid].any(axis=1).all()


def test_rows_without_a_step():
    lengths = np.zeros(5, "int32")
    for where in ("head", "tail", "ignore"):
        layer = made([SEQUENCE, lengths], **SINGLE, target_item_position=where)
        assert not layer([SEQUENCE, lengths]).numpy().any()


def test_sequences_longer_than_the_limit():
    long, lengths = np.repeat(SEQUENCE, 2, axis=1), np.array([14, 10, 9, 3, 0], "int32")
    layer = made([long, lengths], **SIZES)
    np.testing.assert_allclose(layer([long, lengths]), reference(layer, long, lengths), rtol=1e-3, atol=2e-4)
    layer = BST(**SINGLE, name="encoder")
    with pytest.raises(tf.errors.InvalidArgumentError, match="BST 'encoder': a sequence is longer than"):
        layer([long, lengths])


def test_no_target_may_be_given_as_none():
    layer = made([SEQUENCE, LENGTHS], **SINGLE)
    np.testing.assert_array_equal(layer([SEQUENCE, LENGTHS, None]), layer([SEQUENCE, LENGTHS]))
    layer = made([SEQUENCE, LENGTHS, TARGET], **SINGLE, target_item_position="ignore")
    np.testing.assert_array_equal(layer([SEQUENCE, LENGTHS]), layer([SEQUENCE, LENGTHS, TARGET]))


def test_a_target_in_one_call_only_is_refused():
    layer = made([SEQUENCE, LENGTHS, TARGET], **SINGLE, name="encoder")
    with pytest.raises(ValueError, match="'encoder' was first called with a target and now without"):
        layer([SEQUENCE, LENGTHS])
    layer = made([SEQUENCE, LENGTHS], **SINGLE, name="encoder")
    with pytest.raises(ValueError, match="'encoder' was first called without a target and now with"):
        layer([SEQUENCE, LENGTHS, TARGET])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_is_close_and_finite(policy):
    inputs = [SEQUENCE, LENGTHS, TARGET]
    layer, half = made(inputs, **SIZES), made(inputs, **SIZES, dtype=policy)
    got = tf.cast(half(inputs), tf.float32)
    np.testing.assert_allclose(got, layer(inputs), atol=0.05 if policy == "mixed_float16" else 0.4)
    constant = BST(**{**SIZES, "hidden_size": 4}, dtype=policy, use_position_embeddings=False)
    output = constant([np.zeros_like(SEQUENCE), LENGTHS])  # variance 0, epsilon 1e-12
    assert np.all(np.isfinite(tf.cast(output, tf.float32)))


def test_dynamic_shapes_and_xla():
    inputs = [SEQUENCE, LENGTHS, TARGET]
    for sizes, where in ((SINGLE, "head"), (SIZES, "tail")):
        layer = made(inputs, **sizes, target_item_position=where)
        spec = [tf.TensorSpec([None, None, 4]), tf.TensorSpec([None], tf.int32), tf.TensorSpec([None, 3])]
        graph = tf.function(lambda *x, layer=layer: layer(list(x)), input_signature=spec, autograph=False)
        np.testing.assert_allclose(graph(*inputs), layer(inputs), rtol=1e-5, atol=1e-5)
    compiled = tf.function(lambda *x: layer(list(x)), jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(*map(tf.constant, inputs)), layer(inputs), rtol=1e-5, atol=1e-5)


def test_regularizer_reaches_the_projections_only():
    layer = made([SEQUENCE, LENGTHS, TARGET], **SINGLE, kernel_regularizer=keras.regularizers.L2(0.5))
    projections = (layer.sequence_projection, layer.target_projection)
    expected = sum(0.5 * np.sum(array(dense.kernel) ** 2) for dense in projections)
    assert float(tf.add_n(layer.losses)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("act", ["relu", "tanh", "swish", "dice"])
def test_other_activations_train(act):
    layer = BST(**SINGLE, hidden_act=act)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer([SEQUENCE, LENGTHS], training=True) - 1.0))
    gradients = tape.gradient(loss, layer.trainable_variables)
    assert all(np.all(np.isfinite(gradient)) for gradient in gradients)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"num_attention_heads": 3}, "hidden_size=8, num_attention_heads=3"),
        ({"num_hidden_layers": 0}, "num_hidden_layers=0"),
        ({"hidden_dropout_prob": 1.0}, "hidden_dropout_prob=1.0"),
        ({"target_item_position": "tale"}, "did you mean 'tail'"),
        ({"hidden_act": "gelo"}, "did you mean 'gelu'"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        BST(**{**SIZES, **kwargs})


@pytest.mark.parametrize("inputs", [SEQUENCE, [SEQUENCE], [SEQUENCE, LENGTHS, SEQUENCE], [TARGET, LENGTHS]])
def test_other_inputs_are_refused(inputs):
    with pytest.raises(ValueError, match=r"BST 'encoder' takes a sequence \[batch, seq_len, dim\], lengths"):
        BST(**SIZES, name="encoder")(inputs)
