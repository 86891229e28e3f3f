"""Exports of models made from configs: what is in the graph, and that it answers like the model."""

import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from easyssl.config import parse_config
from easyssl.data.from_config import columns_from_config
from easyssl.data.rows import object_array
from easyssl.errors import ConfigError
from easyssl.export import versions
from easyssl.export.exporter import export_model

# A contrastive model: two augmented views of the history go through the encoder that the score is made with.
CONFIG = """
model_dir: "MODEL_DIR"
data_config {
  batch_size: 8
  label_fields: "clk"
  input_type: CSVInput
  input_fields { input_name: "clk" input_type: INT32 }
  input_fields { input_name: "user" input_type: STRING default_val: "nobody" }
  input_fields { input_name: "age" input_type: INT32 }
  input_fields { input_name: "price" input_type: DOUBLE }
  input_fields { input_name: "hist" input_type: STRING }
  input_fields { input_name: "unused" input_type: STRING }
}
feature_config {
  features { input_names: "user" feature_type: IdFeature embedding_dim: 4 hash_bucket_size: 100 }
  features { input_names: "age" feature_type: IdFeature embedding_dim: 4 num_buckets: 10 }
  features { input_names: "price" feature_type: RawFeature }
  features { input_names: "hist" feature_type: SequenceFeature embedding_dim: 8 hash_bucket_size: 100 }
  features { input_names: "unused" feature_type: IdFeature embedding_dim: 8 hash_bucket_size: 100 }
}
model_config {
  model_class: "RankModel"
  feature_groups { group_name: "flat" feature_names: ["user", "age", "price"] }
  feature_groups { group_name: "history" feature_names: "hist" }
  backbone {
    blocks {
      name: "history"
      inputs { feature_group_name: "history" }
      input_layer { output_seq_and_normal_feature: true }
    }
    packages {
      name: "augment"
      blocks {
        name: "augmented"
        inputs { block_name: "history" }
        keras_layer { class_name: "SeqAugment" seq_aug { mask_rate: 0.6 crop_rate: 0.2 reorder_rate: 0.6 } }
      }
    }
    packages {
      name: "encoder"
      blocks {
        name: "encoded"
        inputs { use_package_input: true }
        keras_layer {
          class_name: "BST"
          bst {
            hidden_size: 8 num_attention_heads: 2 num_hidden_layers: 1 intermediate_size: 16
            hidden_act: "gelu" max_position_embeddings: 16 hidden_dropout_prob: 0.5
            attention_probs_dropout_prob: 0.5 output_all_token_embeddings: false
          }
        }
      }
    }
    blocks {
      name: "projected_one"
      inputs { package_name: "encoder" package_input: "augment" }
      keras_layer { class_name: "Dense" st_params { fields { key: "units" value { number_value: 5 } } } }
    }
    blocks {
      name: "contrastive"
      inputs { block_name: "projected_one" }
      inputs { block_name: "projected_one" }
      merge_inputs_into_list: true
      keras_layer {
        class_name: "AuxiliaryLoss"
        st_params {
          fields { key: "loss_type" value { string_value: "nce_loss" } }
          fields { key: "loss_weight" value { number_value: 0.1 } }
        }
      }
    }
    blocks {
      name: "scored"
      inputs { package_name: "encoder" package_input: "history" }
      inputs { feature_group_name: "flat" }
    }
    concat_blocks: "scored"
    top_mlp { hidden_units: [8] }
  }
  model_params { MODEL_PARAMS }
}
"""
ROWS = {
    "user": object_array([b"u1", b"never seen", b"", b"u2"]),
    "age": np.array([3, 99, -1, 0], np.int32),
    "price": np.array([0.5, -1.0, 2.0, 0.0]),
    "hist": object_array([b"a|b|c", b"", b"never seen", b"|".join(b"i%d" % i for i in range(14))]),
}


def build(tmp_path, model_params="", **fields):
    from easyssl.training.setup import build_model

    text = CONFIG.replace("MODEL_DIR", str(tmp_path / "model")).replace("MODEL_PARAMS", model_params)
    config = parse_config(
        text, str(tmp_path / "my.config"), overrides=[f"{k}={v}" for k, v in fields.items()]
    )
    return config, build_model(config)


