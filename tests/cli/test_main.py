"""The command as a user meets it: help, versions, one line for every mistake, exit codes."""

import os
import re
import subprocess
import sys

import pytest

import easyssl as package

LINE = re.compile(r"[^\n]+\n\Z")


def python(*words, cwd=None, env=None):
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | (env or {}),
        check=False,
    )


WITHOUT_TENSORFLOW = """
import sys
from easyssl.cli.main import main
code = main(sys.argv[1:])
assert "tensorflow" not in sys.modules, "TensorFlow was imported"
sys.exit(code)
"""


def test_module_and_version():
    done = python("-m", "easyssl", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"easyssl {package.__version__}\n", "")


def test_help_names_every_command_and_needs_no_tensorflow():
    done = python("-c", WITHOUT_TENSORFLOW, "--help")
    assert done.returncode == 0 and done.stderr == ""
    for command in ("check", "convert", "train", "evaluate", "predict", "export", "data"):
        assert re.search(rf"^  {command} +\S", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("command", ["check", "convert", "train", "evaluate", "predict", "export", "data"])
def test_help_of_a_command(easyssl, command):
    code, out, err = easyssl(command, "--help")
    assert code == 0 and err == ""
    assert out.startswith(f"usage: easyssl {command}") and f"examples:\n  easyssl {command}" in out
    assert max(map(len, out.splitlines())) <= 120


def test_broken_config_is_answered_without_tensorflow(project):
    path = project / "my.config"
    path.write_text(path.read_text().replace('"MLP"', '"MPL"'))
    done = python("-c", WITHOUT_TENSORFLOW, "train", path)
    assert done.returncode == 2, done.stderr
    assert LINE.match(done.stderr) and "my.config:" in done.stderr and "'MLP'" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "my.config", "--input", "eval.csv", "--output", "gone/scored.csv"),
        ("check", "my.config", "--plot", "gone/graph.svg"),
    ],
)
def test_a_missing_output_folder_is_told_without_tensorflow(project, words):
    done = python("-c", WITHOUT_TENSORFLOW, *words, cwd=project)
    assert done.returncode == 2, done.stderr
    assert LINE.match(done.stderr) and "the folder gone does not exist; make it first" in done.stderr


def test_keras_3_in_this_process_is_refused_in_one_line(project):
    program = (
        "import sys, tensorflow as tf; tf.keras.layers.Dense\n"
        "from easyssl.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done = python("-c", program, "check", project / "my.config", env={"TF_USE_LEGACY_KERAS": "0"})
    assert done.returncode == 2
    assert "TF_USE_LEGACY_KERAS=1" in done.stderr.splitlines()[-1]


def test_a_defect_shows_its_traceback(easyssl, project, monkeypatch):
    """A fault in our own code is not dressed up as the user's mistake."""
    from easyssl.cli import check

    monkeypatch.setattr(check, "run", lambda args: 1 / 0)
    code, _, err = easyssl("check", project / "my.config")
    assert code == 1
    assert "ZeroDivisionError" in err and "this is a defect of easyssl" in err


def test_what_the_machine_refuses_is_one_line(easyssl, project):
    code, _, err = easyssl("check", project / "my.config", "--plan-only", "--plot", project / "no" / "g.svg")
    assert code == 2 and LINE.match(err) and "the folder" in err


def test_output_pipe_that_closes_early(project):
    words = f"{sys.executable} -m easyssl --help | head -1"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True, check=False)
    assert done.stderr == "" and done.stdout.startswith("usage: easyssl")


def test_check_prints_the_plan(easyssl, project):
    code, out, err = easyssl("check", project / "my.config", "--plan-only")
    assert code == 0, err
    for block in ("deep", "seq", "attended"):
        assert block in out


@pytest.mark.parametrize("suffix", ["svg", "dot", "mmd"])
def test_check_draws_the_graph(easyssl, project, suffix):
    file = project / f"graph.{suffix}"
    code, _, err = easyssl("check", project / "my.config", "--plan-only", "--plot", file)
    assert code == 0, err
    assert "attended" in file.read_text()
    assert [p.name for p in project.iterdir() if "tmp" in p.name] == []


