"""Which tests of layers are slow."""

import pathlib

import pytest

FOLDER = pathlib.Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Leaves the gate for further arguments of a layer to the slow tests, as it compiles a layer ten times."""
    seen = set()
    for item in items:
        if FOLDER in item.path.parents and item.originalname == "test_gate":
            if item.path in seen:
                item.add_marker(pytest.mark.slow)
            seen.add(item.path)
