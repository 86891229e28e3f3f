"""What packages of a compiled backbone compute: calls, sequences, and branches that only training has."""

import numpy as np
import pytest
import tensorflow as tf
from small_backbones import NUMBERS, ROWS, SEQUENCE, block, dense, group, model_of, run

pytestmark = pytest.mark.both_keras


HALF = (
    'keras_layer { class_name: "Dropout" st_params { fields { key: "rate" value { number_value: 0.5 } } } }'
)
PACKAGE = (
    'packages { name: "net" '
    + block("d", "use_package_input: true", dense(2))
    + block("drop", 'block_name: "d"', HALF)
    + "}"
)


def test_sequence_mode_shares_the_table_with_the_target():
    model = model_of(SEQUENCE + block("last", 'block_name: "seq" input_slice: "[2]"'))
    output, blocks = run(model)
    steps, lengths, target = blocks["seq"]
    np.testing.assert_array_equal(lengths, [3, 1, 2, 4])
    assert steps.shape[0] == 4 and steps.shape[2] == 4
    # Row 1 has history "4"; row 0 has target "4".
    np.testing.assert_array_equal(steps[1, 0], target[0])
    np.testing.assert_array_equal(steps[1, 1:], np.zeros_like(steps[1, 1:]))
    np.testing.assert_array_equal(output, target)


def test_a_package_shares_weights_between_calls_and_draws_anew():
    call = 'package_name: "net" package_input: "numbers"'
    model = model_of(
        PACKAGE + block("numbers", group("numbers"), "input_layer { }") + block("two", f"{call};{call}")
    )
    output, _ = run(model)
    np.testing.assert_array_equal(output[:, :2], output[:, 2:])
    output, _ = run(model, training=True)
    assert not np.array_equal(output[:, :2], output[:, 2:])
    assert len(model.backbone.layers_of("net", "d")[0][0].weights) == 2


def test_package_input_fn_and_a_package_that_reads_a_block_outside():
    backbone = (
        'packages { name: "outer" '
        + block(
            "sum",
            'use_package_input: true;block_name: "numbers"',
            "",
            'merge_inputs_into_list: true extra_input_fn: "lambda x: tf.add_n(x)"',
        )
        + "}"
        + block("numbers", group("numbers"), "input_layer { }")
        + block("call", 'package_name: "outer" package_input: "numbers" package_input_fn: "lambda x: x * 10"')
    )
    np.testing.assert_allclose(run(model_of(backbone))[0], 11 * NUMBERS)


def test_reset_input_replaces_the_settings_of_the_package():
    backbone = (
        'packages { name: "p" '
        + block("numbers", group("numbers"), "input_layer { only_output_feature_list: true }")
        + "}"
        + block("as_list", 'package_name: "p"')
        + block("flat", 'package_name: "p" reset_input { }')
        + 'concat_blocks: "flat"'
    )
    model = model_of(backbone)
    _, blocks = run(model, training=True)
    assert len(blocks["as_list"]) == 2
    np.testing.assert_allclose(blocks["flat"], NUMBERS)


def test_reset_input_leaves_sequences_sequences():
    backbone = (
        'packages { name: "p" '
        + block("sequence", group("seq"), "input_layer { output_seq_and_normal_feature: true }")
        + block("plain", group("user_item"), "input_layer { only_output_feature_list: true }")
        + block("both", 'block_name: "sequence" input_slice: "[2]"; block_name: "plain"')
        + 'output_blocks: ["both"] }'
        + block("as_list", 'package_name: "p" input_slice: "[0]"')
        + block("reset", 'package_name: "p" input_slice: "[0]" reset_input { }')
        + 'concat_blocks: "reset"'
    )
    _, blocks = run(model_of(backbone), training=True)
    assert [value.shape for value in blocks["as_list"]] == [(4, 4)] * 3
    np.testing.assert_allclose(blocks["reset"], np.concatenate(blocks["as_list"], axis=1))


