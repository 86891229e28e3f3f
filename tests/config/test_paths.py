import os
import pathlib

import pytest

from easyssl.config import load_config, parse_config
from easyssl.errors import ConfigError

SMALL = pathlib.Path(__file__).with_name("small.config").read_text()


def test_relative_names_start_from_the_folder_of_the_config(tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    path = tmp_path / "sub" / "a.config"
    path.write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    config = load_config("sub/a.config")
    assert config.resolve_path("data/*.csv", "train_input_path") == str(tmp_path / "sub" / "data" / "*.csv")
    assert config.resolve_path("runs/small", "model_dir") == str(tmp_path / "runs" / "small")
    assert config.resolve_path("/abs/x", "train_input_path") == "/abs/x"
    rooted = load_config("sub/a.config", data_root=tmp_path / "elsewhere")
    assert rooted.resolve_path("x", "train_input_path") == str(tmp_path / "elsewhere" / "x")
    assert rooted.resolve_path("runs", "model_dir") == str(tmp_path / "runs")
    earlier = "train_config.fine_tune_checkpoint"
    assert rooted.resolve_path("runs/a", earlier) == str(tmp_path / "runs" / "a")
    with pytest.raises(ConfigError, match="leaves the folder"):
        rooted.resolve_path("../a", earlier)


def test_names_from_overrides_start_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "a.config").write_text(SMALL)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    config = load_config("../a.config", ["train_input_path=../x.csv"])
    assert config.resolve_path("../x.csv", "train_input_path") == str(tmp_path / "x.csv")
    assert config.resolve_path("x.csv", "eval_input_path") == str(tmp_path / "x.csv")


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "", "s3://bucket/x", "HTTP://x", "file:///etc/passwd", "a\0b"]
)
def test_names_that_are_refused(tmp_path, name):
    config = parse_config("train_input_path: 'x'", str(tmp_path / "a.config"))
    with pytest.raises(ConfigError, match=r"a.config:1:1: train_input_path: "):
        config.resolve_path(name, "train_input_path")


def test_links_may_not_lead_out_of_the_folder(tmp_path):
    inner = tmp_path / "inner"
    (inner / "data").mkdir(parents=True)
    (inner / "data" / "x.csv").write_text("")
    os.symlink(inner / "data", inner / "good")
    os.symlink(tmp_path, inner / "bad")
    config = parse_config("", str(inner / "a.config"))
    assert config.resolve_path("good/x.csv", "train_input_path") == str(inner / "good" / "x.csv")
    with pytest.raises(ConfigError, match="is a link that leaves the folder"):
        config.resolve_path("bad/x.csv", "train_input_path")
