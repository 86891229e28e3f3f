"""Numbers of parameters of EasyRec's components, as their formulas imply.

Each expectation is worked out from the sizes by hand: kernels, biases where the component has them, and scale and
offset of normalisations. Moving statistics are no parameters.
"""

import math

import pytest
import tensorflow as tf

from easyssl import registry

pytestmark = pytest.mark.both_keras


def zeros(*shapes):
    return [tf.zeros((2, *shape)) for shape in shapes]


def lengths():
    return tf.constant([1, 3])


def dense(inputs, outputs, bias=True):
    return inputs * outputs + (outputs if bias else 0)


def norm(width):
    return 2 * width


def attention(width):
    return 4 * dense(width, width)


def digits(base):
    return math.floor(math.log(2**32 - 1, base)) + 1


FIELDS = zeros((4,), (4,), (4,))
MLP = {"hidden_units": [5, 3]}
BLOCK = {"hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 6}
BST = {**BLOCK, "num_hidden_layers": 2, "max_position_embeddings": 5}
ENCODER_LAYER = attention(4) + norm(4) + dense(4, 6) + dense(6, 4) + norm(4)

CASES = [
    ("MLP", MLP, zeros((4,))[0], dense(4, 5, False) + norm(5) + dense(5, 3, False) + norm(3)),
    (
        "MLP",
        {**MLP, "use_bias": True, "use_final_bias": True, "use_bn": False, "use_final_bn": False},
        zeros((4,))[0],
        dense(4, 5) + dense(5, 3),
    ),
    ("MLP", {**MLP, "use_bias": True}, zeros((4,))[0], dense(4, 5) + norm(5) + dense(5, 3, False) + norm(3)),
    ("FM", {}, FIELDS, 0),
    ("DotInteraction", {}, FIELDS, 0),
    ("Gate", {}, zeros((2,), (4,), (4,)), 0),
    ("Cross", {}, zeros((6,), (6,)), dense(6, 6)),
    ("Cross", {"use_bias": False}, zeros((6,), (6,)), dense(6, 6, False)),
    ("Cross", {"projection_dim": 2}, zeros((6,), (6,)), dense(6, 2, False) + dense(2, 6)),
    ("CIN", {"hidden_feature_sizes": [3, 2]}, zeros((4, 5))[0], 3 * 4 * 4 + 3 + 2 * 3 * 4 + 2),
    ("BiLinear", {"type": "all", "num_output_units": 5}, FIELDS, dense(4, 4) + dense(3, 5)),
    ("BiLinear", {"type": "each", "num_output_units": 5}, FIELDS, 2 * dense(4, 4) + dense(3, 5)),
    (
        "BiLinear",
        {"type": "interaction", "num_output_units": 5},
        zeros((2,), (3,), (4,)),
        dense(2, 3) + dense(2, 4) + dense(3, 4) + dense(3, 5),
    ),
    (
        "BiLinear",
        {"type": "each", "num_output_units": 5, "use_plus": False},
        FIELDS,
        2 * dense(4, 4) + dense(3 * 4, 5),
    ),
    # 3 fields, 2 groups: 12 numbers squeezed into 12 // 4 and back to the 12 of all fields.
    ("SENet", {}, FIELDS, dense(12, 3) + dense(3, 12) + norm(12)),
    (
        "SENet",
        {"reduction_ratio": 100, "num_squeeze_group": 4, "use_output_layer_norm": False},
        FIELDS,
        dense(24, 1) + dense(1, 12),
    ),
    (
        "FiBiNet",
        {"senet": {}, "bilinear": {"type": "each", "num_output_units": 5}, "mlp": {"hidden_units": [7]}},
        FIELDS,
        dense(12, 3)
        + dense(3, 12)
        + norm(12)
        + 2 * dense(4, 4)
        + dense(3, 5)
        + dense(17, 7, False)
        + norm(7),
    ),
    ("MaskBlock", {"aggregation_size": 4}, zeros((5,), (3,)), dense(3, 4) + dense(4, 5)),
    (
        "MaskBlock",
        {"aggregation_size": 9, "reduction_factor": 2.0, "output_size": 2, "input_layer_norm": True},
        zeros((5,), (3,)),
        norm(5) + dense(3, 6) + dense(6, 5) + dense(5, 2, False) + norm(2),
    ),
    (
        "MaskBlock",
        {"aggregation_size": 4, "projection_dim": 2},
        zeros((5,), (3,)),
        dense(3, 2, False) + dense(2, 4) + dense(4, 5),
    ),
    (
        "MaskNet",
        {"mask_blocks": 2 * [{"aggregation_size": 4, "output_size": 2}], "mlp": {"hidden_units": [7]}},
        zeros((5,))[0],
        norm(5)
        + 2 * (dense(5, 4) + dense(4, 5) + dense(5, 2, False) + norm(2))
        + dense(4, 7, False)
        + norm(7),
    ),
    (
        "MaskNet",  # in a row, the second block masks the output of the first
        {
            "mask_blocks": 2 * [{"aggregation_size": 4, "output_size": 2}],
            "use_parallel": False,
            "input_layer_norm": False,
        },
        zeros((5,))[0],
        2 * dense(5, 4) + dense(4, 5) + dense(5, 2, False) + dense(4, 2) + dense(2, 2, False) + 2 * norm(2),
    ),
    ("Highway", {"num_layers": 2}, zeros((4,))[0], 2 * 2 * dense(4, 4)),
    (
        "PPNet",  # gates of the input's 5 columns and of the first layer's output read 5 + 2 columns
        {"mlp": {"hidden_units": [4, 3]}, "gate_params": {"output_dim": 5}},
        zeros((5,), (2,)),
        dense(7, 5)
        + dense(5, 5)
        + dense(7, 4)
        + dense(4, 4)
        + dense(5, 4, False)
        + norm(4)
        + dense(4, 3, False)
        + norm(3),
    ),
    (
        "PPNet",
        {
            "mlp": {"hidden_units": [4, 3]},
            "mode": "lazy",
            "full_gate_input": False,
            "gate_params": {"hidden_dim": 6},
        },
        zeros((5,), (2,)),
        dense(2, 6)
        + dense(6, 4)
        + dense(2, 6)
        + dense(6, 3)
        + dense(5, 4, False)
        + norm(4)
        + dense(4, 3, False)
        + norm(3),
    ),
    (
        "DIN",
        {"attention_dnn": {"hidden_units": [3, 1]}},
        [*zeros((3, 4)), lengths(), *zeros((4,))],
        dense(16, 3, False) + norm(3) + dense(3, 1),
    ),
    ("SeqAugment", {}, [*zeros((3, 4)), lengths()], 4),
    ("SeqAugmentOps", {}, [*zeros((3, 4)), lengths()], 4),
    (
        "BST",  # the width is hidden_size: nothing is projected
        {**BST, "output_all_token_embeddings": False},
        [*zeros((3, 4)), lengths()],
        5 * 4 + norm(4) + 2 * ENCODER_LAYER,
    ),
    (
        "BST",  # history and target are projected; the target has a position of its own
        BST,
        [*zeros((3, 7)), lengths(), *zeros((7,))],
        2 * dense(7, 4) + 6 * 4 + norm(4) + 2 * ENCODER_LAYER,
    ),
    (
        "TextCNN",
        {"filter_sizes": [2, 3], "num_filters": [4, 5], "pad_sequence_length": 6},
        [*zeros((3, 4)), lengths()],
        dense(2 * 4, 4) + dense(3 * 4, 5),
    ),
    ("Attention", {}, zeros((3, 4), (5, 4)), 0),
    ("Attention", {"use_scale": True}, zeros((3, 4), (5, 4)), 1),
    (
        "MultiHeadAttention",
        {"num_heads": 2, "key_dim": 3, "value_dim": 4},
        zeros((3, 5), (6, 5)),
        2 * dense(5, 6) + dense(5, 8) + dense(8, 5),
    ),
    ("TransformerBlock", BLOCK, [*zeros((3, 4)), tf.ones((2, 3))], ENCODER_LAYER),
    (
        "TransformerEncoder",
        {**BLOCK, "num_hidden_layers": 2, "vocab_size": 10},
        [tf.zeros((2, 3), tf.int32), tf.ones((2, 3))],
        10 * 4 + 2 * ENCODER_LAYER,
    ),
    (
        "MMoE",
        {"num_task": 2, "num_expert": 3, "expert_mlp": {"hidden_units": [4]}},
        zeros((5,))[0],
        3 * (dense(5, 4, False) + norm(4)) + 2 * dense(5, 3),
    ),
    ("MMoE", {"num_task": 2, "num_expert": 2}, zeros((4,), (4,), (5,)), 2 * dense(5, 2)),
    (
        "AITMTower",  # query, key and value of the own task, key and value of the earlier one
        {"project_dim": 3, "transfer_mlp": {"hidden_units": [6]}},
        zeros((4,), (4,)),
        dense(4, 6, False) + norm(6) + 3 * dense(4, 3) + 2 * dense(6, 3),
    ),
    ("PeriodicEmbedding", {"embedding_dim": 4, "sigma": 0.1}, zeros((3,))[0], 3 * 2 + 3 * dense(4, 4)),
    (
        "PeriodicEmbedding",
        {"embedding_dim": 4, "sigma": 0.1, "add_linear_layer": False},
        zeros((3,))[0],
        3 * 2,
    ),
    (
        "AutoDisEmbedding",
        {"embedding_dim": 4, "num_bins": 5, "temperature": 0.5},
        zeros((3,))[0],
        3 * (5 + 5 * 5 + 5 * 4),
    ),
    (
        "NaryDisEmbedding",
        {"embedding_dim": 4, "carries": [2, 9]},
        zeros((3,))[0],
        3 * 4 * (2 * digits(2) + 9 * digits(9)),
    ),
    ("AuxiliaryLoss", {"loss_type": "info_nce"}, zeros((4,), (4,)), 0),
]


@pytest.mark.parametrize(
    ("name", "kwargs", "inputs", "expected"), CASES, ids=[f"{c[0]}{i}" for i, c in enumerate(CASES)]
)
def test_it_has_as_many_parameters_as_its_formula_says(name, kwargs, inputs, expected):
    layer = registry.get(name)(**kwargs)
    layer(inputs)
    assert sum(math.prod(weight.shape) for weight in layer.trainable_weights) == expected
