"""Reads one `FeatureConfig` of a config and checks it by itself."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from easyssl.config.bind import bind, static_catalogue
from easyssl.data.features.checks import check_feature, unused_fields
from easyssl.data.features.initial import read_initializer
from easyssl.data.features.pretrained import read_pretrained
from easyssl.data.features.types import SEQUENCE_COMBINERS, Buckets, FeatureSpec
from easyssl.errors import ConfigError, nearest

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from easyssl.config import Config

_ID_FIELDS = ("hash_bucket_size", "vocab_list", "vocab_file", "num_buckets")
_OF_NUMBERS = ("integer", "boundaries")
_COLUMNS = {
    "TagFeature": (1, 2),
    "LookupFeature": (2, 2),
    "ComboFeature": (2, None),
    "ExprFeature": (1, None),
    "PassThroughFeature": (1, None),
}
"""Least and largest number of columns that a feature reads; one for other types."""
_NAMED = ("ComboFeature", "LookupFeature", "ExprFeature")
"""Types that have no column of their own to take the name from."""


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
        self._check_inputs(inputs, inputs_path)
        element = "RawFeature" if self.type in ("RawFeature", "ExprFeature") else "IdFeature"
        if self.type == "SequenceFeature":
            element = _enum_name(message, "sub_feature_type")
            if element not in ("IdFeature", "RawFeature"):
                raise self.error("sub_feature_type", f"expected IdFeature or RawFeature, found {element}")
        for field in unused_fields(self.type, element):
            default = message.DESCRIPTOR.fields_by_name[field].default_value
            if self.is_set(field) and getattr(message, field) != default:
                self.warn(field, f"not used by {self.type}")
        buckets = None
        if self.type in ("ComboFeature", "LookupFeature"):
            buckets = self._hash_buckets()
        elif self.type not in ("ExprFeature", "PassThroughFeature"):
            buckets = self._number_buckets() if element == "RawFeature" else self._id_buckets()
        scaled = element == "RawFeature" and self.type != "ExprFeature"
        pretrained, width = read_pretrained(self, buckets)
        spec = FeatureSpec(
            name=message.feature_name or inputs[0],
            type=self.type,
            inputs=tuple(inputs),
            path=self.path,
            element=element,
            buckets=buckets,
            embedding_dim=width,
            embedding_name=message.embedding_name,
            combiner=message.combiner,
            separator=message.separator,
            kv_separator=message.kv_separator if self.type in ("TagFeature", "LookupFeature") else "",
            seq_multi_sep=message.seq_multi_sep if self.type in ("RawFeature", "SequenceFeature") else "",
            max_seq_len=message.max_seq_len if self.type == "SequenceFeature" else 0,
            keep_last=_enum_name(message, "keep_steps") == "LAST_STEPS",
            precision=message.precision,
            min_val=message.min_val if scaled else 0.0,
            max_val=message.max_val if scaled else 0.0,
            normalizer=self._normalizer() if scaled else "",
            raw_input_dim=1 if self.type == "ExprFeature" else message.raw_input_dim,
            sequence_length=message.sequence_length,
            sequence_combiner=self._sequence_combiner(),
            sequence_combiner_options=self._sequence_combiner_options(),
            empty_sequence=_enum_name(message, "empty_sequence"),
            combo_join_sep=message.combo_join_sep if self.type == "ComboFeature" else "",
            combo_input_seps=tuple(message.combo_input_seps) if self.type == "ComboFeature" else (),
            lookup_max_sel_elem_num=message.lookup_max_sel_elem_num,
            expression=self._expression(inputs) if self.type == "ExprFeature" else "",
            pretrained=pretrained,
        )
        check_feature(self, spec)
        initializer = read_initializer(self, spec.rows, spec.embedding_dim)
        return dataclasses.replace(spec, initializer=initializer)

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
        self.note(f"{self.path}.{field}", f" has no effect: {reason}")

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
            self.note(
                self.path,
                f": an empty cell of '{spec.inputs[0]}' is one step without a number, which stops the run; "
                "set empty_sequence: NO_STEP if it means no history",
            )

    def note(self, path: str, text: str) -> None:
        """Adds a warning that starts with a place and its field path, once."""
        line = f"{self.config.where(path)}: {path}{text}"
        if line not in self.config.warnings:
            self.config.warnings.append(line)

    def _check_inputs(self, inputs: list[str], inputs_path: str) -> None:
        if not inputs:
            raise self.error("", "input_names is empty; name the column that the feature reads")
        least, most = _COLUMNS.get(self.type, (1, 1))
        if len(inputs) < least or (most is not None and len(inputs) > most):
            expected = f"{least} or more" if most is None else " or ".join(map(str, range(least, most + 1)))
            raise self.error("input_names", f"{self.type} reads {expected} column(s), found {len(inputs)}")
        if self.type in _NAMED and not self.message.feature_name:
            raise self.error("", f"{self.type} needs a feature_name")
        for index, name in enumerate(inputs):
            if name not in self.columns:
                path = inputs_path if inputs_path.endswith("]") else f"{inputs_path}[{index}]"
                raise self.config.error(
                    path, f"no column '{name}' in data_config.input_fields{nearest(name, self.columns)}"
                )

    def _hash_buckets(self) -> Buckets:
        if not self.message.hash_bucket_size:
            raise self.error("", f"{self.type} needs hash_bucket_size")
        return Buckets("hash", self.message.hash_bucket_size)

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
            self.warn("min_val", f"max_val {message.max_val:g} is not above it")
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

    def _expression(self, inputs: list[str]) -> str:
        from easyssl.config.expressions import ExpressionError, parse_column_expression

        text = self.message.expression
        if not text.strip():
            raise self.error("", "ExprFeature needs an expression")
        try:
            return parse_column_expression(text, inputs).text
        except ExpressionError as error:
            raise self.error("expression", str(error)) from None

    def _sequence_combiner(self) -> str:
        if self.type != "SequenceFeature" or not self.message.HasField("sequence_combiner"):
            return ""
        kind = self.message.sequence_combiner.WhichOneof("combiner") or "nothing"
        if kind not in SEQUENCE_COMBINERS:
            raise self.error("sequence_combiner", f"expected {' or '.join(SEQUENCE_COMBINERS)}, found {kind}")
        return kind

    def _sequence_combiner_options(self) -> dict[str, Any] | None:
        if self._sequence_combiner() != "text_cnn":
            return None
        path = "sequence_combiner.text_cnn"

        def error(field: str, text: str) -> ConfigError:
            return self.error(f"{path}.{field}" if field else path, text)

        options = bind(static_catalogue()["TextCNN"], self.message.sequence_combiner.text_cnn, error)
        sizes, counts = options["filter_sizes"], options["num_filters"]
        if len(sizes) != len(counts):
            raise self.error(path, f"{len(sizes)} filter_sizes need as many num_filters, found {len(counts)}")
        mlp = options.get("mlp")
        if mlp is not None and not mlp.get("hidden_units"):
            raise error("mlp", "MLP needs the parameter 'hidden_units'")
        return options


def _enum_name(message: Any, field: str) -> str:
    values = message.DESCRIPTOR.fields_by_name[field].enum_type.values_by_number
    return values[getattr(message, field)].name
