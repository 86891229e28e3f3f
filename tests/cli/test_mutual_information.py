"""`easyssl data mutual-information`: a table, a file that a layer reads, a picture."""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

LINE = re.compile(r"[^\n]+\n\Z")
PRICE = 'input_names: "price" feature_type: RawFeature'


@pytest.fixture
def config(project):
    path = project / "my.config"
    path.write_text(path.read_text().replace(PRICE, f"{PRICE} boundaries: [0.3, 0.6] embedding_dim: 4"))
    return path


def test_it_prints_a_table(easyssl, config):
    code, out, err = easyssl("data", "mutual-information", config, "--group", "flat", "--rows", 50)
    assert code == 0, err
    title, header, *rows = out.splitlines()
    assert title == "group 'flat': 50 rows, mutual information (nats)"
    assert header.split() == ["feature", "values", "user_id", "age", "price"]
    assert [row.split()[0] for row in rows] == ["user_id", "age", "price"]
    matrix = np.array([[float(cell) for cell in row.split()[2:]] for row in rows])
    np.testing.assert_array_equal(matrix, matrix.T)
    assert LINE.match(err) and "feature 'user_id' has" in err


@pytest.mark.parametrize("suffix", ["npy", "json"])
def test_a_layer_reads_what_it_writes(easyssl, config, suffix):
    from easyssl.layers import FeatureMasking

    path = config.parent / f"mi.{suffix}"
    code, _, err = easyssl("data", "mutual-information", config, "--group", "flat", "--output", path)
    assert code == 0, err
    layer = FeatureMasking("correlated", mutual_information=str(path))
    assert np.shape(layer.get_config()["mutual_information"]) == (3, 3)
    if suffix == "json":
        content = json.loads(path.read_text())
        assert content["features"] == ["user_id", "age", "price"] and content["rows"] == 64
        assert not content["normalized"] and content["group"] == "flat"
    assert not [other for other in config.parent.iterdir() if "tmp" in other.name]


def test_it_draws_a_heat_map(easyssl, config):
    path, again = config.parent / "heat.svg", config.parent / "again.svg"
    for file in (path, again):
        code, _, err = easyssl(
            "data", "mutual-information", config, "--group", "flat", "--plot", file, "--normalized"
        )
        assert code == 0, err
    root = ElementTree.fromstring(path.read_bytes())
    texts = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"user_id", "age", "price", "1.00", "group 'flat', 64 rows"} <= texts
    assert path.read_bytes() == again.read_bytes()


def test_without_matplotlib_it_says_what_to_install(easyssl, config, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, out, err = easyssl("data", "mutual-information", config, "--group", "flat", "--plot", "heat.svg")
    assert code == 2 and out == ""
    assert LINE.match(err) and "pip install 'easyssl[plots]'" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--group", "flt"], "did you mean 'flat'"),
        ([], "say which group"),
        (["--group", "flat", "--output", "mi.csv"], "one of .npy, .json"),
        (["--group", "flat", "--plot", "mi.png"], "one of .svg"),
        (["--group", "flat", "--output", "nowhere/mi.npy"], "the folder nowhere does not exist"),
        (["--group", "flat", "--rows", "0"], "at least 1"),
        (["--group", "flat", "--distint", "user_id"], "did you mean '--distinct'"),
        (["--group", "flat", "--input", "absent.csv"], "absent.csv"),
    ],
)
def test_mistakes_are_answered_in_one_line(easyssl, config, monkeypatch, words, message):
    monkeypatch.chdir(config.parent)
    code, _, err = easyssl("data", "mutual-information", config, *words)
    lines = [line for line in err.splitlines() if not line.startswith("warning: ")]
    assert code == 2 and len(lines) == 1 and message in lines[0]


def test_plain_numbers_are_refused(easyssl, project):
    code, _, err = easyssl("data", "mutual-information", project / "my.config", "--group", "flat")
    assert code == 2 and LINE.match(err) and "'price' of group 'flat' is plain numbers" in err


def test_flags_are_these():
    from easyssl.cli import mutual_information
    from easyssl.cli.arguments import Parser

    parser = Parser("x", "")
    mutual_information.add_arguments(parser)
    flags = set(re.findall(r"--[a-z-]+", parser.format_usage())) - {"--help"}
    assert flags == {
        *("--data-root", "--plugin", "--set"),
        *("--distinct", "--group", "--input", "--normalized", "--output", "--plot", "--rows"),
    }


def test_help_and_place_of_the_action(easyssl):
    code, out, err = easyssl("data", "mutual-information", "--help")
    assert code == 0 and err == "" and out.startswith("usage: easyssl data mutual-information")
    assert max(map(len, out.splitlines())) <= 120
    code, _, err = easyssl("data", "mutual-info", "taobao", "--out", "x")
    assert code == 2 and "did you mean 'mutual-information'" in err
    code, _, err = easyssl("data", "--out", "x", "mutual-information", "taobao")
    assert code == 2 and LINE.match(err) and "put 'mutual-information' first" in err
