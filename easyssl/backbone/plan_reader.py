"""What the parts of the planner share: errors and warnings with their place, and reading expressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from easyssl.config.expressions import Expression, ExpressionError, parse_expression, parse_slice
from easyssl.errors import ConfigError


class Reader:
    """Reads parts of one config; collects warnings.

    Args:
        config: The `Config`, for places.

    Attributes:
        warnings: One line each, in the form of the errors.
    """

    def __init__(self, config: Any) -> None:
        self._config = config
        self.warnings: list[str] = []

    def error(self, path: str, text: str) -> ConfigError:
        """Returns the error `text` about the field at `path`."""
        return self._config.error(path, text)

    def below(self, path: str) -> Callable[[str, str], ConfigError]:
        """Returns a function that makes errors about fields below `path`."""
        return lambda field, text: self.error(f"{path}.{field}" if field else path, text)

    def warn(self, path: str, text: str) -> None:
        """Notes a warning about the field at `path`."""
        self.warnings.append(str(self.error(path, text)))

    def warn_without_effect(self, message: Any, fields: Sequence[str], path: str, reason: str) -> None:
        """Warns about each of `fields` that is set in `message`."""
        for field in fields:
            if message.HasField(field):
                self.warn(f"{path}.{field}", f"has no effect: {reason}")

    def expression(
        self, message: Any, field: str, path: str, parameters: Sequence[str] = ("x",)
    ) -> Expression | None:
        """Returns the function of `parameters` in a field of `message`, or None if the field is not set.

        Raises:
            ConfigError: If it is not in the expression language.
        """
        return self._parse(message, field, path, lambda text: parse_expression(text, parameters))

    def subscript(self, message: Any, field: str, path: str, index: bool = False) -> Expression | None:
        """Returns the subscript in a field of `message`, or None if the field is not set.

        Args:
            message: What holds the field.
            field: Its name.
            path: Place of `message`.
            index: The subscript may use `i`.

        Raises:
            ConfigError: If it is anything but a subscript.
        """
        return self._parse(message, field, path, lambda text: parse_slice(text, allow_index=index))

    def _parse(
        self, message: Any, field: str, path: str, parse: Callable[[str], Expression]
    ) -> Expression | None:
        if not message.HasField(field):
            return None
        text = getattr(message, field)
        try:
            return parse(text)
        except ExpressionError as error:
            shown = text if len(text) <= 80 else f"{text[:77]}..."
            raise self.error(
                f"{path}.{field}", f"{error.reason}, at column {error.column} of {shown!r}"
            ) from None
