"""MultiTaskModel against NumPy on what its backbone gives and on its weights."""

import numpy as np
import pytest
import tensorflow as tf

from easyssl.config import parse_config
from easyssl.errors import ConfigError
from easyssl.models import MultiTaskModel, build_model

pytestmark = pytest.mark.both_keras

CONFIG = """
model_dir: 'run'
data_config {
  label_fields: ['clk', 'buy', 'spent', 'kind'] input_type: CSVInput
  %(data)s
  input_fields { input_name: 'clk' input_type: FLOAT }
  input_fields { input_name: 'buy' input_type: FLOAT }
  input_fields { input_name: 'spent' input_type: FLOAT }
  input_fields { input_name: 'kind' input_type: INT64 }
  input_fields { input_name: 'user' input_type: STRING }
  input_fields { input_name: 'age' input_type: FLOAT }
}
feature_config {
  features { input_names: 'user' feature_type: IdFeature num_buckets: 20 embedding_dim: 4 }
  features { input_names: 'age' feature_type: RawFeature }
}
model_config {
  model_class: 'MultiTaskModel'
  feature_groups { group_name: 'all' feature_names: 'user' feature_names: 'age' wide_deep: DEEP }
  backbone {
    blocks {
      name: 'deep' inputs { feature_group_name: 'all' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: 6 use_bn: false } }
    }
    blocks {
      name: 'other' inputs { feature_group_name: 'all' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: 5 use_bn: false } }
    }
    blocks { name: 'listed' inputs { block_name: 'deep' } inputs { block_name: 'other' } merge_inputs_into_list: true }
    %(output)s
  }
  model_params { %(towers)s l2_regularization: %(l2)s }
  %(model)s
}
"""
TWO = """
  task_towers { tower_name: 'ctr' label_name: 'clk' dnn { hidden_units: [4, 3] } metrics_set { auc {} } }
  task_towers { tower_name: 'cvr' label_name: 'buy' weight: 0.5 %s }
"""
DNN = (
    "dnn { hidden_units: 4 use_bn: false } relation_dnn { hidden_units: 3 use_bn: false activation: 'tanh' }"
)
CHAIN = f"""
  task_towers {{ tower_name: 'ctr' {DNN} }}
  task_towers {{ tower_name: 'cvr' relation_tower_names: 'ctr' {DNN} }}
  task_towers {{ tower_name: 'spent' loss_type: L2_LOSS relation_tower_names: ['ctr', 'cvr'] {DNN} }}
  task_towers {{ tower_name: 'kind' num_class: 3 relation_tower_names: 'cvr' relation_dnn {{ hidden_units: 0 }} }}
"""


def text_of(towers=TWO % "", output="concat_blocks: 'deep'", model="", data="", l2="0"):
    return CONFIG % {"towers": towers, "output": output, "model": model, "data": data, "l2": l2}


def built(**parts):
    return build_model(parse_config(text_of(**parts), "my.config"))


def rows_of(number, seed=0):
    rng = np.random.default_rng(seed)
    users = [b"%d" % i for i in rng.integers(0, 20, number)]
    return {"user": np.array(users, object), "age": rng.normal(size=number).astype(np.float32)}


def labels_of(number, seed=1):
    rng = np.random.default_rng(seed)
    click = rng.integers(0, 2, number)
    return {
        "clk": click.astype(np.float32),
        "buy": (click * rng.integers(0, 2, number)).astype(np.float32),
        "spent": rng.normal(size=number).astype(np.float32),
        "kind": rng.integers(0, 3, number),
    }


def softplus(z):
    return np.logaddexp(0, z)


def layers_of(model):
    """Returns kernel and bias of each layer of the towers in float64, by path below the tower."""
    found = {}
    for tower, layers in zip(model.towers, model.task_layers, strict=True):
        parts = {"logits": [layers.logits]}
        for name in ("dnn", "relation_dnn"):
            part = getattr(layers, name)
            parts[name] = [] if part is None else [block.dense for block in part.blocks]
        found[tower.name] = {
            name: [tuple(np.asarray(w, np.float64) for w in layer.get_weights()) for layer in part]
            for name, part in parts.items()
        }
    return found


