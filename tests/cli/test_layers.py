"""`easyssl layers`: what it lists, how it explains, what it says to a wrong name."""

import os
import subprocess
import sys

import pytest

from easyssl.config.signatures import static_catalogue
from easyssl.registry import KERAS_LAYERS


def test_it_lists_every_layer_that_a_config_may_name_in_one_line_each(easyssl):
    code, out, err = easyssl("layers")
    assert code == 0 and err == ""
    ours, keras, _ = out.split("\n\n")
    lines = dict(line.split(maxsplit=1) for line in ours.splitlines())
    assert set(lines) == set(static_catalogue())
    assert list(lines) == sorted(lines, key=str.lower)
    assert all(text.endswith(".") for text in lines.values())
    assert lines["GRL"] == "Another name of GradientReversal."
    assert keras.removeprefix("Of Keras: ").rstrip(".").replace("\n", " ").split(", ") == list(KERAS_LAYERS)


def test_it_explains_a_layer(easyssl):
    code, out, err = easyssl("layers", "SinkhornClustering")
    assert code == 0 and err == ""
    parts = dict(part.split("\n", 1) for part in out.split("\n\n") if "\n" in part)
    assert out.startswith("SinkhornClustering\n\nLearns prototypes")
    assert "  num_prototypes: int, required\n      Number of prototypes." in parts["Parameters:"]
    assert "  similarity: 'cosine' | 'dot', default 'cosine'\n" in parts["Parameters:"]
    assert "`[batch, dim]`" in parts["Takes:"] and "`[batch, num_prototypes]`" in parts["Gives:"]
    assert "  ValueError: " in parts["Errors:"] and ">>> layer = " in parts["Example:"]


@pytest.mark.parametrize("name", sorted(static_catalogue()))
def test_every_layer_is_explained_with_each_parameter(easyssl, name):
    code, out, err = easyssl("layers", name)
    assert code == 0 and err == ""
    told = [
        line.strip().split(":")[0] for line in out.splitlines() if line.startswith("  ") and line[2] != " "
    ]
    assert set(static_catalogue()[name].parameters) <= set(told)


def test_a_second_name_and_a_layer_of_keras(easyssl):
    assert easyssl("layers", "GRL")[1].startswith("GradientReversal or GRL\n")
    assert easyssl("layers", "Dense") == (
        0,
        "Dense is a layer of Keras; its parameters are those of keras.layers.Dense.\n",
        "",
    )


def test_a_wrong_name_is_answered_in_one_line(easyssl):
    line = "easyssl layers: there is no layer 'SinkornClustering'; did you mean 'SinkhornClustering'?\n"
    assert easyssl("layers", "SinkornClustering") == (2, "", line)
    code, out, err = easyssl("layers", "BST", "MLP")
    assert (code, out) == (2, "") and "'MLP' is one argument too many" in err


def test_it_answers_without_tensorflow():
    program = (
        "import sys; from easyssl.cli.main import main; code = main(['layers', 'BST']); "
        "sys.exit(code or ('tensorflow' in sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