def test_check_builds_shapes_and_parameters(easyssl, project):
    code, out, err = easyssl("check", project / "my.config")
    assert code == 0, err
    # MLP 9 -> 8 -> 4: kernels without bias, and four vectors of each batch normalisation.
    assert str(9 * 8 + 4 * 8 + 8 * 4 + 4 * 4) in out


def test_check_takes_no_memory_for_the_rows_of_tables(easyssl, project):
    """The table is 1 TB large; its name and shape are enough to check that it fits."""
    large = "feature_config.features[0]"
    wide = ["--set", f"{large}.hash_bucket_size=4000000000", "--set", f"{large}.embedding_dim=64"]
    code, out, err = easyssl("check", project / "my.config", *wide)
    assert code == 0, err
    assert f"{4_000_000_000 * 64 + 10 * 4 + 100 * 4:,} in embedding tables" in out


FLAGS = {
    "check": {"--plan-only", "--plot"},
    "convert": {"--brief"},
    "train": {"--allow-config-change", "--fresh", "--precision", "--strategy"},
    "evaluate": {"--allow-config-change", "--best", "--checkpoint", "--input", "--part"},
    "predict": {"--allow-config-change", "--best", "--checkpoint", "--input", "--output", "--prefix"},
    "export": {"--allow-config-change", "--best", "--checkpoint", "--input", "--output"},
    "data": set(),
    "embed-text": {"--column", "--encoder", "--id", "--out", "--seed", "--word-drop"},
    "data generate": {
        *("--history-weight", "--out", "--rows", "--rows-per-user", "--seed", "--test-rows", "--tfrecord"),
    },
    "data ml-1m": {"--history", "--next-item", "--out", "--rows", "--seed", "--source", "--test-rows"},
    "data sequences": {"--held-out", "--items", "--out", "--plain", "--source"},
    "data mutual-information": {
        "--distinct",
        "--group",
        "--input",
        "--normalized",
        "--output",
        "--plot",
        "--rows",
    },
    "layers": set(),
}
OF_ALL = {"--data-root", "--plugin", "--set"}


def test_flags_are_these():
    """People's scripts depend on every one; a change here is a change for them."""
    from easyssl.cli.arguments import Parser
    from easyssl.cli.main import COMMANDS, command_of

    found = {}
    commands = {name: command_of(name) for name in COMMANDS}
    actions = {f"data {name}": action for name, action in commands["data"].ACTIONS.items()}
    for name, command in {**commands, **actions}.items():
        parser = Parser(name, "")
        command.add_arguments(parser)
        found[name] = set(re.findall(r"--[a-z-]+", parser.format_usage())) - {"--help"}
    alone = ("data", "data generate", "data ml-1m", "data sequences", "embed-text", "layers")
    assert found == {name: flags | (set() if name in alone else OF_ALL) for name, flags in FLAGS.items()}


PLUGIN = """
from tensorflow import keras
from easyssl.registry import register

@register("Tripled")
class Tripled(keras.layers.Layer):
    def __init__(self, factor: float = 3.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return self.factor * inputs
"""


def test_a_layer_of_ones_own_is_named_in_a_config(easyssl, project):
    from easyssl import registry

    (project / "mine.py").write_text(PLUGIN)
    path = project / "my.config"
    mlp = 'keras_layer { class_name: "MLP" mlp { hidden_units: [8, 4] } }'
    own = 'keras_layer { class_name: "Tripled" st_params { fields { key: "factor" value { number_value: 2.5 } } } }'
    path.write_text(path.read_text().replace(mlp, own))
    code, _, err = easyssl("check", path, "--plan-only")
    assert code == 2 and LINE.match(err) and "no layer is called 'Tripled'" in err
    with registry.temporary_registration():
        code, out, err = easyssl("check", path, "--plugin", project / "mine.py")
        assert code == 0, err
        assert "Tripled(factor=2.5)" in out
        path.write_text(path.read_text().replace('"factor"', '"faktor"'))
        code, _, err = easyssl("check", path, "--plugin", project / "mine.py")
        assert code == 2 and LINE.match(err) and "did you mean 'factor'?" in err
