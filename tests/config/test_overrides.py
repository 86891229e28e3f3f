import pytest
from google.protobuf import text_format

from easyssl.config import parse_config
from easyssl.config.messages import PipelineConfig
from easyssl.config.overrides import apply_override
from easyssl.errors import ConfigError

BASE = """
model_dir: 'runs'
train_config { num_steps: 5 optimizer_config { adam_optimizer { beta1: 0.5 } } }
eval_config { metrics_set { auc {} } }
data_config { label_fields: ['clk', 'buy'] batch_size: 8 input_fields { input_name: 'user' } }
feature_config {
  features { input_names: 'user' embedding_dim: 4 }
  features { feature_name: 'cate' input_names: 'cate_id' embedding_dim: 4 }
  features { input_names: 'item' feature_type: SequenceFeature embedding_dim: 4 }
}
model_config {
  feature_groups { group_name: 'user' feature_names: 'user' }
  backbone {
    blocks { name: 'mlp' inputs { feature_group_name: 'user' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: [8, 4] } } }
    blocks {
      name: 'aux' inputs { block_name: 'mlp' } inputs { package_name: 'p' }
      keras_layer { class_name: 'AuxiliaryLoss'
        st_params { fields { key: 'temperature' value { number_value: 0.1 } } } }
    }
  }
}
"""


def base():
    message = PipelineConfig()
    text_format.Parse(BASE, message)
    return message


def value_at(message, path):
    """Reads a canonical path independently of the code under test."""
    for part in path.replace("[", ".[").split("."):
        message = message[int(part[1:-1])] if part.startswith("[") else getattr(message, part)
    return message


@pytest.mark.parametrize(
    ("override", "path", "expected"),
    [
        ("train_config.num_steps=10", "train_config.num_steps", 10),
        (" train_config.num_steps = 10 ", None, None),
        ("train_config.num_steps= 10 ", "train_config.num_steps", 10),
        ("train_config.seed=7", "train_config.seed", 7),
        ("train_config.sync_replicas=false", "train_config.sync_replicas", False),
        ("train_config.sync_replicas=True", "train_config.sync_replicas", True),
        ("train_config.gradient_clipping_by_norm=5e-1", "train_config.gradient_clipping_by_norm", 0.5),
        ("model_dir=runs/a b", "model_dir", "runs/a b"),
        ("model_dir='runs/a=b'", "model_dir", "runs/a=b"),
        ('model_dir="a\\tb"', "model_dir", "a\tb"),
        ("model_dir=", "model_dir", ""),
        ("data_config.separator=\\t", "data_config.separator", "\\t"),
        ("model_config.loss_type=L2_LOSS", "model_config.loss_type", 1),
        (
            "train_config.optimizer_config[0].adam_optimizer.beta1=.25",
            "train_config.optimizer_config[0].adam_optimizer.beta1",
            0.25,
        ),
        (
            "feature_config.features[name=user].embedding_dim=32",
            "feature_config.features[0].embedding_dim",
            32,
        ),
        (
            "feature_config.features[name=cate].embedding_dim=32",
            "feature_config.features[1].embedding_dim",
            32,
        ),
        ("feature_config.features['name'=cate].embedding_dim=32", None, None),
        (
            "feature_config.features[name='item'].embedding_dim=32",
            "feature_config.features[2].embedding_dim",
            32,
        ),
        (
            "feature_config.features[feature_type=SequenceFeature].embedding_dim=3",
            "feature_config.features[2].embedding_dim",
            3,
        ),
        ("data_config.input_fields[name=user].input_type=INT64", "data_config.input_fields[0].input_type", 1),
        (
            "model_config.feature_groups[name=user].wide_deep=WIDE",
            "model_config.feature_groups[0].wide_deep",
            1,
        ),
        (
            "model_config.backbone.blocks[name=aux].inputs[name=p].ignore_input=true",
            "model_config.backbone.blocks[1].inputs[1].ignore_input",
            True,
        ),
        (
            "model_config.backbone.blocks[name=mlp].keras_layer.mlp.hidden_units=[64, 32,16]",
            "model_config.backbone.blocks[0].keras_layer.mlp.hidden_units",
            [64, 32, 16],
        ),
        (
            "model_config.backbone.blocks[name=mlp].keras_layer.mlp.hidden_units[1]=9",
            "model_config.backbone.blocks[0].keras_layer.mlp.hidden_units",
            [8, 9],
        ),
        ("data_config.label_fields=[a, 'b,c', \"d\"]", "data_config.label_fields", ["a", "b,c", "d"]),
        ("data_config.label_fields=[]", "data_config.label_fields", []),
        ("data_config.label_fields[+]=like", "data_config.label_fields", ["clk", "buy", "like"]),
        ("data_config.label_fields[1]=like", "data_config.label_fields", ["clk", "like"]),
        (
            "eval_config.metrics_set[+].recall_at_topk.topk=3",
            "eval_config.metrics_set[1].recall_at_topk.topk",
            3,
        ),
        (
            "eval_config.metrics_set[+]={gauc { uid_field: 'u' }}",
            "eval_config.metrics_set[1].gauc.uid_field",
            "u",
        ),
        (
            "eval_config.metrics_set[0].recall_at_topk={topk: 3}",
            "eval_config.metrics_set[0].recall_at_topk.topk",
            3,
        ),
        ("feature_config.features=[{input_names: 'z'}]", "feature_config.features[0].input_names", ["z"]),
        ("train_config={num_steps: 9}", "train_config.optimizer_config", []),
    ],
)
def test_sets_what_it_names_and_nothing_else(override, path, expected):
    message = base()
    if path is None:
        with pytest.raises(ConfigError):
            apply_override(message, override)
        return
    apply_override(message, override)
    held = value_at(message, path)
    assert (list(held) if isinstance(expected, list) else held) == expected
    # Undoing it in the changed message gives the original back, up to what was replaced on purpose.
    if override.startswith("train_config.num_steps"):
        message.train_config.num_steps = 5
        assert message == base()


