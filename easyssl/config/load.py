"""Reads a config: text or JSON, then overrides, then what has no effect."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence

from google.protobuf import text_format
from google.protobuf.message import Message

from easyssl.config.effects import Finding, find_effects
from easyssl.config.messages import PipelineConfig
from easyssl.config.overrides import apply_override
from easyssl.config.parse import MAX_BYTES, parse_text
from easyssl.config.parse_json import parse_json
from easyssl.config.paths import resolve
from easyssl.config.places import Place, Places, is_inside
from easyssl.errors import ConfigError


class Config:
    """A config that has been read: its message, and where each field came from.

    Attributes:
        message: The `PipelineConfig` message. Fields that are not set have the config language's defaults.
        path: Name of the file as given.
        overrides: Overrides as given, in order.
        warnings: One line for each kind of field that is set but has no effect.
        refused: Fields that are set but that this program cannot act on, see `refuse`.
    """

    def __init__(
        self,
        message: Message,
        path: str = "<config>",
        *,
        places: Places | None = None,
        overrides: Sequence[str] = (),
        data_root: str | os.PathLike[str] | None = None,
    ) -> None:
        self.message = message
        self.path = path
        self.overrides = tuple(overrides)
        self._places = Places() if places is None else places
        self._data_root = None if data_root is None else os.fspath(data_root)
        findings = list(find_effects(message))
        self.refused: tuple[Finding, ...] = tuple(f for f in findings if f.refused)
        self.warnings: list[str] = self._warnings([f for f in findings if not f.refused])

    @property
    def data_root(self) -> str:
        """The absolute folder that relative file names start from."""
        root = os.path.dirname(os.path.abspath(self.path)) if self._data_root is None else self._data_root
        return os.path.abspath(root)

    def where(self, field_path: str) -> str:
        """Returns where a field was set: `file:line:column`, or the override.

        Args:
            field_path: Canonical path with zero-based indices, such as
                `model_config.backbone.blocks[2].name`. For a field that is not set, the place of what
                encloses it is returned.
        """
        place = self._places.find(field_path)
        if isinstance(place, str):
            return place
        if place is None:
            place = Place(1, 1)
        return f"{self.path}:{place.line}:{place.column}"

    def overridden(self, field_path: str) -> bool:
        """Returns whether an override set a field, or what encloses it."""
        return isinstance(self._places.find(field_path), str)

    def error(self, field_path: str, text: str) -> ConfigError:
        """Returns an error that says where a field was set and what is wrong with it."""
        return ConfigError(f"{self.where(field_path)}: {field_path}: {text}")

    def refuse(self, *field_paths: str) -> None:
        """Raises for the first field that would change results but cannot be acted on.

        What builds something from a part of the config calls this for that part, so that a config can be read
        and printed whatever it holds.

        Args:
            *field_paths: Paths of the parts, such as `model_config`; none means the whole config.

        Raises:
            ConfigError: If such a field is set inside one of the parts.
        """
        for finding in self.refused:
            if not field_paths or any(is_inside(finding.path, part) for part in field_paths):
                raise self.error(finding.path, f"not supported: {finding.reason}")

    def resolve_path(self, value: str, field_path: str) -> str:
        """Returns the absolute path of a file that the config names.

        A relative name starts from the data root, by default the folder of the config file, and may not leave
        it. A name from an override, and `model_dir`, starts from the current folder; so does
        `fine_tune_checkpoint`, the `model_dir` of an earlier run, but it may not leave that folder.

        Args:
            value: The name; glob patterns are kept.
            field_path: Path of the field that holds it.

        Raises:
            ConfigError: If the name is empty or remote, or leaves the folder.
        """
        free = self.overridden(field_path) or field_path == "model_dir"
        here = free or field_path == "train_config.fine_tune_checkpoint"
        try:
            return resolve(value, os.getcwd() if here else self.data_root, bounded=not free)
        except ValueError as error:
            raise self.error(field_path, str(error)) from None

    def text(self) -> str:
        """Returns the config in text format, with the overrides in place."""
        return text_format.MessageToString(self.message)

    def _warnings(self, findings: list[Finding]) -> list[str]:
        kinds: dict[str, list[Finding]] = {}
        for finding in findings:
            kinds.setdefault(finding.field, []).append(finding)
        lines = []
        for same in kinds.values():
            first, more = same[0], len(same) - 1
            also = f" (and in {more} more place{'s' * (more > 1)})" if more else ""
            lines.append(f"{self.where(first.path)}: {first.path} has no effect{also}: {first.reason}")
        return lines


def parse_config(
    text: str,
    path: str = "<config>",
    *,
    overrides: Iterable[str] = (),
    data_root: str | os.PathLike[str] | None = None,
) -> Config:
    """Reads a config from text.

    Args:
        text: Protobuf text format, or protobuf JSON if `path` ends in `.json`.
        path: File name for messages and for relative names.
        overrides: `path.to.field=value` each, see `easyssl.config.overrides`.
        data_root: Folder that relative file names start from; by default the folder of `path`.

    Raises:
        ConfigError: If the text or an override is not valid; one line with the place.

    Example:
        >>> config = parse_config("train_config { num_steps: 10 }", overrides=["train_config.seed=7"])
        >>> config.message.train_config.num_steps, config.message.train_config.seed
        (10, 7)
        >>> config.where("train_config.num_steps")
        '<config>:1:16'
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{path}:1:1: larger than {MAX_BYTES} bytes")
    message = PipelineConfig()
    parse = parse_json if path.endswith(".json") else parse_text
    places = parse(text.removeprefix("\ufeff"), path, message)
    overrides = tuple(overrides)
    for override in overrides:
        apply_override(message, override, places)
    return Config(message, path, places=places, overrides=overrides, data_root=data_root)


def load_config(
    path: str | os.PathLike[str],
    overrides: Iterable[str] = (),
    data_root: str | os.PathLike[str] | None = None,
) -> Config:
    """Reads a config file.

    Args:
        path: Text format, or protobuf JSON if the name ends in `.json`.
        overrides: `path.to.field=value` each, see `easyssl.config.overrides`.
        data_root: Folder that relative file names start from; by default the folder of the config.

    Raises:
        ConfigError: If the file cannot be read or is not valid, or an override is not; one line with the
            place.
    """
    name = os.fspath(path)
    if not name:
        raise ConfigError("the name of the config is empty; expected a file such as my.config")
    return parse_config(_read(name), name, overrides=overrides, data_root=data_root)


def _read(name: str) -> str:
    try:
        with open(name, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{name}: cannot be read: {reason}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name}:1:1: larger than {MAX_BYTES} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = error.start - before.rfind(b"\n")
        raise ConfigError(f"{name}:{line}:{column}: not UTF-8 text") from None
