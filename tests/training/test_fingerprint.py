"""Which edits of a config stop a run from going on."""

import pytest
from google.protobuf import text_format

from easyssl.config.messages import PipelineConfig
from easyssl.errors import CheckpointError
from easyssl.training.fingerprint import changes, check_unchanged, fingerprint, flatten

BASE = """
train_input_path: 'a.csv' eval_input_path: 'b.csv' model_dir: 'out'
train_config {
  optimizer_config { adam_optimizer { learning_rate { constant_learning_rate { learning_rate: 0.25 } } } }
  num_steps: 100
}
data_config { batch_size: 64 label_fields: 'clk' label_fields: 'buy' }
"""


def values(extra="", text=BASE):
    message = text_format.Parse(text, PipelineConfig())
    message.MergeFrom(text_format.Parse(extra, PipelineConfig()))
    return flatten(message)


def test_the_flat_form_names_every_field_by_its_path():
    flat = values()
    rate = (
        "train_config.optimizer_config[0].adam_optimizer.learning_rate.constant_learning_rate.learning_rate"
    )
    assert flat[rate] == 0.25
    assert flat["data_config.label_fields[1]"] == "buy"


@pytest.mark.parametrize(
    "extra",
    [
        "train_config { num_steps: 500 log_step_count_steps: 1 save_checkpoints_steps: 7 }",
        "train_config { keep_checkpoint_max: 2 }",
        "model_dir: 'elsewhere' train_input_path: 'c.csv'",
        "eval_config { num_examples: 5 metrics_set { auc {} } }",
        "export_config { exporter_type: 'best' }",
        "data_config { num_epochs: 3 prefetch_size: 8 }",
        "train_config { train_distribute: HorovodStrategy num_gpus_per_worker: 2 }",  # without effect
        "data_config { shuffle_buffer_size: 32 }",  # its default, written out
    ],
)
def test_fields_without_influence_on_results_do_not_count(extra):
    assert fingerprint(values(extra)) == fingerprint(values())
    assert changes(values(), values(extra)) == []
    check_unchanged(values(), values(extra), "here")


@pytest.mark.parametrize(
    ("extra", "line"),
    [
        ("data_config { batch_size: 32 }", "data_config.batch_size: 64 -> default"),
        ("data_config { label_fields: 'x' }", 'data_config.label_fields[2]: default -> "x"'),
        ("train_config { gradient_clipping_by_norm: 1 }", "gradient_clipping_by_norm: default -> 1.0"),
        ("train_config { optimizer_config { adagrad_optimizer {} } }", "adagrad_optimizer: default ->"),
    ],
)
def test_fields_that_change_results_are_listed(extra, line):
    assert fingerprint(values(extra)) != fingerprint(values())
    with pytest.raises(CheckpointError, match="--allow-config-change") as caught:
        check_unchanged(values(), values(extra), "here")
    assert line in str(caught.value)


def test_the_values_of_a_struct_count_and_their_order_does_not():
    def flat(*entries):
        fields = " ".join(f'fields {{ key: "{k}" value {{ {v} }} }}' for k, v in entries)
        layer = f'keras_layer {{ class_name: "Dense" st_params {{ {fields} }} }}'
        text = f'model_config {{ backbone {{ blocks {{ name: "b" {layer} }} }} }}'
        return flatten(text_format.Parse(text, PipelineConfig()))

    units, act = ("units", "number_value: 3"), ("activation", 'string_value: "relu"')
    assert flat(units, act) == flat(act, units)
    assert changes(flat(units, act), flat(("units", "number_value: 4"), act))
    assert any(path.endswith("st_params.fields[units].number_value") for path in flat(units))


@pytest.mark.parametrize(
    ("extra", "refused"),
    [
        ("data_config { batch_size: 8 with_header: true separator: ';' }", False),
        ("train_config { seed: 7 }", False),
        ("data_config { input_fields { input_name: 'new' } }", True),
        ("model_config { model_class: 'RankModel' num_class: 3 }", True),
    ],
)
def test_a_trained_model_reads_other_files_but_not_with_another_model(extra, refused):
    if not refused:
        check_unchanged(values(), values(extra), "here", inference=True)
        return
    with pytest.raises(CheckpointError, match="undo that, or go on"):
        check_unchanged(values(), values(extra), "here", inference=True)