def export(config, model):
    columns = {c.name: c for c in columns_from_config(config, "predict")}
    return export_model(model, config, columns, ROWS, step=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrastive")
    (folder / "words.txt").write_text("a\n")
    config, model = build(folder, export_config=f'{{asset_files: "{folder}/words.txt"}}')
    return model, export(config, model)


def test_answers_like_the_model(made):
    model, exported = made
    filled = ROWS | {"user": object_array([b"u1", b"never seen", b"nobody", b"u2"])}
    ours = model(model.transform(filled), training=False)
    serve = tf.saved_model.load(str(exported.path)).signatures["serving_default"]
    dtypes = {n: spec.dtype for n, spec in serve.structured_input_signature[1].items()}
    theirs = serve(**{n: tf.constant(v, dtypes[n]) for n, v in ROWS.items()})
    assert set(theirs) == {"logits", "probs"}
    for name in theirs:
        np.testing.assert_allclose(theirs[name], ours[name], rtol=1e-5, atol=1e-6)
    assert exported.verification.rows == 4


def test_only_needed_columns_are_inputs(made):
    _, exported = made
    manifest = json.loads((exported.path / versions.MANIFEST).read_text())
    assert manifest["inputs"] == {
        "age": "int32 [batch]",
        "hist": "string [batch]",
        "price": "float64 [batch]",
        "user": "string [batch]",
    }
    assert manifest["outputs"] == {"logits": "float32 [batch]", "probs": "float32 [batch]"}
    assert manifest["step"] == 3 and 'name: "contrastive"' in manifest["config"]
    assert (exported.path / "assets.extra" / "words.txt").read_text() == "a\n"


def test_nothing_of_training_is_in_the_graph(made):
    """No random operation, no weight of the contrastive head, and no operation that no output needs."""
    model, exported = made
    manifest = json.loads((exported.path / versions.MANIFEST).read_text())
    assert [op for op in manifest["operations"] if "Random" in op or "Shuffle" in op] == []
    saved = dict(tf.train.list_variables(str(exported.path / "variables" / "variables")))
    shapes = [tuple(shape) for name, shape in saved.items() if "read_variables" in name]
    heads = [v for v in model.weights if tuple(v.shape) == (8, 5)]
    assert len(heads) == 1 and (8, 5) not in shapes
    # What is left belongs to the exported branch: derivatives that an activation prepares for a gradient, and
    # places of rows that only a last block reads. TensorFlow drops them when it loads the graph.
    left = useless_nodes(exported.path)
    assert [name for name in left if not name.startswith("RankModel/backbone/encoded/")] == []


def useless_nodes(path):
    """Returns the nodes of the served function that neither an output nor a check needs.

    Constants are left out, and so are the identities that `tf.custom_gradient` puts behind its arguments.
    """
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    library = model.meta_graphs[0].graph_def.library.function
    (serve,) = (
        f
        for f in library
        if f.signature.name.startswith("__inference_serve_") and "ex" not in f.signature.name
    )
    nodes = {node.name: node for node in serve.node_def}
    todo = [name.split(":")[0] for name in (*serve.ret.values(), *serve.control_ret.values())]
    reached = set()
    while todo:
        name = todo.pop()
        if name in nodes and name not in reached:
            reached.add(name)
            todo += [i.lstrip("^").split(":")[0] for i in nodes[name].input]
    return sorted(name for name in set(nodes) - reached if nodes[name].op not in ("Const", "Identity"))


def test_versions_follow_the_config(tmp_path):
    config, model = build(tmp_path, export_config="{verify: false exports_to_keep: 2}")
    names = [export(config, model).path.name for _ in range(3)]
    assert names == ["1", "2", "3"]
    assert sorted(p.name for p in (tmp_path / "model" / "export").iterdir()) == ["2", "3"]


def test_an_asset_that_is_not_there(tmp_path):
    config, model = build(tmp_path, export_config='{asset_files: "gone.txt"}')
    with pytest.raises(ConfigError, match=r"export_config.asset_files\[0\]: there is no file .*gone.txt"):
        export(config, model)


def test_an_output_that_is_not_there(tmp_path):
    config, model = build(tmp_path, model_params='outputs: "probz"')
    with pytest.raises(ConfigError, match=r"outputs\[0\]: .* 'probz'; did you mean 'probs'"):
        export(config, model)


@pytest.mark.parametrize(
    "precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)]
)
def test_half_precision_is_verified_and_answers_in_float32(tmp_path, precision):
    config, model = build(tmp_path, **{"train_config.mixed_precision": precision})
    assert model.compute_dtype == precision.removeprefix("mixed_")
    exported = export(config, model)
    manifest = json.loads((exported.path / versions.MANIFEST).read_text())
    assert manifest["outputs"] == {"logits": "float32 [batch]", "probs": "float32 [batch]"}
    assert exported.verification.rows == 4
