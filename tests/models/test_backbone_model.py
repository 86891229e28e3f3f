"""What all models have from their base: Keras' own loops and files."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.config import Config, parse_config
from easyssl.models import build_model

pytestmark = pytest.mark.both_keras

RANK = """
model_dir: 'run'
data_config {
  label_fields: 'clk' input_type: CSVInput
  input_fields { input_name: 'clk' input_type: FLOAT }
  input_fields { input_name: 'user' input_type: STRING }
  input_fields { input_name: 'age' input_type: FLOAT }
}
feature_config {
  features { input_names: 'user' feature_type: IdFeature embedding_dim: 4 %s }
  features { input_names: 'age' feature_type: RawFeature }
}
model_config {
  model_class: 'RankModel'
  feature_groups { group_name: 'all' feature_names: 'user' feature_names: 'age' wide_deep: DEEP }
  backbone {
    blocks {
      name: 'deep' inputs { feature_group_name: 'all' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: 6 use_bn: false } }
    }
    concat_blocks: 'deep'
  }
}
"""
ROWS = {
    "user": np.array([b"a", b"b", b"c", b"a", b"d"], object),
    "age": np.array([0.5, -1.0, 2.0, 0.1, 0.3], np.float32),
}
CLICKS = np.array([1, 0, 0, 1, 1], np.float32)
WEIGHTS = np.array([1.0, 0.0, 3.0, 0.5, 2.0], np.float32)


@pytest.fixture(params=["rank", "match", "point-wise match"])
def weighted(request, text, rows):
    """A model, and features, labels and weights of a few rows."""
    if request.param == "rank":
        model, raw = build_model(parse_config(RANK % "hash_bucket_size: 9")), ROWS
    else:
        loss = {"model": "loss_type: CLASSIFICATION"} if request.param == "point-wise match" else {}
        model, raw = build_model(parse_config(text(**loss))), rows(5)
    labels = {name: tf.constant(CLICKS) for name in model.label_names}
    return model, model.transform(raw), labels, tf.constant(WEIGHTS)


def test_keras_evaluates_the_weighted_loss(weighted):
    model, features, labels, weights = weighted
    model.compile("sgd")
    for given in (weights, None):
        expected = model.compute_losses(features, labels, given, training=False).total
        parts = (features, labels) if given is None else (features, labels, given)
        found = model.evaluate(tf.data.Dataset.from_tensors(parts), verbose=0, return_dict=True)
        np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)


def test_keras_fits_the_weighted_loss(weighted):
    model, features, labels, weights = weighted
    with tf.GradientTape() as tape:
        loss = model.compute_losses(features, labels, weights, training=True).total
    gradients = tape.gradient(loss, model.trainable_variables)
    expected = [
        variable.numpy() - (0.0 if gradient is None else 0.1 * np.asarray(tf.convert_to_tensor(gradient)))
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    ]
    model.compile("sgd")
    model.optimizer.learning_rate = 0.1
    model.fit(tf.data.Dataset.from_tensors((features, labels, weights)), verbose=0)
    for variable, value in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), value, rtol=1e-4, atol=1e-6)


def test_losses_of_parts_average_to_the_loss_of_all_rows(weighted):
    model, features, labels, weights = weighted
    for given in (weights, None):
        sums, counts = {}, {}
        for part in (slice(0, 2), slice(2, 3), slice(3, 5), slice(1, 2)):  # the last one has no weight
            if given is None and part.start == 1:
                continue
            own = None if given is None else given[part]
            x = {name: value[part] for name, value in features.items()}
            y = {name: value[part] for name, value in labels.items()}
            losses = model.compute_losses(x, y, own, training=False).unweighted
            rows = part.stop - part.start
            denominators = model.loss_denominators(rows, None if own is None else own.numpy())
            assert denominators.keys() == losses.keys()
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value) * denominators[name]
                counts[name] = counts.get(name, 0.0) + denominators[name]
        whole = model.compute_losses(features, labels, given, training=False).unweighted
        if "reg_pos_loss" in whole:  # the other one compares the rows of a batch
            whole = {"reg_pos_loss": whole["reg_pos_loss"]}
        for name, value in whole.items():
            np.testing.assert_allclose(sums[name] / counts[name], value, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("path", ["elsewhere/my.config", "elsewhere/my.json"])
def test_a_keras_file_keeps_precision_and_the_place_of_other_files(tmp_path, monkeypatch, precision, path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "users.txt").write_text("a\nb\nc\n")
    monkeypatch.chdir(tmp_path)
    message = parse_config(RANK % "vocab_file: 'users.txt'", data_root="data").message
    config = Config(message, path, data_root="data")
    keras.mixed_precision.set_global_policy(precision)
    try:
        model = build_model(config)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    features = model.transform(ROWS)
    expected = model(features)["logits"]
    saved = model.get_config()
    model.save(tmp_path / "my.keras")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    again = keras.models.load_model(tmp_path / "my.keras")
    assert keras.mixed_precision.global_policy().name == "float32"
    assert again.dtype_policy.name == again.backbone.dtype_policy.name == precision
    assert again.get_config() == {**saved, "path": path.removesuffix(".json")}
    np.testing.assert_array_equal(again.transform(ROWS)["user"], features["user"])
    np.testing.assert_array_equal(again(features)["logits"], expected)
    losses = [m.compute_losses(features, {"clk": CLICKS}, training=False).total for m in (model, again)]
    assert float(losses[0]) == float(losses[1])
