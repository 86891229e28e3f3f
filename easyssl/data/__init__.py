"""From files to raw columns to the numbers that a model gets. Importing this does not import TensorFlow."""

from easyssl.data.build import dataset_from_config
from easyssl.data.cursor import Cursor
from easyssl.data.dataset import Dataset, RawBatch
from easyssl.data.from_config import columns_from_config, make_reader
from easyssl.data.quarantine import BadRows
from easyssl.data.rows import Chunk, Column

__all__ = [
    "BadRows",
    "Chunk",
    "Column",
    "Cursor",
    "Dataset",
    "RawBatch",
    "columns_from_config",
    "dataset_from_config",
    "make_reader",
]
