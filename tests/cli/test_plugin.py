import sys

import pytest

from easyssl import registry
from easyssl.cli.plugin import load_plugins
from easyssl.errors import UsageError

GOOD = """
from tensorflow import keras
from easyssl.registry import register

@register("Tripled")
class Tripled(keras.layers.Layer):
    def call(self, inputs):
        return 3 * inputs
"""


@pytest.fixture(autouse=True)
def clean():
    before = set(sys.modules)
    with registry.temporary_registration():
        yield
    for name in set(sys.modules) - before:
        if name.startswith("easyssl_plugin_"):
            del sys.modules[name]


def test_registers_layers_and_loads_once(tmp_path):
    (tmp_path / "mine.py").write_text(GOOD)
    load_plugins([str(tmp_path / "mine.py"), str(tmp_path / "mine.py")])
    assert registry.registered()["Tripled"].__module__ == "easyssl_plugin_mine"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("gone.py", None, "--plugin FILE: no such file; expected a Python file with @register layers"),
        ("layers.txt", "", "--plugin FILE: expected the name of a Python file, which ends in .py"),
        ("syntax.py", "x = 1\ny = (\n", "--plugin FILE:2: SyntaxError: '(' was never closed"),
        ("fails.py", "\n\nraise KeyError('k')\n", "--plugin FILE:3: KeyError: 'k'"),
        (
            "deep.py",
            "def f():\n    return 1 / 0\nf()\n",
            "--plugin FILE:2: ZeroDivisionError: division by zero",
        ),
        ("leaves.py", "import sys\nsys.exit(0)\n", "--plugin FILE:2: SystemExit: 0"),
        ("lacks.py", "import nowhere_at_all\n", "--plugin FILE:1: ModuleNotFoundError: No module named"),
    ],
)
def test_a_bad_plugin_is_told_with_its_line(tmp_path, name, text, message):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError) as caught:
        load_plugins([str(path)])
    assert str(caught.value).startswith(message.replace("FILE", str(path)))
    assert f"easyssl_plugin_{path.stem}" not in sys.modules
