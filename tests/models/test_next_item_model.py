"""NextItemModel against NumPy: the states of the user block and the vectors of items are read off its tables."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.config import parse_config
from easyssl.errors import ConfigError
from easyssl.models import build_model

pytestmark = pytest.mark.both_keras

ITEMS = 7  # ids 1 to 7 in another order, so that numbers of items and ids differ
IDS = [4, 7, 1, 3, 2, 6, 5]
POPULARITY = [5, 1, 2, 9, 3, 1, 4]
HISTORIES = ["1|2|3", "4", "", "5|6|1|1|2"]
AFTER = ["4", "7", "2", "3"]

BLOCKS = {
    "EVERY_STEP": "blocks { name: 'user' inputs { block_name: 'history' input_slice: '[0]' } }",
    "NEXT_STEP": """blocks {
      name: 'user' inputs { block_name: 'history' } keras_layer { class_name: 'MeanPooling' }
    }""",
    "HIDDEN_STEPS": """blocks {
      name: 'hidden' inputs { block_name: 'history' } keras_layer {
        class_name: 'ClozeMask' st_params { fields { key: 'append_next' value { bool_value: true } } }
      }
    }
    blocks {
      name: 'user' inputs { block_name: 'hidden' input_slice: '[0]' } inputs { block_name: 'hidden' input_slice: '[2]' }
      merge_inputs_into_list: true
    }""",
}
BLOCKS["RANDOM_STEP"] = BLOCKS["NEXT_STEP"]

CONFIG = """
data_config {
  batch_size: 4 input_type: CSVInput
  input_fields { input_name: 'items' }
  sequence_split { items: 'items' }
  item_corpus {
    input_path: 'items.tsv' item_id: 'item_id' popularity: 'popularity'
    input_fields { input_name: 'item_id' input_type: INT64 }
    input_fields { input_name: 'popularity' input_type: INT64 }
    %(corpus)s
  }
}
feature_config {
  features {
    input_names: 'items' feature_type: SequenceFeature num_buckets: 9 embedding_dim: 4 embedding_name: 'item'
    max_seq_len: 5 keep_steps: LAST_STEPS empty_sequence: NO_STEP
    initializer { random_normal_initializer { stddev: 1 } }
  }
  features {
    input_names: 'item_id' feature_type: IdFeature num_buckets: 9 embedding_dim: 4 embedding_name: 'item'
    initializer { random_normal_initializer { stddev: 1 } }
  }
}
model_config {
  model_class: 'NextItemModel'
  feature_groups { group_name: 'history' feature_names: 'items' }
  feature_groups { group_name: 'item' feature_names: 'item_id' }
  %(groups)s
  backbone {
    blocks { name: 'history' inputs { feature_group_name: 'history' } input_layer { output_seq_and_normal_feature: true } }
    %(blocks)s
    blocks { name: 'item' inputs { feature_group_name: 'item' } input_layer {} }
    output_blocks: ['user', 'item']
  }
  next_item { history: 'items' %(options)s }
}
"""


@pytest.fixture
def built(tmp_path):
    lines = [f"{i}\t{n}" for i, n in zip(IDS, POPULARITY, strict=True)]
    (tmp_path / "items.tsv").write_text("\n".join(["item_id\tpopularity", *lines]) + "\n")

    def build(options="", targets="EVERY_STEP", blocks=None, corpus="", groups=""):
        text = CONFIG % {
            "options": f"targets: {targets} {options}",
            "blocks": BLOCKS[targets] if blocks is None else blocks,
            "corpus": corpus,
            "groups": groups,
        }
        return build_model(parse_config(text, str(tmp_path / "my.config"), data_root=str(tmp_path)))

    return build


def features_of(model, histories=HISTORIES, after=AFTER):
    return model.training_transform({"items": tf.constant(histories), "items/next": tf.constant(after)})


def table_of(model):
    (table,) = [w for w in model.weights if tuple(w.shape) == (9, 4)]
    return np.asarray(table, np.float64)


def tokens_of(histories=HISTORIES, after=AFTER):
    """Yields each step's item and the one after it."""
    for cell, last in zip(histories, after, strict=True):
        steps = [int(i) for i in cell.split("|")] if cell else []
        yield from zip(steps, [*steps[1:], int(last)], strict=False)


def log_softmax(scores):
    return scores - scores.max() - np.log(np.exp(scores - scores.max()).sum())


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


def test_the_target_item_is_for_losses_only(built):
    blocks = """
    blocks {
      name: 'target' inputs { use_target_item: true }
      lambda { expression: 'lambda x: tf.cast(tf.expand_dims(x, 1), tf.float32)' }
    }
    blocks { name: 'pooled' inputs { block_name: 'history' } keras_layer { class_name: 'MeanPooling' } }
    blocks {
      name: 'user' inputs { block_name: 'pooled' } inputs { block_name: 'target' }
      keras_layer { class_name: 'Dense' st_params { fields { key: 'units' value { number_value: 4 } } } }
    }
    """
    with pytest.raises(
        ConfigError, match="the output needs 'target', which knows the item that is to be found"
    ):
        built(targets="NEXT_STEP", blocks=blocks)


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


