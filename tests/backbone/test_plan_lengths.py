"""Plans: layers with fewer positions than their sequences have steps."""

import pytest
from plans import FEATURES, GROUPS, block, group, of, plan_of, warnings

SEQUENCE = block("seq", group("sequence"), layer="input_layer { output_seq_and_normal_feature: true }")
LIMITED = FEATURES.replace("SequenceFeature hash", "SequenceFeature max_seq_len: 20 hash", 1)
AUGMENT = (
    "packages { name: 'augment' "
    + block("a", of("seq"), layer="keras_layer { class_name: 'SeqAugment' }")
    + "} "
)
DROPPED = block(
    "dropped", of("seq", "input_slice: '[0:2]'"), layer="keras_layer { class_name: 'LayerNormalization' }"
)


def bst(positions):
    return (
        "keras_layer { class_name: 'BST' bst { hidden_size: 8 num_attention_heads: 2 num_hidden_layers: 1 "
        f"intermediate_size: 8 max_position_embeddings: {positions} }} }}"
    )


def encoder(positions):
    return "packages { name: 'encoder' " + block("e", "use_package_input: true", layer=bst(positions)) + "} "


WAYS = {
    "straight": lambda n: SEQUENCE + block("b", of("seq"), layer=bst(n)),
    "through layers that keep the length": lambda n: (
        SEQUENCE + DROPPED + block("b", of("dropped"), layer=bst(n))
    ),
    "into a package": lambda n: (
        encoder(n) + SEQUENCE + block("b", "package_name: 'encoder' package_input: 'seq'")
    ),
    "from package to package": lambda n: (
        AUGMENT + encoder(n) + SEQUENCE + block("b", "package_name: 'encoder' package_input: 'augment'")
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_fewer_positions_than_steps_are_warned_of(way):
    def found(positions):
        plan = plan_of(WAYS[way](positions), features=LIMITED)
        return [(path, text) for path, text in warnings(plan) if "is made for" in text]

    ((path, text),) = found(19)
    assert path.endswith("keras_layer.bst.max_position_embeddings")
    assert text.startswith("BST is made for 19 steps, but feature 'history' keeps up to 20 (max_seq_len)")
    assert found(20) == []


@pytest.mark.parametrize(
    "text",
    [
        block("b", of("seq", "ignore_input: true"), group("user"), layer=bst(3)) + SEQUENCE,
        SEQUENCE
        + block(
            "pooled",
            of("seq", "input_slice: '[0]'"),
            layer="keras_layer { class_name: 'GlobalAveragePooling1D' }",
        )
        + block("b", of("pooled"), layer=bst(3)),
    ],
    ids=["ignored", "behind another layer"],
)
def test_nothing_is_said_of_what_is_not_known(text):
    assert [t for _, t in warnings(plan_of(text, GROUPS, LIMITED)) if "positions" in t] == []


def test_an_unlimited_sequence_is_not_warned_of():
    plan = plan_of(SEQUENCE + block("b", of("seq"), layer=bst(3)))
    assert [t for _, t in warnings(plan) if "positions" in t] == []
