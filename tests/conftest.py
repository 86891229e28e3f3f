"""Shared fixtures. Data that is not ours to redistribute is read from outside the repository."""

import os
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture
def root() -> pathlib.Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture
def real_data():
    """Returns a function from a path inside the real data folder to its path; skips where it is absent."""
    folder = pathlib.Path(os.environ.get("EASYSSL_DATA", ROOT.parent / "shared" / "data"))

    def find(name: str) -> pathlib.Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"real data '{name}' is not at {folder}; set EASYSSL_DATA to the folder that has it")
        return path

    return find