def dense(x, layers, activation):
    for kernel, bias in layers:
        x = activation(x @ kernel + bias)
    return x


def randomized(model, seed=3):
    """Gives biases other values than 0, so that they count."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if variable.shape.rank == 1:
            variable.assign(rng.normal(size=variable.shape) * 0.3 + variable)
    return model


@pytest.mark.parametrize("listed", [False, True])
def test_a_chain_of_towers(listed):
    names = ["deep", "other", "other", "deep"]
    model = randomized(
        built(towers=CHAIN, output=f"output_blocks: {names}" if listed else "concat_blocks: 'deep'")
    )
    features = model.transform(rows_of(6))
    output = model.backbone(features, training=False)
    values = [np.asarray(v, np.float64) for v in (output if listed else [output] * 4)]
    layers, related, logits = layers_of(model), {}, {}
    reads = {"ctr": [], "cvr": ["ctr"], "spent": ["ctr", "cvr"], "kind": ["cvr"]}
    for (name, others), x in zip(reads.items(), values, strict=True):
        h = dense(x, layers[name]["dnn"], lambda z: np.maximum(z, 0))
        related[name] = dense(
            np.concatenate([h, *(related[other] for other in others)], axis=1),
            layers[name]["relation_dnn"],
            np.tanh,
        )
        logits[name] = dense(related[name], layers[name]["logits"], lambda z: z)
    found = model(features, training=False)
    for name in ("ctr", "cvr"):
        np.testing.assert_allclose(found[f"logits_{name}"], logits[name][:, 0], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found[f"probs_{name}"], 1 / (1 + np.exp(-logits[name][:, 0])), rtol=1e-4)
    np.testing.assert_allclose(found["y_spent"], logits["spent"][:, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["logits_kind"], logits["kind"], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found["y_kind"], logits["kind"].argmax(1))
    assert found["probs_1_kind"].shape == (6,)


SPACES = {
    "": lambda labels, raw: 1.0,
    "task_space_indicator_label: 'clk' in_task_space_weight: 2 out_task_space_weight: 0.5": (
        lambda labels, raw: np.where(labels["clk"] > 0, 2.0, 0.5)
    ),
    "task_space_indicator_label: 'clk' out_task_space_weight: 0": lambda labels, raw: labels["clk"],
    "task_space_indicator_name: 'user' task_space_indicator_value: '3' out_task_space_weight: 0": (
        lambda labels, raw: (raw["user"] == b"3").astype(np.float64)
    ),
    "task_space_indicator_label: 'clk' task_space_indicator_name: 'user' task_space_indicator_value: '3'"
    " in_task_space_weight: 3": lambda labels, raw: (1 + 2 * labels["clk"]) * (1 + 2 * (raw["user"] == b"3")),
    "use_sample_weight: false": None,
}


@pytest.mark.parametrize("space", SPACES)
def test_the_loss_of_a_tower_weighs_rows_as_the_config_says(space):
    model = built(towers=TWO % space, data="sample_weight: 'age'")
    raw, labels = rows_of(12), labels_of(12)
    raw["user"][:4] = b"3"
    weights = np.random.default_rng(2).uniform(0, 2, 12).astype(np.float32)
    weights[5:7] = 0
    given = {**labels, **{column.key: column.read(raw["user"]) for column in model.loss_columns}}
    losses = model.compute_losses(
        model.transform(raw),
        {name: tf.constant(value) for name, value in given.items()},
        weights,
        training=False,
    )
    w = {
        "ctr": weights,
        "cvr": np.ones(12) if SPACES[space] is None else weights * SPACES[space](labels, raw),
    }
    expected = {}
    for name, label in (("ctr", "clk"), ("cvr", "buy")):
        z = np.asarray(losses.predictions[f"logits_{name}"], np.float64)
        expected[name] = np.sum(w[name] * (softplus(z) - z * labels[label])) / np.count_nonzero(w[name])
        np.testing.assert_allclose(losses.unweighted[f"cross_entropy_loss_{name}"], expected[name], rtol=1e-5)
    np.testing.assert_allclose(losses.total, expected["ctr"] + 0.5 * expected["cvr"], rtol=1e-5)
    denominators = model.loss_denominators(12, weights, given)
    assert denominators == {f"cross_entropy_loss_{name}": np.count_nonzero(own) for name, own in w.items()}


def test_a_tower_without_a_row_in_its_task_space_has_no_loss_and_no_gradient():
    model = built(towers=TWO % "task_space_indicator_label: 'clk' out_task_space_weight: 0")
    labels = {name: tf.constant(value) for name, value in labels_of(4).items()} | {"clk": tf.zeros(4)}
    with tf.GradientTape() as tape:
        losses = model.compute_losses(model.transform(rows_of(4)), labels, None, training=True)
    kernel = model.task_layers[1].logits.trainable_variables[0]
    assert float(losses.unweighted["cross_entropy_loss_cvr"]) == 0.0
    np.testing.assert_array_equal(tape.gradient(losses.total, kernel), np.zeros(kernel.shape))


def test_each_of_several_losses_of_a_tower_has_its_own_weight():
    towers = """task_towers { tower_name: 'a' label_name: 'clk' weight: 0.5
      losses { loss_type: CLASSIFICATION weight: 2 } losses { loss_type: BINARY_CROSS_ENTROPY_LOSS loss_name: 'again' weight: 3 } }"""
    model = built(towers=towers)
    labels = {name: tf.constant(value) for name, value in labels_of(4).items()}
    losses = model.compute_losses(model.transform(rows_of(4)), labels, None, training=False)
    assert set(losses.unweighted) == {"cross_entropy_loss_a", "again_a"}
    np.testing.assert_allclose(losses.total, 2.5 * losses.unweighted["again_a"], rtol=1e-5)


ORDER = "losses { loss_type: CLASSIFICATION } losses { loss_type: ORDER_CALIBRATE_LOSS weight: 3 }"


def test_a_task_may_not_be_more_probable_than_those_it_depends_on():
    model = built(towers=TWO % f"relation_tower_names: 'ctr' {ORDER}")
    model.task_layers[1].logits.bias.assign([2.0])
    labels = {name: tf.constant(value) for name, value in labels_of(9).items()}
    losses = model.compute_losses(model.transform(rows_of(9)), labels, None, training=False)
    first, second = (np.asarray(losses.predictions[f"probs_{name}"], np.float64) for name in ("ctr", "cvr"))
    expected = np.mean(np.maximum(second - first, 0))
    assert expected > 0
    np.testing.assert_allclose(losses.unweighted["order_calibrate_loss_cvr"], expected, rtol=1e-4)
    np.testing.assert_allclose(losses.weighted["order_calibrate_loss_cvr"], 1.5 * expected, rtol=1e-4)


def test_an_order_without_another_task_adds_nothing():
    config = parse_config(text_of(towers=TWO % ORDER))
    model = build_model(config)
    assert [term.name for term in model.terms] == ["cross_entropy_loss_ctr", "cross_entropy_loss_cvr"]
    assert any(
        "losses[1]: has no effect: ORDER_CALIBRATE_LOSS needs" in warning for warning in config.warnings
    )


def test_a_later_task_trains_the_relation_tower_it_reads():
    model = built(towers=CHAIN)
    labels = {name: tf.constant(value) for name, value in labels_of(8).items()}
    features = model.transform(rows_of(8))
    with tf.GradientTape() as tape:
        loss = model.compute_losses(features, labels, None, training=True).unweighted[
            "cross_entropy_loss_cvr"
        ]
    first, _, third, _ = model.task_layers
    kernels = [first.relation_dnn.blocks[0].dense.trainable_variables[0], third.logits.trainable_variables[0]]
    gradients = tape.gradient(loss, kernels)
    assert np.abs(gradients[0]).max() > 0 and gradients[1] is None


def test_the_kernels_of_towers_are_regularized():
    plain, model = (built(towers=CHAIN, l2=l2) for l2 in ("0", "0.02"))
    features = model.transform(rows_of(4))
    labels = {name: tf.constant(value) for name, value in labels_of(4).items()}
    found = model.compute_losses(features, labels, None, training=True).unweighted["l2_regularization_loss"]
    kernels = [w for layers in layers_of(model).values() for part in layers.values() for w, _ in part]
    kernels += [w for w in map(np.asarray, model.backbone.trainable_variables[1:]) if w.ndim == 2]
    np.testing.assert_allclose(found, 0.01 * sum(np.sum(np.square(w)) for w in kernels), rtol=1e-5)
    assert (
        "l2_regularization_loss" not in plain.compute_losses(features, labels, None, training=True).unweighted
    )


def test_dense_layers_of_a_task_are_normalized_activated_and_dropped():
    towers = "task_towers { tower_name: 'a' dnn { hidden_units: [40, 30] dropout_ratio: [0.5, 0.4] activation: 'relu' } }"
    model = built(towers=towers)
    features = model.transform(rows_of(64))
    blocks = model.task_layers[0].dnn.blocks
    x = model.backbone(features, training=True)
    hidden = np.asarray(model.task_layers[0].dnn(x, training=True))
    assert [block.norm is not None for block in blocks] == [True, True]
    assert all(block.dense.use_bias for block in blocks)
    kept = hidden[hidden != 0]
    assert 0.55 < 1 - kept.size / hidden.size < 0.85 and kept.min() > 0  # half by relu, then 0.4 of the rest
    again = [np.asarray(model.task_layers[0].dnn(x, training=False)) for _ in range(2)]
    np.testing.assert_array_equal(*again)
    with pytest.raises(ConfigError, match=r"activation 'rel'; did you mean 'relu'"):
        built(towers=towers.replace("'relu'", "'rel'"))


def test_a_mixture_of_experts_gives_each_tower_its_own_input():
    block = """blocks { name: 'mmoe' inputs { feature_group_name: 'all' }
      keras_layer { class_name: 'MMoE' mmoe { num_task: %d num_expert: 3 expert_mlp { hidden_units: 4 } } } }
    concat_blocks: 'mmoe'"""
    model = built(output=block % 2)
    features = model.transform(rows_of(5))
    outputs = model.backbone(features, training=False)
    swapped = model.task_layers[1](outputs[1], training=False)[1]
    np.testing.assert_allclose(model(features)["logits_cvr"], swapped[:, 0], rtol=1e-5)
    with pytest.raises(ConfigError, match=r"gives a list of 3 tensors for 2 task_towers \(ctr, cvr\)"):
        built(output=block % 3)


def test_keras_fits_saves_and_loads_it_in_half_precision(tmp_path):
    keras = tf.keras
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = built()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    features, labels = model.transform(rows_of(16)), labels_of(16)
    assert all(value.dtype == tf.float32 for value in model(features).values())
    model.compile("adam")
    history = model.fit(tf.data.Dataset.from_tensors((features, labels)).repeat(2), verbose=0)
    assert np.isfinite(history.history["loss"][0])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again, MultiTaskModel)
    for name, value in model(features).items():
        np.testing.assert_array_equal(again(features)[name], value)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"towers": ""}, "a MultiTaskModel needs model_params.task_towers"),
        ({"towers": "task_towers {}"}, r"task_towers\[0\]: .*tower_name is missing"),
        (
            {"towers": "task_towers { tower_name: 'a' } task_towers { tower_name: 'a' }"},
            "two towers are called 'a'",
        ),
        (
            {"towers": "task_towers { tower_name: 'a' label_name: 'by' }"},
            "label_name: 'by' is not among label_fields; did you mean 'buy'",
        ),
        (
            {"towers": "task_towers { tower_name: 'a' loss_type: CROSS_ENTROPY_LOSS }"},
            r"task_towers\[0\].loss_type: ",
        ),
        (
            {"towers": "task_towers { tower_name: 'a' loss_type: L2_LOSS num_class: 2 }"},
            "L2_LOSS needs num_class 1; found 2",
        ),
        ({"towers": "task_towers { tower_name: 'a' num_class: 0 }"}, "num_class: found 0"),
        ({"towers": "task_towers { tower_name: 'a' dnn {} }"}, "hidden_units is empty"),
        (
            {"towers": "task_towers { tower_name: 'a' dnn { hidden_units: [4, 0] } }"},
            r"hidden_units\[1\]: is 0",
        ),
        (
            {"towers": "task_towers { tower_name: 'a' dnn { hidden_units: 4 dropout_ratio: 1 } }"},
            r"dropout_ratio\[0\]: is 1",
        ),
        (
            {"towers": "task_towers { tower_name: 'a' dnn { hidden_units: 4 dropout_ratio: [0.1, 0.1] } }"},
            "has 2 rates for 1 layers",
        ),
        (
            {"towers": TWO % "relation_tower_names: 'ct' relation_dnn { hidden_units: 4 }"},
            "no earlier tower is called 'ct'; did you mean 'ctr'",
        ),
        (
            {"towers": TWO % "relation_tower_names: 'ctr' relation_dnn { hidden_units: 4 }"},
            "the tower 'ctr' has no relation_dnn",
        ),
        (
            {"towers": TWO % "task_space_indicator_label: 'click'"},
            "task_space_indicator_label: 'click' is not among label_fields",
        ),
        (
            {"towers": TWO % "task_space_indicator_name: 'usr' task_space_indicator_value: '1'"},
            "'usr' is neither a feature nor an input field",
        ),
        (
            {"towers": TWO % "task_space_indicator_name: 'user'"},
            "task_space_indicator_name needs task_space_indicator_value",
        ),
        (
            {"towers": TWO % "task_space_indicator_label: 'clk' out_task_space_weight: -1"},
            "out_task_space_weight: is -1",
        ),
        (
            {
                "towers": "task_towers { tower_name: 'a' num_class: 3 label_name: 'kind' } task_towers { tower_name: '1_a' }"
            },
            "called 'logits_1_a' too",
        ),
        (
            {
                "towers": f"task_towers {{ tower_name: 'a' loss_type: L2_LOSS }} task_towers {{ tower_name: 'b' relation_tower_names: 'a' {ORDER} }}"
            },
            "ORDER_CALIBRATE_LOSS compares with one probability a row, which 'a' does not predict",
        ),
        (
            {"towers": "task_towers { tower_name: 'a' losses { loss_type: ORDER_CALIBRATE_LOSS } }"},
            "ORDER_CALIBRATE_LOSS needs a loss beside it",
        ),
        (
            {"output": "output_blocks: ['deep', 'other', 'deep']"},
            r"output_blocks names 3 blocks \(deep, other, deep\) for 2 task_towers",
        ),
        (
            {"output": "output_blocks: ['listed', 'deep']"},
            r"the tower 'ctr' needs one tensor \[batch, dim\], but gets list of 2",
        ),
    ],
)
def test_what_does_not_fit_is_told_at_its_place(parts, message):
    with pytest.raises(ConfigError, match=message):
        built(**parts)


def test_other_models_have_no_towers():
    with pytest.raises(ConfigError, match=r"task_towers\[0\]: .*is for model_class MultiTaskModel"):
        build_model(parse_config(text_of().replace("'MultiTaskModel'", "'RankModel'")))


def test_what_the_model_leaves_to_its_towers_is_warned_of():
    config = parse_config(
        text_of(
            towers=TWO % "relation_tower_names: 'ctr' in_task_space_weight: 2",
            model="loss_type: L2_LOSS losses { loss_type: CLASSIFICATION }",
        )
        + "eval_config { metrics_set { auc {} } }"
    )
    build_model(config)
    found = "\n".join(config.warnings)
    for field in (
        "model_config.loss_type",
        "model_config.losses",
        "eval_config.metrics_set",
        "in_task_space_weight",
    ):
        assert f"{field} has no effect" in found or f"{field}: has no effect" in found
    assert "relation_tower_names: has no effect without relation_dnn" in found
