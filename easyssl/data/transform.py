"""From raw columns to numbers: the same TensorFlow ops in training and in the exported model."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from easyssl.data.features.combo import ComboTransform
from easyssl.data.features.expr import ExprTransform
from easyssl.data.features.id import IdTransform
from easyssl.data.features.lookup import LookupTransform
from easyssl.data.features.pass_through import PassThroughTransform
from easyssl.data.features.raw import RawTransform
from easyssl.data.features.sequence import SequenceTransform
from easyssl.data.features.spec import FeatureSpec, build_feature_specs, column_types
from easyssl.data.features.tag import TagTransform
from easyssl.data.features.text import LengthBuckets
from easyssl.data.features.types import Buckets

if TYPE_CHECKING:
    from easyssl.config import Config

TRANSFORMS: dict[str, type[tf.Module]] = {
    "IdFeature": IdTransform,
    "RawFeature": RawTransform,
    "TagFeature": TagTransform,
    "ComboFeature": ComboTransform,
    "LookupFeature": LookupTransform,
    "SequenceFeature": SequenceTransform,
    "ExprFeature": ExprTransform,
    "PassThroughFeature": PassThroughTransform,
}
"""The class of ops for each feature type."""

COLUMN_DTYPES: dict[str, tf.DType] = {
    "INT32": tf.int32,
    "INT64": tf.int64,
    "STRING": tf.string,
    "FLOAT": tf.float32,
    "DOUBLE": tf.float64,
    "BOOL": tf.bool,
}
"""The tensor type of each column type of `data_config.input_fields`."""


@dataclass(frozen=True)
class BadCell:
    """A cell that a feature cannot read.

    Attributes:
        row: Place in the batch, from 0.
        feature: Name of the feature.
        columns: The feature's columns.
        cells: What stands in them.
        reason: What is wrong, in one line.
    """

    row: int
    feature: str
    columns: tuple[str, ...]
    cells: tuple[Any, ...]
    reason: str

    def __str__(self) -> str:
        cells = ", ".join(
            f"column '{name}' has {cell!r}" for name, cell in zip(self.columns, self.cells, strict=True)
        )
        return f"feature '{self.feature}': {cells}: {self.reason}"


class _Compiled:
    """Keeps a `tf.function` where a SavedModel that holds the transform does not find it."""

    function: Any = None


class FeatureTransform(tf.Module):
    """Turns raw columns into the numeric tensors that the model reads.

    Stateless TensorFlow ops with the vocabularies held as constants, so that it runs eagerly, in a
    `tf.function`, in a `tf.data` map and inside an exported SavedModel without any file.

    Per feature the output has, under the feature's name (`FeatureSpec.kind` tells which):

    - an id: int64 `[batch]`, -1 where missing;
    - tags, looked-up values, combinations of several values, or numbers in buckets: int64 `[batch, n]`,
      padded with -1, and `<name>/weight` float32 `[batch, n]` for weighted tags;
    - numbers: float32 `[batch, raw_input_dim]`, and `[batch, 1]` for an expression;
    - a sequence: int64 `[batch, seq_len]` padded with -1 (`[batch, seq_len, n]` with `seq_multi_sep`) or
      float32 `[batch, sequence_length]`, and `<name>/length` int32 `[batch]`.

    `seq_len` is the longest row of the batch, rounded up and at most `max_seq_len`. Features that no group
    uses, and PassThroughFeatures, are left out.

    Args:
        specs: Features by name, from `build_feature_specs`.
        columns: Type of every column, such as `{"user_id": "STRING"}`.
        length_buckets: Lengths to round sequences up to; without any, multiples of 8.

    Raises:
        ValueError: If a column of a feature is not in `columns`.

    Example:
        >>> from easyssl.data.features.types import Buckets, FeatureSpec
        >>> spec = FeatureSpec("hist", "SequenceFeature", ("hist",), buckets=Buckets("hash", 1000))
        >>> transform = FeatureTransform({"hist": spec}, {"hist": "STRING"}, length_buckets=(4,))
        >>> transform({"hist": tf.constant(["a|1", ""])})["hist"].numpy().tolist()
        [[939, 849, -1, -1], [263, -1, -1, -1]]
    """

    def __init__(
        self,
        specs: Mapping[str, FeatureSpec],
        columns: Mapping[str, str],
        length_buckets: tuple[int, ...] = (),
    ):
        super().__init__(name="feature_transform")
        rounding = LengthBuckets(tuple(length_buckets))
        self.specs = {name: spec for name, spec in specs.items() if spec.used and spec.kind != "none"}
        names = dict.fromkeys(column for spec in self.specs.values() for column in spec.inputs)
        missing = [name for name in names if name not in columns]
        if missing:
            raise ValueError(f"the features read columns that are not declared: {missing}")
        self.columns = {name: columns[name] for name in names}
        self._compiled = _Compiled()
        self.features = []
        with tf.device("/CPU:0"):
            for spec in self.specs.values():
                kwargs = {"length_buckets": rounding} if spec.is_sequence else {}
                self.features.append(TRANSFORMS[spec.type](spec, **kwargs))

    # A model that has a transform would look through all features each time that it is asked for its weights.
    variables = trainable_variables = non_trainable_variables = ()
    """There are none."""

    def signature(self) -> dict[str, tf.TensorSpec]:
        """Returns the `tf.TensorSpec` `[batch]` of every column that is read."""
        return {name: tf.TensorSpec([None], COLUMN_DTYPES[kind], name) for name, kind in self.columns.items()}

    def compiled(self) -> Any:
        """Returns the transform as a `tf.function` of `signature`, always the same one: it is traced once."""
        if self._compiled.function is None:
            self._compiled.function = tf.function(self, input_signature=[self.signature()], autograph=False)
        return self._compiled.function

    def output_signature(self) -> dict[str, tf.TensorSpec]:
        """Returns the `tf.TensorSpec` of every output; the batch and the length of sequences are open.

        Of features that are alike only the first is traced.
        """
        found: dict[str, tf.TensorSpec] = {}
        known: dict[Any, dict[str, tf.TensorSpec]] = {}
        with tf.__internal__.FuncGraph("signature").as_default():
            for feature in self.features:
                spec = feature.spec
                kind = (_kind(spec), *(self.columns[name] for name in spec.inputs))
                if kind not in known:
                    cells = {
                        name: tf.compat.v1.placeholder(COLUMN_DTYPES[self.columns[name]], [None])
                        for name in spec.inputs
                    }
                    known[kind] = {
                        name.removeprefix(spec.name): tf.TensorSpec(value.shape, value.dtype)
                        for name, value in feature(cells).items()
                    }
                found |= {f"{spec.name}{part}": each for part, each in known[kind].items()}
        return found

    def symbolic_output(self) -> dict[str, tf.Tensor]:
        """Makes placeholders like the outputs in the current graph, which is not to be run.

        Outputs that are alike are one placeholder.
        """
        made: dict[Any, tf.Tensor] = {}
        signature = self.output_signature()
        for spec in signature.values():
            kind = (spec.dtype, str(spec.shape))
            if kind not in made:
                made[kind] = tf.compat.v1.placeholder(spec.dtype, spec.shape)
        return {name: made[spec.dtype, str(spec.shape)] for name, spec in signature.items()}

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Transforms one batch.

        Args:
            raw: Columns `[batch]`; more than needed are ignored. NumPy arrays are accepted too.

        Returns:
            The tensors described above.

        Raises:
            tf.errors.InvalidArgumentError: If a cell is not what its feature needs; `find_bad_cell` tells
                which one.
        """
        return self._apply(raw, self.features)

    def of_columns(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Transforms one batch as far as its columns go.

        Args:
            raw: Some of the columns `[batch]`.

        Returns:
            The tensors of the features of which all columns are there.
        """
        return self._apply(raw, [each for each in self.features if set(each.spec.inputs) <= set(raw)])

    def _apply(self, raw: Mapping[str, tf.Tensor], chosen: Sequence[Any]) -> dict[str, tf.Tensor]:
        outputs: dict[str, tf.Tensor] = {}
        # Strings live on the CPU; without this the small ops around them would wander to the GPU and back.
        with tf.device("/CPU:0"):
            columns = {
                name: tf.convert_to_tensor(raw[name], COLUMN_DTYPES[self.columns[name]])
                for name in dict.fromkeys(column for feature in chosen for column in feature.spec.inputs)
            }
            for feature in chosen:
                with tf.name_scope(_scope_name(feature.spec.name)):
                    outputs.update(feature(columns))
        return outputs

    def find_bad_cell(self, raw: Mapping[str, tf.Tensor]) -> BadCell | None:
        """Finds the first row that `__call__` fails on, by halving the batch.

        Args:
            raw: The batch that failed, as tensors or NumPy arrays.

        Returns:
            The cell and what is wrong with it, or None if the whole batch is fine.
        """
        columns = {
            name: tf.convert_to_tensor(raw[name], COLUMN_DTYPES[self.columns[name]]) for name in self.columns
        }
        found = []
        for feature in self.features:
            own = {name: columns[name] for name in feature.spec.inputs}
            start, stop = 0, int(next(iter(own.values())).shape[0])
            reason = _failure(feature, own, start, stop)
            while reason and stop - start > 1:
                middle = (start + stop) // 2
                if _failure(feature, own, start, middle):
                    stop = middle
                else:
                    start = middle
                reason = _failure(feature, own, start, stop)
            if reason:
                cells = tuple(_plain(column[start].numpy()) for column in own.values())
                found.append(BadCell(start, feature.spec.name, tuple(own), cells, reason))
        return min(found, key=lambda bad: bad.row, default=None)


def transform_from_config(
    config: Config,
    specs: Mapping[str, FeatureSpec] | None = None,
    kind: type[FeatureTransform] = FeatureTransform,
) -> FeatureTransform:
    """Returns the transform of a config's features.

    Args:
        config: The config.
        specs: Its features, if they are built already.
        kind: Which transform. Defaults to FeatureTransform.

    Raises:
        ConfigError: At the field that is wrong.
    """
    specs = build_feature_specs(config) if specs is None else specs
    length_buckets = tuple(config.message.data_config.length_buckets)
    try:
        return kind(specs, column_types(config), length_buckets)
    except ValueError as error:
        raise config.error("data_config.length_buckets", str(error)) from None


def _kind(spec: FeatureSpec) -> FeatureSpec:
    """Returns a feature without what neither types nor shapes of its outputs depend on."""
    expression = spec.expression
    if expression:
        places = {name: f"${place}" for place, name in enumerate(spec.inputs)}
        expression = re.sub(r"\w+", lambda word: places.get(word[0], word[0]), expression)
    return dataclasses.replace(
        spec,
        expression=expression,
        name="",
        inputs=(),
        path="",
        buckets=spec.buckets and Buckets(spec.buckets.kind, 0),
        embedding_dim=0,
        embedding_name="",
        shared=False,
        initializer=None,
        sequence_combiner_options=None,
        pretrained=None,
    )


def _scope_name(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "_.-") else "_" for c in f"f_{name}")


def _failure(feature: Any, columns: Mapping[str, tf.Tensor], start: int, stop: int) -> str:
    """Returns why the feature cannot read these rows, or `""`."""
    try:
        feature({name: column[start:stop] for name, column in columns.items()})
    except tf.errors.InvalidArgumentError as error:
        ours = re.search(r"feature '[^']*': ([^\"\n]+)", error.message)
        if ours:
            return ours.group(1)
        hint = ""
        if feature.spec.is_sequence and feature.spec.empty_sequence == "ONE_STEP":
            hint = " (set empty_sequence: NO_STEP if an empty cell means no history)"
        buckets = feature.spec.buckets
        whole = buckets is not None and buckets.kind == "integer" and not feature.spec.weighted
        return f"expected {'whole numbers' if whole else 'numbers'}{hint}"
    return ""


def _plain(cell: Any) -> Any:
    return cell.decode("utf-8", "replace") if isinstance(cell, bytes) else cell.item()
