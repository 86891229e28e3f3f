"""Losses of NextItemModel against NumPy, from the states and vectors that its tables hold."""

import numpy as np
import pytest
import tensorflow as tf
from next_item_models import (
    BLOCKS,
    HISTORIES,
    IDS,
    ITEMS,
    POPULARITY,
    builder,
    features_of,
    log_softmax,
    table_of,
    tokens_of,
)

pytestmark = pytest.mark.both_keras


@pytest.fixture
def built(tmp_path):
    return builder(tmp_path)


def training_loss(model, features, weights=None):
    losses = model.compute_losses(features, {}, weights, training=True)
    return float(losses.unweighted["next_item_loss"])


@pytest.mark.parametrize("similarity", ["DOT", "COSINE"])
@pytest.mark.parametrize("weighted", [False, True])
def test_full_softmax_at_every_step(built, similarity, weighted):
    model = built(f"similarity: {similarity} temperature: 0.5")
    table = table_of(model)
    if similarity == "COSINE":
        table = table / np.linalg.norm(table, axis=1, keepdims=True)
    weights = np.array([2.0, 0.5, 1.0, 0.0], np.float32) if weighted else np.ones(4, np.float32)
    rows = [row for row, cell in enumerate(HISTORIES) for _ in (cell.split("|") if cell else [])]
    total = count = 0.0
    for row, (step, target) in zip(rows, tokens_of(), strict=True):
        total -= weights[row] * log_softmax(table[IDS] @ table[step] / 0.5)[IDS.index(target)]
        count += weights[row]
    found = training_loss(model, features_of(model), weights if weighted else None)
    assert found == pytest.approx(total / count, rel=1e-5)


def test_in_batch_softmax_with_log_q(built):
    model = built("loss: IN_BATCH_SOFTMAX log_q_correction: true temperature: 0.5", "NEXT_STEP")
    table, log_q = table_of(model), np.log(np.array(POPULARITY) / sum(POPULARITY))
    after = ["4", "7", "2", "7"]  # the empty history does not count, and 7 is no negative of 7
    total = 0.0
    for row, target in ((0, 4), (1, 7), (3, 7)):
        user = np.mean([table[int(i)] for i in HISTORIES[row].split("|")], axis=0)
        pool = [target, *(i for i in (4, 7, 7) if i != target)]
        scores = [table[i] @ user / 0.5 - log_q[IDS.index(i)] for i in pool]
        total -= log_softmax(np.array(scores))[0]
    assert training_loss(model, features_of(model, after=after)) == pytest.approx(total / 3, rel=1e-5)


@pytest.mark.parametrize("targets", ["EVERY_STEP", "NEXT_STEP"])
def test_binary_cross_entropy_draws_what_a_row_has_not(built, targets):
    # The row has all items but 6, which so is its negative in every draw.
    histories, after = ["1|2|3|4|5"], ["7"]
    model = built("loss: BINARY_CROSS_ENTROPY num_negatives: 3", targets)
    table = table_of(model)
    pairs = list(tokens_of(histories, after))
    states = [table[step] for step, _ in pairs]
    if targets == "NEXT_STEP":
        pairs, states = pairs[-1:], [np.mean(states, axis=0)]
    losses = []
    for state, (_, target) in zip(states, pairs, strict=True):
        positive, negative = table[target] @ state, table[6] @ state
        losses.append(np.log1p(np.exp(-positive)) + 3 * np.log1p(np.exp(negative)))
    found = training_loss(model, features_of(model, histories, after))
    assert found == pytest.approx(np.mean(losses), rel=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        "loss: SAMPLED_SOFTMAX num_negatives: 20 negatives: POPULARITY log_q_correction: true item_bias: true",
        "loss: GENERALIZED_BINARY_CROSS_ENTROPY num_negatives: 4 negatives: LOG_UNIFORM",
    ],
)
def test_xla_compares_all_items_and_gets_the_same(built, options):
    model = built(options)
    features = {name: tf.constant(value) for name, value in features_of(model).items()}
    (state,) = [w for w in model.weights if "random_state" in w.name]
    found = []
    for jit in (False, True):
        state.assign([3, 0])
        function = tf.function(
            lambda: model.compute_losses(features, {}).total, jit_compile=jit, autograph=False
        )
        found.append(float(function()))
    assert found[0] == pytest.approx(found[1], rel=1e-5) and found[0] > 0


