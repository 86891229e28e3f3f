"""Functions that a config applies to label columns."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from easyssl.config.expressions import Expression, ExpressionError, parse_expression
from easyssl.data.features.names import column_names
from easyssl.data.rows import DTYPES
from easyssl.registry import plugin_function

if TYPE_CHECKING:
    from easyssl.config import Config


@dataclass(frozen=True)
class LabelFunction:
    """A function of the values of a label.

    Attributes:
        function: A function of the values.
        dtype: Type of the result; None leaves it as it is.

    Example:
        >>> LabelFunction(parse_expression("lambda x: x >= 5"), np.dtype(np.int64))(np.array([3, 7]))
        array([0, 1])
    """

    function: Callable[[np.ndarray], Any]
    dtype: np.dtype | None = None

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns the new values, as many as there were.

        Args:
            values: Numbers `[rows]`.

        Raises:
            ExpressionError: If the function cannot be applied, or does not give one number for each value.
        """
        found = np.asarray(self.function(values))
        if found.shape != values.shape or found.dtype.kind not in "biuf":
            got = f"{list(found.shape)} {found.dtype}"
            raise ExpressionError(f"expected one number for each of {len(values)} values, found {got}", 1)
        return found if self.dtype is None else found.astype(self.dtype)


@dataclass(frozen=True)
class PluginFunction:
    """A function that a `--plugin` file defines.

    Attributes:
        function: The function.
        of_tensors: Whether it takes and gives a tensor; otherwise a NumPy array.
    """

    function: Callable[[Any], Any]
    of_tensors: bool

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Returns what the function makes of the values.

        Args:
            values: Numbers `[rows]`.

        Raises:
            ExpressionError: If the function fails.
        """
        try:
            if not self.of_tensors:
                return np.asarray(self.function(values))
            import tensorflow as tf

            return np.asarray(self.function(tf.convert_to_tensor(values)))
        except Exception as error:  # whatever somebody's code raises
            raise ExpressionError(f"{type(error).__name__}: {error}", 1) from error


def label_functions(config: Config) -> dict[str, LabelFunction]:
    """Returns the functions of `data_config.input_fields` by label column.

    `user_define_fn` is a function of the closed table of expressions, such as `tf.math.log1p`, a lambda, or
    with `user_define_fn_path` a function of that file, which has to be a `--plugin` of the command line.
    Instead of the path it may say `file.function`.

    Args:
        config: The config.

    Raises:
        ConfigError: If it is none of these, the column has several values, or the type is no number.
    """
    data = config.message.data_config
    wide = {name for name, width in zip(data.label_fields, data.label_dim, strict=False) if width > 1}
    found = {}
    for index, field in enumerate(data.input_fields):
        place = f"data_config.input_fields[{index}]"
        if not field.user_define_fn.strip():
            continue
        for name in column_names(config, field.input_name, f"{place}.input_name"):
            if name in wide:
                raise config.error(f"{place}.user_define_fn", f"label '{name}' has several values")
            if name in data.label_fields:
                found[name] = _read(config, field, place)
            else:
                _warn(config, place, name, data.label_fields)
    return found


def function_of_one_value(config: Config, text: str, path: str) -> Expression:
    """Reads the name of a function of the closed table of expressions, or a lambda.

    Args:
        config: The config, for errors.
        text: Such as `tf.math.log1p` or `lambda x: x / 5`.
        path: Field path of the text.

    Raises:
        ConfigError: If it is neither, or takes more than one value.
    """
    stripped = text.strip()
    if not stripped.startswith("lambda") and "(" not in stripped:
        stripped = f"{stripped}(x)"
    try:
        expression = parse_expression(stripped, None if stripped.startswith("lambda") else ["x"])
    except ExpressionError as error:
        raise config.error(path, f"'{text}': {error}") from None
    if len(expression.parameters) != 1:
        raise config.error(path, "expected a function of one value")
    return expression


def _warn(config: Config, place: str, name: str, labels: Collection[str]) -> None:
    text = f"has no effect: '{name}' is none of the labels {', '.join(labels)}"
    warning = str(config.error(f"{place}.user_define_fn", text))
    if warning not in config.warnings:
        config.warnings.append(warning)


def _read(config: Config, field: Any, place: str) -> LabelFunction:
    typed = field.HasField("user_define_fn_res_type")
    function: Any = _of_plugin(config, field, place)
    if function is None:
        function = function_of_one_value(config, field.user_define_fn, f"{place}.user_define_fn")
    else:
        function = PluginFunction(function, of_tensors=not typed)
    if not typed:
        return LabelFunction(function)
    values = type(field).DESCRIPTOR.fields_by_name["user_define_fn_res_type"].enum_type.values_by_number
    kind = values[field.user_define_fn_res_type].name
    if kind == "STRING":
        raise config.error(f"{place}.user_define_fn_res_type", "found STRING, expected the type of a number")
    return LabelFunction(function, DTYPES[kind])


def _of_plugin(config: Config, field: Any, place: str) -> Callable[[Any], Any] | None:
    """Returns the function that a plugin defines; None if the config names no function of a file."""
    name = field.user_define_fn.strip()
    path = field.user_define_fn_path.strip()
    if not path:
        module, _, name = name.rpartition(".")
        return plugin_function(module.rpartition(".")[2], name)
    file = pathlib.PurePath(path)
    function = plugin_function(file.stem, name.rpartition(".")[2])
    if function is None and not name.startswith(("tf.", "lambda")):
        raise config.error(
            f"{place}.user_define_fn_path",
            f"a config runs no code: name the file on the command line, --plugin {file.name}, with a "
            f"function '{name}' in it; or write user_define_fn as a lambda, without the path",
        )
    return function
