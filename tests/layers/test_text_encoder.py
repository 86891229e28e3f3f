import encoder_oracle as oracle
import numpy as np
import pytest

from easyssl.layers import TextEncoder
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

TITLE = np.array([[3, 4, 5], [9, -1, -1], [-1, -1, -1], [1, -1, 2]])
QUERY = np.array([[6, 11], [-1, -1], [-1, -1], [7, 8]])
CLS, SEP = 10, 11
# Without gaps; 11 is an unknown word.
TOKENS = [
    [CLS, 3, 4, 5, SEP, 6, 2, SEP],
    [CLS, 9, SEP, SEP],
    [CLS, SEP, SEP],
    [CLS, 1, 2, SEP, 7, 8, SEP],
]
TRANSFORMER = {
    "hidden_size": 6,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 5,
    "vocab_size": 10,
}


def test_gate():
    run_layer_test(
        TextEncoder,
        {"transformer": TRANSFORMER, "default_token_id": 2},
        [TITLE, QUERY],
        expected_output_shape=(4, 6),
        expected_num_trainable_weights=17,
        is_random=True,
        draws_alike_under_xla=False,
        policies=("mixed_bfloat16",),
    )


@pytest.mark.parametrize("limit", [512, 5])
def test_values(limit):
    layer = TextEncoder({**TRANSFORMER, "max_position_embeddings": limit}, default_token_id=2)
    layer([TITLE, QUERY])
    oracle.randomize(layer)
    tokens = np.full((4, 8), -1)
    for row, known in zip(tokens, TOKENS, strict=True):
        row[: len(known)] = known
    got = layer([TITLE, QUERY])
    np.testing.assert_allclose(got, layer.encoder(tokens), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(got, layer.encoder(tokens[:, :limit]), rtol=1e-5, atol=1e-5)
    assert layer.encoder.table.variable.shape == (10 + 2, 6)


def test_one_text():
    layer = TextEncoder(TRANSFORMER)
    layer(TITLE)
    expected = layer.encoder(np.array([[CLS, 3, 4, 5, SEP]]))
    np.testing.assert_allclose(layer(TITLE[:1]), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer([TITLE[:1]]), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"transformer": {}}, TITLE, "`transformer` needs the parameter 'hidden_size'"),
        ({"transformer": {**TRANSFORMER, "layers": 2}}, TITLE, "no parameter 'layers'"),
        ({"transformer": TRANSFORMER, "default_token_id": 10}, TITLE, "default_token_id=10"),
        ({"transformer": TRANSFORMER, "default_token_id": -1}, TITLE, "default_token_id=-1"),
        ({"transformer": TRANSFORMER}, TITLE[:, 0], "takes the ids of words"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        TextEncoder(**kwargs)(inputs)
