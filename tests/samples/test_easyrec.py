"""The configs after EasyRec's samples train, evaluate and export on generated rows of the form of their data."""

import json
import math
import pathlib

import pytest

from easyssl.cli.main import main
from easyssl.config import load_config
from easyssl.data.prepare import GENERATORS, avazu, criteo, movies, taobao

SAMPLES = pathlib.Path(__file__).resolve().parents[2] / "samples" / "easyrec"
COLUMNS = {
    "avazu": avazu.COLUMNS,
    "criteo": criteo.COLUMNS,
    "movielens": movies.COLUMNS,
    "taobao": taobao.COLUMNS,
}
# One of each data set runs every time, the others with the slow tests.
FAST = (
    "wide_and_deep_backbone_on_avazu",
    "dlrm_backbone_on_criteo",
    "contrastive_learning_on_movielens",
    "cdn_on_taobao",
)
# What is evaluated, where it is not the AUC of one label.
SEVERAL_TASKS = ("simple_multi_task", "mmoe", "mmoe_mirrored", "dbmtl", "aitm")
METRICS = {
    **{f"{name}_on_taobao": {"auc_clk", "accuracy_gender"} for name in SEVERAL_TASKS},
    "dssm_on_taobao_backbone": {"recall@"},
    "dssm_senet_on_taobao_backbone": {"recall@"},
    "parallel_dssm_on_taobao_backbone": {"recall@"},
}


def data_of(name):
    """Returns the data set that a config is named after."""
    (data,) = {word for word in name.split("_") if word in GENERATORS}
    return data


NAMES = sorted(path.stem for path in SAMPLES.glob("*.config"))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with 300 rows of each data set, made when a config asks for them."""
    folder = tmp_path_factory.mktemp("easyrec")

    def with_data(data):
        if not (folder / "data" / data).exists():
            options = {"tfrecord": True} if data == "criteo" else {}
            GENERATORS[data](folder / "data" / data, rows=300, test_rows=100, **options)
        return folder

    return with_data


@pytest.mark.parametrize("name", NAMES)
def test_a_config_reads_columns_that_there_are(name):
    config = load_config(str(SAMPLES / f"{name}.config")).message.data_config
    names, columns = [field.input_name for field in config.input_fields], COLUMNS[data_of(name)]
    if config.with_header:
        assert set(names) <= set(columns)
    else:
        assert names == list(columns)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_converts_without_a_field_that_would_change_results(name, capfd):
    assert main(["convert", str(SAMPLES / f"{name}.config"), "--brief"]) == 0
    assert "warning" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_a_config_trains_evaluates_and_exports(name, root, tmp_path, capfd):
    settings = {
        "model_dir": tmp_path,
        "data_config.batch_size": 64,
        "train_config.num_steps": 2,
        "train_config.log_step_count_steps": 1,
    }
    words = ["train", str(SAMPLES / f"{name}.config"), "--data-root", str(root(data_of(name)))]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    assert main(words) == 0
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    losses = [record["losses"] for record in records if record["kind"] == "train"]
    assert len(losses) == 2 and all(math.isfinite(value) for step in losses for value in step.values())
    (found,) = [record["metrics"] for record in records if record["kind"] == "eval"]
    for metric in METRICS.get(name, {"auc"}):
        assert any(key.startswith(metric) for key in found), found
    # The export at the end of training is compared with the model before it is there.
    assert (tmp_path / "export" / "1" / "saved_model.pb").exists()


@pytest.mark.slow
def test_real_rows_of_criteo_are_read_by_the_same_config(real_data, tmp_path, capfd):
    """The small file of real rows has a header line and commas; the published one has neither."""
    rows = real_data("ctr_small_samples/criteo_sample_200.csv")
    settings = {
        "train_input_path": rows,
        "eval_input_path": rows,
        "model_dir": tmp_path,
        "data_config.separator": ",",
        "data_config.with_header": "true",
        "data_config.batch_size": 64,
        "train_config.num_steps": 2,
        "export_config.exporter_type": "none",
    }
    words = ["train", str(SAMPLES / "dlrm_standard_on_criteo.config")]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    assert main(words) == 0
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert 0 <= last["metrics"]["auc"] <= 1