@pytest.mark.parametrize("history", [[5, 6, 1, 2], [5, 6, 1, 2, 7, 4, 1]])
def test_random_steps_cut_histories(built, history):
    model = built(targets="RANDOM_STEP")
    table = table_of(model)
    outcomes, seen = {}, set()
    for end in range(1, len(history) + 1):
        # Also what is longer than max_seq_len is cut anywhere, and its last 5 steps before that are kept.
        user = np.mean(table[history[max(0, end - 5) : end]], axis=0)
        target = [*history, 3][end]
        outcomes[end] = -log_softmax(table[IDS] @ user)[IDS.index(target)]
    features = features_of(model, ["|".join(map(str, history))], ["3"])
    for _ in range(60):
        found = training_loss(model, features)
        seen |= {end for end, value in outcomes.items() if np.isclose(found, value, rtol=1e-4, atol=1e-5)}
        assert any(np.isclose(found, value, rtol=1e-4, atol=1e-5) for value in outcomes.values())
    assert seen == set(outcomes)


CONTRAST = """
    blocks { name: 'last' inputs { block_name: 'history' } keras_layer { class_name: 'MeanPooling' } }
    blocks {
      name: 'contrast' inputs { block_name: 'last' } inputs { block_name: 'last' input_fn: 'lambda x: 2 * x' }
      inputs { use_target_item: true } merge_inputs_into_list: true
      keras_layer { class_name: 'AuxiliaryLoss' auxiliary_loss { loss_type: 'info_nce' temperature: 1 } }
    }
"""


@pytest.mark.parametrize("targets", ["EVERY_STEP", "NEXT_STEP", "RANDOM_STEP"])
def test_rows_with_the_same_target_are_no_negatives_of_a_contrast(built, targets):
    blocks = BLOCKS[targets] + CONTRAST
    model = built(targets=targets, blocks=blocks)
    # Wherever these are cut, the items to find are 1, 3, 1 and 5.
    histories, after = ["1|1|1", "2|3", "2|1|1|1", "4"], ["1", "3", "1", "5"]
    if targets != "RANDOM_STEP":
        histories[0], histories[2] = "6|7", "5|2"
    features = features_of(model, histories, after)
    losses = model.compute_losses(features, {}, training=True)
    found = float(losses.unweighted["contrast_info_nce_loss"])
    if targets == "RANDOM_STEP":
        assert np.isfinite(found)
        same = features_of(model, ["1|1|1", "2|1|1|1"], ["1", "1"])
        losses = model.compute_losses(same, {}, training=True)
        assert float(losses.unweighted["contrast_info_nce_loss"]) == 0.0
        return
    table = table_of(model)
    rows = np.stack([table[[int(i) for i in cell.split("|")]].mean(axis=0) for cell in histories])
    scores = 2 * rows @ rows.T
    scores[0, 2] = scores[2, 0] = -np.inf
    expected = -np.mean([log_softmax(row)[i] for i, row in enumerate(scores)])
    assert found == pytest.approx(expected, rel=1e-4)


def test_hidden_steps_are_guessed(built):
    model = built(targets="HIDDEN_STEPS")
    table = table_of(model)
    # The block hands embeddings on as they are, so a hidden step's state is its own item's.
    outcomes = {i: -log_softmax(table[IDS] @ table[i])[IDS.index(i)] for i in (5, 6)}
    features = features_of(model, ["5|6"], ["3"])
    seen = set()
    for _ in range(30):
        found = training_loss(model, features)
        matches = {i for i, value in outcomes.items() if np.isclose(found, value, rtol=1e-4, atol=1e-5)}
        assert matches
        seen |= matches
    assert seen == {5, 6}
    # Nothing is known about the item to come but the step that stands for it, which is zeros here.
    model.compute_losses(features, {}, training=False)
    np.testing.assert_allclose(
        model(model.transform({"items": tf.constant(["5|6"])}))["user_emb"], [[0.0] * 4]
    )


