"""The Python programs of the README run, and its picture is the one that the sample makes."""

import pathlib
import re

import numpy as np
import pytest

import easyssl.layers  # noqa: F401 (registers them before a test undoes its registrations)
from easyssl import registry
from easyssl.backbone.plan import build_plan
from easyssl.backbone.render import graph
from easyssl.config import load_config, parse_config
from easyssl.data.features.spec import build_feature_specs

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
TRAINING = [program for program in PROGRAMS if "saved_model" not in program]
SERVING = [program for program in PROGRAMS if "saved_model" in program]

CONFIG = """
train_input_path: 'rows.csv'
model_dir: 'experiments/cl4srec_on_taobao'
train_config {
  optimizer_config { adam_optimizer { learning_rate { constant_learning_rate {} } } }
  num_steps: 1
}
data_config {
  batch_size: 8 label_fields: 'clk' input_type: CSVInput
  input_fields { input_name: 'clk' input_type: INT32 }
  input_fields { input_name: 'user_id' input_type: STRING }
  input_fields { input_name: 'age' input_type: INT32 }
  input_fields { input_name: 'price' input_type: FLOAT }
}
feature_config {
  features { input_names: 'user_id' feature_type: IdFeature embedding_dim: 4 hash_bucket_size: 100 }
  features { input_names: 'age' feature_type: IdFeature embedding_dim: 4 num_buckets: 100 }
  features { input_names: 'price' feature_type: RawFeature }
}
model_config {
  model_class: 'RankModel'
  feature_groups { group_name: 'all' feature_names: ['user_id', 'age', 'price'] }
  backbone {
    blocks {
      name: 'main' inputs { feature_group_name: 'all' }
      keras_layer { class_name: 'MLP' mlp { hidden_units: [4] } }
    }
    concat_blocks: 'main'
  }
}
"""


def test_there_are_programs_for_each_kind_of_user():
    assert len(TRAINING) == 2 and len(SERVING) == 1


@pytest.mark.both_keras
@pytest.mark.parametrize("program", TRAINING, ids=["own layer", "own model"])
def test_programs_run(program):
    with registry.temporary_registration():
        exec(program, {"__name__": "readme"})  # noqa: S102 (ours)


def test_the_served_model_is_called_as_the_readme_says(tmp_path, monkeypatch, capsys):
    from easyssl.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.config").write_text(CONFIG)
    random = np.random.default_rng(0)
    rows = (f"{n % 2},u{n},{random.integers(0, 90)},{random.random():.3f}\n" for n in range(8))
    (tmp_path / "rows.csv").write_text("".join(rows))
    assert main(["train", "my.config"]) == 0
    capsys.readouterr()
    (program,) = SERVING
    exec(program, {"__name__": "readme"})  # noqa: S102 (ours)
    scores = [float(number) for number in capsys.readouterr().out.strip("[]\n").split()]
    assert len(scores) == 2 and all(0 < score < 1 for score in scores)


def test_the_block_is_that_of_the_sample_in_its_short_form(root):
    config = load_config(str(root / "samples" / "cl4srec_on_taobao.config"))
    plan = build_plan(config, build_feature_specs(config))
    (text,) = re.findall(
        r"^```\n(blocks \{.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    backbone = config.message.model_config.backbone
    (place,) = [index for index, block in enumerate(backbone.blocks) if block.name == "contrastive"]
    short = parse_config(f"model_config {{ backbone {{ {text} }} }}").message.model_config.backbone.blocks[0]
    backbone.blocks[place].CopyFrom(short)
    found = build_plan(config, build_feature_specs(config))
    before, after = (made.main.block("contrastive").layers[0] for made in (plan, found))
    assert (before.class_name, before.kwargs) == (after.class_name, after.kwargs)
    assert found.warnings == ()


def test_the_picture_is_what_the_sample_makes(root):
    config = load_config(str(root / "samples" / "cl4srec_on_taobao.config"))
    made = graph(build_plan(config, build_feature_specs(config)), ".svg")
    kept = (root / "docs" / "images" / "cl4srec_on_taobao.svg").read_text(encoding="utf-8")
    command = (
        "easyssl check samples/cl4srec_on_taobao.config --plan-only --plot docs/images/cl4srec_on_taobao.svg"
    )
    assert made == kept, f"run {command}"