def test_struct_entries_take_the_place_of_fields():
    message = base()
    start = "model_config.backbone.blocks[name=aux].keras_layer.st_params"
    path = apply_override(message, f"{start}.temperature=0.2")
    assert path == "model_config.backbone.blocks[1].keras_layer.st_params.temperature"
    apply_override(message, f"{start}.loss_type=nce_loss")
    apply_override(message, f"{start}.normalize=true")
    apply_override(message, f"{start}.sizes=[1, 2]")
    apply_override(message, f"{start}.inner.depth=3")
    struct = message.model_config.backbone.blocks[1].keras_layer.st_params
    assert dict(struct.items()) == {
        "temperature": 0.2,
        "loss_type": "nce_loss",
        "normalize": True,
        "sizes": struct["sizes"],
        "inner": struct["inner"],
    }
    assert list(struct["sizes"]) == [1, 2]
    assert struct["inner"]["depth"] == 3


def test_oneof_member_replaces_the_other_and_takes_its_place():
    config = parse_config(BASE, "a.config", overrides=["eval_config.metrics_set[0].max_f1={}"])
    assert config.message.eval_config.metrics_set[0].WhichOneof("metric") == "max_f1"
    assert config.where("eval_config.metrics_set[0].max_f1") == "--set eval_config.metrics_set[0].max_f1={}"
    assert config.where("eval_config.metrics_set[0].auc") == "a.config:4:15"


def test_the_last_override_wins_and_places_follow():
    config = parse_config(
        BASE,
        "a.config",
        overrides=["train_config.num_steps=6", "train_config={}", "train_config.num_steps=7"],
    )
    assert config.message.train_config.num_steps == 7
    assert config.where("train_config.num_steps") == "--set train_config.num_steps=7"
    assert config.where("train_config.optimizer_config[0]") == "--set train_config={}"
    assert config.where("data_config.batch_size").startswith("a.config:5:")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("train_config.num_stepz=1", ["TrainConfig has no field 'num_stepz'", "did you mean 'num_steps'"]),
        ("trian_config.num_steps=1", ["no field 'trian_config'", "did you mean 'train_config'"]),
        ("train_config.num_steps", ["expected path.to.field=value"]),
        ("", ["expected path.to.field=value"]),
        ("=", ["expected path.to.field=value"]),
        ("train_config..num_steps=1", ["expected path.to.field=value"]),
        ("train_config[0].num_steps=1", ["'train_config' is not a list"]),
        ("train_config.num_steps.x=1", ["'train_config.num_steps' holds a value"]),
        ("train_config.num_steps=ten", ["expected an integer from 0 to 4294967295", "found 'ten'"]),
        ("train_config.num_steps=-1", ["expected an integer from 0"]),
        ("train_config.num_steps=1 seed: 3", ["expected an integer", "found '1 seed: 3'"]),
        ("train_config.num_steps=", ["expected an integer"]),
        ("train_config.sync_replicas=maybe", ["expected true or false"]),
        ("train_config=3", ["is a message; write train_config={...}"]),
        ("train_config={num_stepz: 3}", ["no field 'num_stepz'", "did you mean 'num_steps'"]),
        ("train_config={num_steps: 3", ["is a message"]),
        ("train_config={num_steps: 3} seed: 3 eval_config {}", ["no field 'seed'"]),
        ("train_config={} model_dir: 'x' data_config {}", ["and nothing after it"]),
        ("train_config={optimizer_config {} ", ["the closing } is missing"]),
        ("model_config.loss_type=CLASIFICATION", ["not a LossType", "did you mean 'CLASSIFICATION'"]),
        ("data_config.label_fields=clk", ["is a list; write [a, b], or label_fields[+]=value"]),
        ("data_config.label_fields[5]=clk", ["has 2 elements", "[+] appends"]),
        ("data_config.label_fields[name=clk]=x", ["expected an index, [+] or [field=value]"]),
        ("data_config.label_fields[0].x=1", ["holds a value"]),
        ("data_config.label_dim=[1, x]", ["expected an integer", "found 'x'"]),
        ("feature_config.features.embedding_dim=3", ["is a list of 3", "features[0]"]),
        (
            "feature_config.features[name=cat].embedding_dim=3",
            ["no element with name 'cat'", "did you mean 'cate'"],
        ),
        ("feature_config.features[nam=cate].embedding_dim=3", ["no field 'nam'", "valid are"]),
        ("feature_config.features[embedding_dim=4].embedding_dim=3", ["several elements", "0, 1, 2"]),
        ("feature_config.features[input_names=user].embedding_dim=3", ["no single value"]),
        ("feature_config.features[-1].embedding_dim=3", ["expected an index"]),
        ("feature_config.features[].embedding_dim=3", ["expected an index"]),
        ("feature_config.features[0.embedding_dim=3", ["expected path.to.field=value"]),
        ("model_dir='a", ["is not a string in quotes"]),
        ("model_config.backbone.blocks[1].keras_layer.st_params.temperature.x=1", ["holds a value"]),
        ("model_config.backbone.blocks[1].keras_layer.st_params.a[0]=1", ["takes no [0]"]),
    ],
)
def test_errors_name_the_override_and_what_was_meant(override, words):
    message = base()
    with pytest.raises(ConfigError) as caught:
        apply_override(message, override)
    text = str(caught.value)
    assert text.startswith(f"--set {override}")
    assert "\n" not in text
    assert [word for word in words if word not in text] == []