def test_evaluation_ranks_all_items(built):
    model = built("item_bias: true")
    (bias,) = [w for w in model.weights if "item_bias" in w.name]
    bias.assign(np.linspace(-2, 2, 9))
    table, bias = table_of(model), np.asarray(bias)
    with model.inference():
        losses = model.compute_losses(features_of(model), {}, training=False)
    predicted = losses.predictions
    total = []
    for row, cell in enumerate(HISTORIES):
        steps = [int(i) for i in cell.split("|")] if cell else []
        user = table[steps[-1]] if steps else np.zeros(4)
        scores = {i: table[i] @ user + bias[i] for i in IDS}
        target = int(AFTER[row])
        total.append(-log_softmax(np.array([scores[i] for i in IDS]))[IDS.index(target)])
        rivals = [i for i in IDS if i not in steps and i != target]
        assert predicted["ranks_excluded"][row, 0] == 1 + sum(scores[i] >= scores[target] for i in rivals)
        ranked = sorted((i for i in IDS if i not in steps or i == target), key=lambda i: -scores[i])
        found = [IDS[place] for place in predicted["lists_excluded"][row].numpy() if place >= 0]
        assert found == ranked
    assert float(losses.unweighted["next_item_loss"]) == pytest.approx(np.mean(total), rel=1e-5)
    np.testing.assert_array_equal(predicted["history_lengths"], [3, 1, 0, 5])


def test_evaluation_hands_out_several_interests(built):
    blocks = """blocks {
      name: 'user' inputs { block_name: 'history' } keras_layer {
        class_name: 'MultiInterestAttention' st_params { fields { key: 'num_interests' value { number_value: 3 } } }
      }
    }"""
    model = built("item_bias: true", "NEXT_STEP", blocks)
    predicted = model.compute_losses(features_of(model), {}, training=False).predictions
    assert predicted["users"].shape == (4, 3, 5)  # the last one meets the bias
    np.testing.assert_array_equal(predicted["interests"], predicted["users"][..., :4])
    model = built(targets="NEXT_STEP")
    assert "interests" not in model.compute_losses(features_of(model), {}, training=False).predictions


def test_predictions_name_items_and_leave_out_the_whole_history(built):
    model = built("top_k: 3")
    table = table_of(model)
    whole = "7|6|5|4|3|3|3|3"  # the model reads the last five steps only
    found = model(model.transform({"items": tf.constant([whole, "4"])}))
    expected = sorted((1, 2), key=lambda i: -(table[i] @ table[3]))
    assert found["item_ids"][0].numpy().tolist() == [*expected, -1]
    assert found["scores"][0, 2] == -np.inf
    best = sorted((i for i in IDS if i != 4), key=lambda i: -(table[i] @ table[4]))[:3]
    assert found["item_ids"][1].numpy().tolist() == best
    kept = built("top_k: 7 exclude_history: false")
    ids = kept(kept.transform({"items": tf.constant([whole])}))["item_ids"]
    assert sorted(ids[0].numpy().tolist()) == sorted(IDS)


def test_fixed_item_vectors_are_those_of_the_weights(built):
    model = built()
    rows = model.transform({"items": tf.constant(["4"])})
    with model.inference():
        before = model(rows)["scores"].numpy()
        for weight in model.trainable_weights:
            weight.assign(-2.0 * tf.convert_to_tensor(weight))
        # Users have changed, the vectors of items have not.
        np.testing.assert_allclose(
            model(rows)["scores"][0, 0], -2.0 * np.min(before[np.isfinite(before)]), rtol=1e-5
        )
    after = model(rows)["scores"]
    with model.inference():
        np.testing.assert_allclose(model(rows)["scores"], after, rtol=1e-6)


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


@pytest.mark.parametrize(
    ("options", "targets", "message"),
    [
        ("loss: SAMPLED_SOFTMAX num_negatives: 0", "EVERY_STEP", "num_negatives: is 0"),
        ("temperature: 0", "EVERY_STEP", "temperature: is 0, expected a number above 0"),
        ("log_q_correction: true", "EVERY_STEP", "not FULL_SOFTMAX"),
        ("item_bias: true similarity: COSINE", "EVERY_STEP", "a cosine has no bias"),
        ("history: 'item'", "EVERY_STEP", "'item' is not a SequenceFeature of ids.*'items'"),
    ],
)
def test_wrong_options_are_refused(built, options, targets, message):
    with pytest.raises(ConfigError, match=message):
        built(options, targets)


def test_a_user_block_of_another_form_is_refused(built):
    with pytest.raises(
        ConfigError, match="'user': with targets EVERY_STEP it has to give a state for each step"
    ):
        built(blocks=BLOCKS["NEXT_STEP"])
