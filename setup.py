"""Package metadata; tool settings are in pyproject.toml."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "easyssl" / "__init__.py").read_text()).group(1)

PARQUET = ["pyarrow>=14"]
PLOTS = ["matplotlib>=3.7"]
TEXT = ["wordllama>=0.4"]
TENSORBOARD = ["tensorboard>=2.18"]
TEST = [
    "pytest>=8",
    "pytest-xdist>=3.5",
    "hypothesis>=6.100",
    "scikit-learn>=1.4",
    "grpcio-tools>=1.60",
    "ruff>=0.8",
    "mypy>=1.11",
    "types-protobuf",
]

setup(
    name="easyssl",
    version=VERSION,
    description="Self-supervised components for recommenders, on TensorFlow and Keras",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.13",
    packages=find_packages(include=["easyssl", "easyssl.*"]),
    package_data={"easyssl.config": ["*.desc"], "easyssl": ["py.typed"]},
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "tf_keras>=2.21,<2.22",
        "tensorflow-recommenders>=0.7.7,<0.8",
        "numpy>=1.26",
        "protobuf>=6.31.1,<8",
        "absl-py>=2.0",
    ],
    extras_require={
        "parquet": PARQUET,
        "plots": PLOTS,
        "tensorboard": TENSORBOARD,
        "text": TEXT,
        "test": [*TEST, *PARQUET, *PLOTS, *TEXT],
        "docs": ["grpcio-tools>=1.60"],
    },
    entry_points={"console_scripts": ["easyssl=easyssl.cli.main:main"]},
)