def test_a_sampled_loss_touches_only_its_items(built):
    model = built("loss: IN_BATCH_SOFTMAX", "NEXT_STEP")
    features = features_of(model, ["1|2", "2"], ["4", "7"])
    with tf.GradientTape() as tape:
        loss = model.compute_losses(features, {}).total
    (table,) = [w for w in model.weights if tuple(w.shape) == (9, 4)]
    variable = table if callable(table.value) else table.value  # Keras 3 wraps it
    gradient = tf.convert_to_tensor(tape.gradient(loss, variable))
    touched = set(np.flatnonzero(np.abs(gradient.numpy()).sum(axis=1)))
    assert touched == {1, 2, 4, 7}


def test_a_stream_draws_items_beside_the_rows(built):
    blocks = (
        BLOCKS["EVERY_STEP"]
        + """
      blocks { name: 'drawn' inputs { feature_group_name: 'drawn' } input_layer {} }
      blocks {
        name: 'contrast' inputs { block_name: 'drawn' } inputs { block_name: 'drawn' } merge_inputs_into_list: true
        keras_layer {
          class_name: 'AuxiliaryLoss' st_params {
            fields { key: 'loss_type' value { string_value: 'info_nce' } }
            fields { key: 'temperature' value { number_value: 1 } }
          }
        }
      }"""
    )
    model = built(
        blocks=blocks,
        corpus="streams { feature_group: 'drawn' batch_size: 3 }",
        groups="feature_groups { group_name: 'drawn' feature_names: 'item_id' }",
    )
    table = table_of(model)
    possible = {}
    for a in range(ITEMS):
        for b in range(a):
            for c in range(b):
                drawn = table[[IDS[a], IDS[b], IDS[c]]]
                scores = drawn @ drawn.T
                value = -np.mean([log_softmax(row)[i] for i, row in enumerate(scores)])
                possible[(a, b, c)] = value
    seen = set()
    for _ in range(25):
        losses = model.compute_losses(features_of(model), {}).unweighted
        (value,) = [float(v) for name, v in losses.items() if "info_nce" in name]
        matches = [
            key for key, expected in possible.items() if np.isclose(value, expected, rtol=1e-4, atol=1e-5)
        ]
        assert matches
        seen |= set(matches)
    assert len(seen) > 10


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("loss", ["FULL_SOFTMAX", "IN_BATCH_SOFTMAX"])
def test_label_aware_attention(built, loss, bias):
    """Two interests, the mean of the history and its opposite, are mixed by what they score for the target."""
    blocks = """
    blocks { name: 'mean' inputs { block_name: 'history' } keras_layer { class_name: 'MeanPooling' } }
    blocks { name: 'user' inputs { block_name: 'mean' } lambda { expression: 'lambda x: tf.stack([x, -x], axis=1)' } }
    """
    options = f"loss: {loss} interest_power: 2 item_bias: {str(bias).lower()}"
    model = built(options, "NEXT_STEP", blocks)
    table, biases = table_of(model), np.zeros(9)
    if bias:
        (weight,) = [w for w in model.weights if "item_bias" in w.name]
        biases = np.linspace(-2, 2, 9)
        weight.assign(biases)
    total = 0.0
    for row, target in ((0, 4), (1, 7), (3, 3)):
        mean = np.mean([table[int(i)] for i in HISTORIES[row].split("|")], axis=0)
        score = mean @ table[target]
        first = 1.0 / (1.0 + np.exp(-2.0 * np.sign(score) * score**2))
        user = (first - (1.0 - first)) * mean
        pool = IDS if loss == "FULL_SOFTMAX" else [4, 7, 3]
        scores = np.array([table[i] @ user + biases[i] for i in pool])
        total -= log_softmax(scores)[pool.index(target)]
    assert training_loss(model, features_of(model)) == pytest.approx(total / 3, rel=1e-4)
