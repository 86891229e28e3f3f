"""What `data_config` says about columns, readers, files and malformed rows."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from easyssl.data.cells import check_default
from easyssl.data.features.names import column_names
from easyssl.data.files import expand_files
from easyssl.data.quarantine import BadRows
from easyssl.data.readers import Reader
from easyssl.data.rows import Column
from easyssl.errors import nearest

if TYPE_CHECKING:
    from easyssl.config import Config

MODES = ("train", "evaluate", "predict")

_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|([tabfv\\]))")
_LETTERS = {"t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\"}
_CSV = ("CSVInput", "CSVInputV2", "CSVInputEx")
_PARQUET = ("ParquetInput", "ParquetInputV2", "ParquetInputV3")


def columns_from_config(
    config: Config, mode: str = "train", needed: Collection[str] | None = None
) -> tuple[Column, ...]:
    """Returns the columns of `data_config.input_fields`.

    With `auto_expand_input_fields`, a name such as `price[3-7]` stands for `price3` to `price7`.

    Args:
        config: The config.
        mode: With `"predict"`, labels and the sample weight are not required.
        needed: Names of the columns that are required. Default: all but those.

    Raises:
        ConfigError: If there are no columns, names are empty or double, a default value is not of its
            column's type, or a label or the weight is not among them.
    """
    data = config.message.data_config
    targets = {*data.label_fields, data.sample_weight}
    optional = targets if mode == "predict" else set()
    columns: dict[str, Column] = {}
    for index, field in enumerate(data.input_fields):
        place = f"data_config.input_fields[{index}]"
        for name in column_names(config, field.input_name, f"{place}.input_name"):
            if not name:
                raise config.error(place, "input_name is missing")
            if name in columns:
                raise config.error(f"{place}.input_name", f"column '{name}' is declared twice")
            kind = (
                type(field)
                .DESCRIPTOR.fields_by_name["input_type"]
                .enum_type.values_by_number[field.input_type]
            )
            required = name not in optional if needed is None else name in needed
            # Blank cells stay blank in predictions; a blank label would silently count as 0.
            mark = mode == "predict" or (name in targets and not field.default_val)
            column = Column(name, kind.name, field.default_val, required, mark)
            try:
                check_default(column)
            except ValueError as error:
                raise config.error(f"{place}.default_val", str(error)) from None
            columns[name] = column
    if not columns:
        raise config.error("data_config", "no input_fields, expected one for each column")
    for index, name in enumerate(data.label_fields):
        place = f"data_config.label_fields[{index}]"
        if name not in columns:
            raise config.error(place, f"'{name}' is not an input field{nearest(name, columns)}")
        if mode != "predict":
            width = data.label_dim[index] if index < len(data.label_dim) else 1
            _check_label(config, columns[name], width, place)
    if data.sample_weight and data.sample_weight not in columns:
        name = data.sample_weight
        raise config.error(
            "data_config.sample_weight", f"'{name}' is not an input field{nearest(name, columns)}"
        )
    return tuple(columns.values())


def _check_label(config: Config, column: Column, width: int, place: str) -> None:
    """Refuses labels of several values in one number, and warns of a label that is a number in a text."""
    text = column.type == "STRING"
    if width > 1 and not text:
        raise config.error(
            place, f"label_dim is {width}: '{column.name}' has to be a STRING column, found {column.type}"
        )
    if width == 1 and text:
        warning = str(
            config.error(
                place,
                f"the label '{column.name}' is a STRING column, the default: each cell is read as a number; "
                "declare its input_type, such as INT32 or FLOAT",
            )
        )
        if warning not in config.warnings:
            config.warnings.append(warning)


def check_supported(config: Config) -> None:
    """Checks that `data_config` asks for nothing that is not done here and would change results.

    Raises:
        ConfigError: At the first such field.
    """
    paths = [finding.path for finding in config.refused if finding.path.startswith("data_config.")]
    if paths:
        config.refuse(*paths)


def separator_from_config(config: Config) -> bytes:
    """Returns the CSV separator of the rows; see `one_character`."""
    return one_character(config, config.message.data_config.separator, "data_config.separator")


def one_character(config: Config, text: str, place: str) -> bytes:
    r"""Returns a CSV separator; it may be written as an escape such as `\t`, `\001` or `\x01`.

    Args:
        config: The config.
        text: What the config says.
        place: Field path of it.

    Raises:
        ConfigError: If it is not one character of one byte, or is a quote or a line end.
    """
    separator = text if len(text) == 1 else _ESCAPE.sub(_unescape, text)
    encoded = separator.encode("utf-8", "surrogatepass")
    if len(encoded) != 1 or encoded in b'"\r\n':
        raise config.error(
            place, f"found {separator!r}, expected one ASCII character that is not a quote or line end"
        )
    return encoded


def _unescape(match: re.Match[str]) -> str:
    octal, short, long, letter = match.groups()
    if letter:
        return _LETTERS[letter]
    return chr(int(octal, 8) if octal else int(short or long, 16))


def make_reader(config: Config, columns: Sequence[Column], select: Sequence[str] | None = None) -> Reader:
    """Returns the reader for `data_config.input_type`.

    Args:
        config: The config.
        columns: All columns, see `columns_from_config`.
        select: Names of the columns to keep. Default: all.

    Raises:
        ConfigError: If rows of that kind cannot be read here, or a setting does not fit.
        UsageError: If a package that the format needs is not installed.
    """
    data = config.message.data_config
    place = "data_config.input_type"
    if not data.HasField("input_type"):
        raise config.error(
            "data_config", "input_type is missing; use CSVInput, TFRecordInput or ParquetInput"
        )
    kind = type(data).DESCRIPTOR.fields_by_name["input_type"].enum_type.values_by_number[data.input_type].name
    known = [column.name for column in columns]
    for name in select or ():
        if name not in known:
            raise config.error(
                "data_config.input_fields", f"there is no column '{name}'{nearest(name, known)}"
            )
    compression = data.data_compression_type
    if compression not in ("", "GZIP", "ZLIB"):
        raise config.error(
            "data_config.data_compression_type", f"found '{compression}', expected GZIP or ZLIB"
        )
    if kind in _CSV:
        from easyssl.data.readers.csv import CsvReader

        return CsvReader(
            columns,
            select=select,
            may_lack=_may_lack(config, columns),
            separator=separator_from_config(config),
            with_header=data.with_header,
            quoting=kind != "CSVInputEx",
        )
    if kind == "TFRecordInput":
        from easyssl.data.readers.tfrecord import TFRecordReader

        return TFRecordReader(columns, select=select, compression=compression)
    if kind in _PARQUET:
        from easyssl.data.readers.parquet import ParquetReader

        return ParquetReader(columns, select=select, list_separators=_list_separators(config))
    if kind == "DummyInput":
        from easyssl.data.dummy_cells import BATCHES, dummy_cells
        from easyssl.data.readers.dummy import DummyReader

        seed, rows = config.message.train_config.seed, BATCHES * data.batch_size
        return DummyReader(columns, dummy_cells(config), select=select, rows=rows, seed=seed)
    raise config.error(place, f"{kind} is not available here; use CSVInput, TFRecordInput or ParquetInput")


def _may_lack(config: Config, columns: Sequence[Column]) -> list[set[str]]:
    """Returns which columns a file without a header may lack: the labels, or these and the sample weight."""
    data = config.message.data_config
    optional = {column.name for column in columns if not column.required}
    labels, weight = set(data.label_fields), {data.sample_weight} - {""}
    return [names for names in (labels, labels | weight) if names and names <= optional]


def _list_separators(config: Config) -> dict[str, str]:
    """Returns the separator inside cells of each column whose features agree on one."""
    message = config.message
    features = message.feature_configs or message.feature_config.features
    found: dict[str, set[str]] = {}
    for feature in features:
        for name in feature.input_names:
            found.setdefault(name, set()).add(feature.separator)
    return {name: next(iter(texts)) for name, texts in found.items() if len(texts) == 1 and "" not in texts}


def input_files(config: Config, mode: str, paths: str | Sequence[str] | None = None) -> list[str]:
    """Returns the files to read: `paths`, or those of the config's train or evaluation input.

    Raises:
        ConfigError: If the config has no such input, or one that is not a list of files.
        DataError: If no file matches.
    """
    data = config.message.data_config
    if data.input_type == data.DummyInput:
        if paths is not None:
            raise config.error("data_config.input_type", "DummyInput makes rows up, and reads no files")
        return [f"made-up rows to {mode}"]
    if paths is not None:
        return expand_files(paths)
    side = "train" if mode == "train" else "eval"
    message: Any = config.message
    kind = message.WhichOneof(f"{side}_path")
    if kind is None:
        raise config.error(f"{side}_input_path", "it is not set, expected the names of data files")
    if kind not in (f"{side}_input_path", f"parquet_{side}_input"):
        raise config.error(kind, f"not available here; give files in {side}_input_path")
    return expand_files(
        getattr(message, kind), config.where(kind), lambda name: config.resolve_path(name, kind)
    )


def bad_rows_from_config(config: Config, quarantine: str | os.PathLike[str] | None = None) -> BadRows:
    """Returns what `data_config` says about malformed rows.

    `ignore_error: true` means `malformed_rows: SKIP`; it sets no bound, which a warning tells.

    Raises:
        ConfigError: If `malformed_rows` is SKIP and `max_malformed_rows` is not set.
    """
    data = config.message.data_config
    if not (data.malformed_rows or data.ignore_error):
        return BadRows("raise", quarantine=quarantine)
    limit: float = data.max_malformed_rows
    if not data.HasField("max_malformed_rows"):
        if data.malformed_rows:
            raise config.error(
                "data_config.malformed_rows",
                "skipping malformed rows needs data_config.max_malformed_rows: how many may be left out",
            )
        limit = math.inf
        text = "leaves out any number of malformed rows; set max_malformed_rows to bound it"
        warning = str(config.error("data_config.ignore_error", text))
        if warning not in config.warnings:
            config.warnings.append(warning)
    return BadRows("skip", limit, quarantine)
