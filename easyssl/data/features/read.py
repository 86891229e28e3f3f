"""Reads one `FeatureConfig` of a config and checks it by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from easyssl.data.features.types import (
    COMBINERS,
    SEQUENCE_COMBINERS,
    VECTOR_COMBINERS,
    Buckets,
    FeatureSpec,
)
from easyssl.errors import ConfigError, nearest

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from easyssl.config import Config

FEATURE_TYPES = ("IdFeature", "RawFeature", "TagFeature", "SequenceFeature", "PassThroughFeature")
"""The feature types that can be transformed; the others of the language are refused."""

_ID_FIELDS = ("hash_bucket_size", "vocab_list", "vocab_file", "num_buckets")
_OF_NUMBERS = ("integer", "boundaries")
_NUMBER_FIELDS = ("boundaries", "min_val", "max_val", "normalizer_fn")
_NO_EFFECT = {
    "IdFeature": (*_NUMBER_FIELDS, "kv_separator", "seq_multi_sep", "max_seq_len", "sequence_combiner"),
    "TagFeature": (*_NUMBER_FIELDS, "seq_multi_sep", "max_seq_len", "sequence_combiner"),
    "RawFeature": (*_ID_FIELDS[:3], "kv_separator", "max_seq_len", "sequence_combiner"),
    "SequenceFeature": ("kv_separator",),
    "PassThroughFeature": (),
}


class FeatureReader:
    """Turns the message of one feature into a `FeatureSpec`.

    Args:
        config: The config, for places and file names.
        message: The `FeatureConfig`.
        path: Its field path.
        columns: Type of every column.
    """

    def __init__(self, config: Config, message: Message, path: str, columns: dict[str, str]):
        self.config = config
        self.message: Any = message
        self.path = path
        self.columns = columns
        self.type = _enum_name(message, "feature_type")

    def read(self, inputs: list[str], inputs_path: str) -> FeatureSpec:
        """Returns the checked feature.

        Args:
            inputs: Its columns; a clone made by `shared_names` has another one than the message.
            inputs_path: Field path that named them.

        Raises:
            ConfigError: At the field that is wrong.
        """
        message = self.message
        if self.type not in FEATURE_TYPES:
            supported = ", ".join(FEATURE_TYPES)
            raise self.error("feature_type", f"{self.type} is not supported yet; supported are {supported}")
        self._check_inputs(inputs, inputs_path)
        self._warn_without_effect()
        element = "RawFeature" if self.type == "RawFeature" else "IdFeature"
        if self.type == "SequenceFeature":
            element = _enum_name(message, "sub_feature_type")
            if element not in ("IdFeature", "RawFeature"):
                raise self.error("sub_feature_type", f"expected IdFeature or RawFeature, found {element}")
        buckets = None
        if self.type != "PassThroughFeature":
            buckets = self._number_buckets() if element == "RawFeature" else self._id_buckets()
        spec = FeatureSpec(
            name=message.feature_name or inputs[0],
            type=self.type,
            inputs=tuple(inputs),
            path=self.path,
            element=element,
            buckets=buckets,
            embedding_dim=message.embedding_dim,
            embedding_name=message.embedding_name,
            combiner=message.combiner,
            initializer=self._initializer(),
            separator=message.separator,
            kv_separator=message.kv_separator if self.type == "TagFeature" else "",
            seq_multi_sep=message.seq_multi_sep if self.type in ("RawFeature", "SequenceFeature") else "",
            max_seq_len=message.max_seq_len if self.type == "SequenceFeature" else 0,
            precision=message.precision,
            min_val=message.min_val if element == "RawFeature" else 0.0,
            max_val=message.max_val if element == "RawFeature" else 0.0,
            normalizer=self._normalizer() if element == "RawFeature" else "",
            raw_input_dim=message.raw_input_dim,
            sequence_length=message.sequence_length,
            sequence_combiner=self._sequence_combiner(),
            empty_sequence=_enum_name(message, "empty_sequence"),
        )
        self._check_cells(spec)
        self._check_combiner(spec)
        return spec

    def error(self, field: str, text: str) -> ConfigError:
        """Returns an error at a field of the feature; `""` is the feature itself."""
        return self.config.error(f"{self.path}.{field}" if field else self.path, text)

    def is_set(self, field: str) -> bool:
        """Whether a field of the feature is set to something."""
        value = getattr(self.message, field)
        repeated = self.message.DESCRIPTOR.fields_by_name[field].is_repeated
        return bool(value) if repeated else self.message.HasField(field)

    def warn(self, field: str, reason: str) -> None:
        """Adds a warning that a field has no effect."""
        self._note(f"{self.path}.{field}", f" has no effect: {reason}")

    def warn_of_empty_cells(self, spec: FeatureSpec, default: str) -> None:
        """Adds a warning if an empty history would be one step that is no number.

        Args:
            spec: The feature.
            default: What stands in for the empty cells of its column, `""` for nothing.
        """
        numbers = spec.kind == "value_sequence" or (
            spec.kind == "id_sequence" and spec.buckets is not None and spec.buckets.kind in _OF_NUMBERS
        )
        text = self.columns[spec.inputs[0]] == "STRING"
        if numbers and text and not default and not self.is_set("empty_sequence"):
            self._note(
                self.path,
                f": an empty cell of '{spec.inputs[0]}' is one step without a number, which stops the run; "
                "set empty_sequence: NO_STEP if it means no history",
            )

    def _note(self, path: str, text: str) -> None:
        line = f"{self.config.where(path)}: {path}{text}"
        if line not in self.config.warnings:
            self.config.warnings.append(line)

    def _check_inputs(self, inputs: list[str], inputs_path: str) -> None:
        if not inputs:
            raise self.error("", "input_names is empty; name the column that the feature reads")
        most = {"TagFeature": 2, "PassThroughFeature": len(inputs)}.get(self.type, 1)
        if len(inputs) > most:
            raise self.error("input_names", f"{self.type} reads {most} column(s), found {len(inputs)}")
        for index, name in enumerate(inputs):
            if name not in self.columns:
                path = inputs_path if inputs_path.endswith("]") else f"{inputs_path}[{index}]"
                raise self.config.error(
                    path, f"no column '{name}' in data_config.input_fields{nearest(name, self.columns)}"
                )

    def _warn_without_effect(self) -> None:
        for field in _NO_EFFECT[self.type]:
            if self.is_set(field):
                self.warn(field, f"not used by {self.type}")

    def _id_buckets(self) -> Buckets | None:
        found = [f for f in _ID_FIELDS if self.is_set(f) and getattr(self.message, f)]
        if not found:
            return None
        for field in found[1:]:
            self.warn(field, f"{found[0]} comes first; set only one of them")
        if found[0] == "hash_bucket_size":
            return Buckets("hash", self.message.hash_bucket_size)
        if found[0] == "num_buckets":
            return Buckets("integer", self.message.num_buckets)
        entries = list(self.message.vocab_list) if found[0] == "vocab_list" else self._read_vocabulary()
        seen: dict[str, int] = {}
        for index, entry in enumerate(entries):
            if entry in seen:
                raise self.error(found[0], f"'{entry}' occurs twice, as entries {seen[entry]} and {index}")
            seen[entry] = index
        return Buckets("vocabulary", len(entries), entries=tuple(entries))

    def _read_vocabulary(self) -> list[str]:
        file = self.config.resolve_path(self.message.vocab_file, f"{self.path}.vocab_file")
        try:
            with open(file, encoding="utf-8", newline="\n") as lines:
                entries = [line.rstrip("\r\n") for line in lines]
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8 text"
            raise self.error("vocab_file", f"'{self.message.vocab_file}' cannot be read: {reason}") from None
        if not entries:
            raise self.error("vocab_file", f"'{self.message.vocab_file}' is empty")
        return entries

    def _number_buckets(self) -> Buckets | None:
        message = self.message
        if message.max_val < message.min_val:
            raise self.error("max_val", f"{message.max_val} is below min_val {message.min_val}")
        if message.boundaries:
            if message.num_buckets:
                self.warn("num_buckets", "boundaries comes first; set only one of them")
            boundaries = tuple(sorted(message.boundaries))
        elif message.num_buckets > 1 and message.max_val > message.min_val:
            boundaries = tuple(i / message.num_buckets for i in range(message.num_buckets))
        else:
            if message.num_buckets:
                self.warn("num_buckets", "numbers need at least 2 buckets and a max_val above min_val")
            return None
        return Buckets("boundaries", len(boundaries) + 1, boundaries=boundaries)

    def _initializer(self) -> dict[str, Any] | None:
        if not self.message.HasField("initializer"):
            return None
        kind = self.message.initializer.WhichOneof("initializer_oneof")
        if kind is None:
            raise self.error("initializer", "is empty; name an initializer or leave it out")
        value = getattr(self.message.initializer, kind)
        if kind == "constant_initializer":
            if len(value.consts) != 1:
                raise self.error(
                    "initializer.constant_initializer", f"expected one number, found {len(value.consts)}"
                )
            return {"class_name": "Constant", "config": {"value": value.consts[0]}}
        if kind == "glorot_normal_initializer":
            return {"class_name": "GlorotNormal", "config": {}}
        name = "TruncatedNormal" if kind == "truncated_normal_initializer" else "RandomNormal"
        return {"class_name": name, "config": {"mean": value.mean, "stddev": value.stddev}}

    def _normalizer(self) -> str:
        text = self.message.normalizer_fn.strip()
        if not text:
            return ""
        from easyssl.config.expressions import ExpressionError, parse_expression

        if not text.startswith("lambda") and "(" not in text:
            text = f"{text}(x)"
        try:
            expression = parse_expression(text, ["x"])
        except ExpressionError as error:
            raise self.error("normalizer_fn", str(error)) from None
        return expression.text

    def _sequence_combiner(self) -> str:
        if self.type != "SequenceFeature" or not self.message.HasField("sequence_combiner"):
            return ""
        kind = self.message.sequence_combiner.WhichOneof("combiner") or "nothing"
        if kind not in SEQUENCE_COMBINERS:
            raise self.error("sequence_combiner", f"expected {' or '.join(SEQUENCE_COMBINERS)}, found {kind}")
        return kind

    def _check_cells(self, spec: FeatureSpec) -> None:
        """The column types and separators that the feature's cells need."""
        kind = self.columns[spec.inputs[0]]
        decimal = kind in ("FLOAT", "DOUBLE")
        if spec.type == "SequenceFeature" and (decimal or kind == "BOOL"):
            raise self.error("", f"a sequence needs a STRING column, '{spec.inputs[0]}' is {kind}")
        if spec.element == "IdFeature" and spec.buckets is not None and decimal:
            if spec.buckets.kind == "integer":
                raise self.error(
                    "num_buckets", f"needs whole numbers, but column '{spec.inputs[0]}' is {kind}"
                )
            if spec.precision < 1:
                raise self.error("", f"column '{spec.inputs[0]}' is {kind}: ids of it need precision above 0")
        if spec.type == "RawFeature":
            if spec.raw_input_dim < 1:
                raise self.error("raw_input_dim", "must be at least 1, found 0")
            if kind != "STRING" and (spec.raw_input_dim > 1 or spec.seq_multi_sep):
                raise self.error("", f"vectors need a STRING column, '{spec.inputs[0]}' is {kind}")
        if spec.kind == "value_sequence":
            if spec.sequence_length < 1:
                raise self.error("sequence_length", "must be at least 1, found 0")
            if spec.seq_multi_sep:
                raise self.error("seq_multi_sep", "numbers need boundaries to have several values per step")
        if self.type in ("TagFeature", "SequenceFeature", "RawFeature"):
            separators = [("separator", spec.separator)]
            separators += [(f, getattr(spec, f)) for f in ("kv_separator", "seq_multi_sep") if self.is_set(f)]
            for field, separator in separators:
                self._check_separator(spec, field, separator)

    def _check_separator(self, spec: FeatureSpec, field: str, separator: str) -> None:
        if field in _NO_EFFECT[self.type]:
            return
        if not separator:
            raise self.error(field, "is empty")
        whole = field == "kv_separator" or (field == "separator" and spec.is_sequence)
        if not whole and not separator.isascii():
            raise self.error(field, f"every byte of it separates, so it must be ASCII, found '{separator}'")
        if spec.type == "TagFeature" and spec.kv_separator and len(spec.inputs) == 2:
            raise self.error("kv_separator", "weights stand in the second column already; use only one way")

    def _check_combiner(self, spec: FeatureSpec) -> None:
        valid: tuple[str, ...] = COMBINERS
        if spec.type == "RawFeature" and spec.seq_multi_sep:
            if not self.message.HasField("combiner"):
                raise self.error("seq_multi_sep", f"needs combiner, one of {', '.join(VECTOR_COMBINERS)}")
            valid = ("mean", "sum") if spec.embedding_dim else VECTOR_COMBINERS
        if spec.combiner not in valid:
            raise self.error(
                "combiner", f"no combiner is called '{spec.combiner}'{nearest(spec.combiner, valid)}"
            )


def _enum_name(message: Any, field: str) -> str:
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return values[getattr(message, field)].name
