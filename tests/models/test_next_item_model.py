"""What NextItemModel ranks, predicts and refuses, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf
from next_item_models import (
    AFTER,
    BLOCKS,
    CATEGORIES,
    HISTORIES,
    IDS,
    builder,
    features_of,
    log_softmax,
    table_of,
)

from easyssl.errors import ConfigError

pytestmark = pytest.mark.both_keras


@pytest.fixture
def built(tmp_path):
    return builder(tmp_path)


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


CATE = "input_fields { input_name: 'cate' input_type: STRING }"


@pytest.mark.parametrize("diversity", [0.5, 100.0])
def test_lists_of_several_categories(built, diversity):
    model = built(f"top_k: 4 category: 'cate' diversity: {diversity} diversity_candidates: 6", corpus=CATE)
    table = table_of(model)
    found = model(model.transform({"items": tf.constant(["4", "1|6"])}))
    for row, seen in enumerate(([4], [1, 6])):
        scores = {i: table[i] @ table[seen[-1]] for i in IDS if i not in seen}
        pool, chosen = sorted(scores, key=lambda i: -scores[i])[:6], []
        category = dict(zip(IDS, CATEGORIES, strict=True))
        while len(chosen) < 4:
            counts = {i: sum(bool(category[i]) and category[i] == category[j] for j in chosen) for i in pool}
            left = [i for i in pool if i not in chosen]
            chosen.append(max(left, key=lambda i: scores[i] - diversity * counts[i]))
        assert found["item_ids"][row].numpy().tolist() == chosen
        np.testing.assert_allclose(found["scores"][row], [scores[i] for i in chosen], rtol=1e-5)


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


@pytest.mark.parametrize(
    ("options", "targets", "message"),
    [
        ("loss: SAMPLED_SOFTMAX num_negatives: 0", "EVERY_STEP", "num_negatives: is 0"),
        ("temperature: 0", "EVERY_STEP", "temperature: is 0, expected a number above 0"),
        ("log_q_correction: true", "EVERY_STEP", "not FULL_SOFTMAX"),
        ("item_bias: true similarity: COSINE", "EVERY_STEP", "a cosine has no bias"),
        ("interest_power: -1", "NEXT_STEP", "interest_power: is -1, expected a number from 0 on"),
        ("diversity: -1", "NEXT_STEP", "diversity: is -1, expected a number from 0 on"),
        ("diversity: 1", "NEXT_STEP", "diversity: needs next_item.category"),
        ("category: 'item'", "NEXT_STEP", "category: 'item' is not among.*did you mean 'item_id'"),
        (
            "diversity: 1 category: 'item_id' diversity_candidates: 3",
            "NEXT_STEP",
            "diversity_candidates: is 3, expected at least top_k, which is 20",
        ),
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


def test_a_power_needs_several_interests(built):
    with pytest.raises(ConfigError, match="'user': with interest_power it has to give several interests"):
        built("interest_power: 2", "NEXT_STEP")