CONTRAST = (
    SEQUENCE
    + 'packages { name: "augment" '
    + block("aug", 'block_name: "seq"', 'keras_layer { class_name: "SeqAugment" seq_aug { mask_rate: 0.5 } }')
    + '} packages { name: "encode" '
    + block(
        "bst",
        "use_package_input: true",
        """keras_layer { class_name: "BST" bst { hidden_size: 4 num_hidden_layers: 1 num_attention_heads: 2
           intermediate_size: 4 max_position_embeddings: 8 output_all_token_embeddings: false } }""",
    )
    + "}"
    + block(
        "contrast",
        'package_name: "encode" package_input: "augment";package_name: "encode" package_input: "augment"',
        """keras_layer { class_name: "AuxiliaryLoss" st_params {
          fields { key: "loss_type" value { string_value: "nce_loss" } }
          fields { key: "loss_weight" value { number_value: 0.25 } } } }""",
        "merge_inputs_into_list: true",
    )
    + block(
        "users",
        'block_name: "seq" input_slice: "[0:2]" input_fn: "lambda x: list(x)" ignore_input: true;feature_group_name: "user"',
    )
    + block("main", 'package_name: "encode" package_input: "plain";block_name: "users"')
    + block("plain", 'block_name: "seq" input_slice: "[:2]"')
    + 'concat_blocks: "main"'
)


def test_contrastive_branch_runs_in_training_only():
    model = model_of(CONTRAST, loss="CLASSIFICATION")
    features = model.transform(ROWS)
    labels = {"y": tf.constant([1, 0, 1, 0])}
    losses = model.compute_losses(features, labels)
    assert set(losses.weighted) == {"cross_entropy_loss", "contrast_nce_loss"}
    np.testing.assert_allclose(
        losses.weighted["contrast_nce_loss"], 0.25 * losses.unweighted["contrast_nce_loss"], rtol=1e-6
    )
    np.testing.assert_allclose(losses.total, sum(float(v) for v in losses.weighted.values()), rtol=1e-6)
    assert set(model.compute_losses(features, labels, training=False).weighted) == {"cross_entropy_loss"}
    _, blocks = run(model)
    assert not {"contrast", "augment/aug"} & set(blocks)


def test_predictions_do_not_depend_on_the_contrastive_branch():
    whole = model_of(CONTRAST, loss="CLASSIFICATION")
    head, _, rest = CONTRAST.partition('blocks { name: "contrast"')
    without = model_of(head + rest[rest.index("blocks {") :], loss="CLASSIFICATION")
    source = {name: table for name, table in whole.backbone.lookups.tables.items()}
    for name, table in without.backbone.lookups.tables.items():
        table.set_weights(source[name].get_weights())
    pairs = [
        (whole.backbone.layers_of(*at)[0][0], without.backbone.layers_of(*at)[0][0])
        for at in [("encode", "bst")]
    ]
    for a, b in [*pairs, (whole._output_layer, without._output_layer)]:
        b.set_weights(a.get_weights())
    features = whole.transform(ROWS)
    np.testing.assert_array_equal(whole(features)["logits"], without(features)["logits"])


def test_fit_of_keras_itself():
    model = model_of(CONTRAST, loss="CLASSIFICATION")
    features = {k: v.numpy() for k, v in model.transform(ROWS).items()}
    model.compile(optimizer="adam")
    before = [np.array(w) for w in model.get_weights()]
    dataset = tf.data.Dataset.from_tensors((features, {"y": np.array([1, 0, 1, 0])}))
    history = model.fit(dataset, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert any(not np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


def test_config_round_trip():
    model = model_of(block("net", group("numbers"), dense(3)))
    again = type(model).from_config(model.get_config())
    again.create_variables()
    again.set_weights(model.get_weights())
    features = model.transform(ROWS)
    np.testing.assert_array_equal(again(features)["y"], model(features)["y"])
