"""What an input block of a config hands on: the features of a group, normalised and put into a form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.random import add_random_state, advance, uniform
from easyssl.layers.dropout import Dropout
from easyssl.layers.feature_group import GroupOutput


@keras.utils.register_keras_serializable(package="easyssl")
class InputLayer(keras.layers.Layer):
    """Turns the looked-up features of a group into the output of an input block.

    A layer may be called several times per step on the same `GroupOutput`; every call starts from the
    features as looked up and draws its own dropout masks. The first format that is set wins:

    | flag | output |
    | --- | --- |
    | `output_seq_and_normal_feature` | tuple (sequences, lengths, plain), see below |
    | `only_output_feature_list` | list of `[batch, width]` |
    | `only_output_3d_tensor` | `[batch, num_features, width]`; all widths equal |
    | `output_2d_tensor_and_feature_list` | tuple (`[batch, total width]`, list) |
    | none | `[batch, total width]` |

    Features keep the order of `feature_names`, the plain ones first, then the pooled sequences and then the
    target attentions, in the list and in the 2-D tensor alike. (EasyRec sorts the pooled ones by name in its
    2-D tensor only.)

    The sequence format yields `[batch, seq_len, total width]`, the lengths int32 `[batch]` of the first
    sequence and the plain features `[batch, total width]`, or None without plain features. With
    `concat_seq_feature` false the first and the last are lists. It ignores normalisation and dropout.

    Normalisation and dropout in the other formats: the 2-D tensor and the list have normalisation layers of
    their own. With a feature dropout rate the 2-D tensor is the list put together, in training and
    evaluation, so that evaluation uses statistics that were trained; it then has no elementwise dropout
    unless a list is output too.

    Args:
        do_batch_norm: Batch normalisation.
        do_layer_norm: Layer normalisation, with epsilon 1e-12.
        dropout_rate: Elementwise dropout while training; acts if in (0, 1).
        feature_dropout_rate: Rate of dropping a whole feature, for the whole batch, while training; the rest
            is scaled up. Acts if in (0, 1).
        only_output_feature_list: See the table.
        only_output_3d_tensor: See the table.
        output_2d_tensor_and_feature_list: See the table.
        output_seq_and_normal_feature: See the table.
        concat_seq_feature: Whether the sequence format concatenates.
        seed: Seed of the dropout masks; None draws one from Python's `random`.

    Call arguments:
        inputs: A `GroupOutput`, from a `FeatureGroup`.
        training: Whether dropout acts and batch normalisation uses the batch's statistics.

    Raises:
        ValueError: If both normalisations are asked for, if the sequence format has no sequence, if another
            format has a sequence without `sequence_combiner`, or if 3-D has different widths.

    Example:
        >>> group = GroupOutput([tf.ones([2, 3]), tf.ones([2, 1])], [], [], [], [])
        >>> InputLayer(do_layer_norm=True)(group).shape
        TensorShape([2, 4])
    """

    def __init__(
        self,
        do_batch_norm: bool = False,
        do_layer_norm: bool = False,
        dropout_rate: float = 0.0,
        feature_dropout_rate: float = 0.0,
        only_output_feature_list: bool = False,
        only_output_3d_tensor: bool = False,
        output_2d_tensor_and_feature_list: bool = False,
        output_seq_and_normal_feature: bool = False,
        concat_seq_feature: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**{"autocast": False, **kwargs})
        if do_batch_norm and do_layer_norm:
            raise ValueError("`do_batch_norm` and `do_layer_norm` exclude each other. Received: both true")
        self.do_batch_norm = bool(do_batch_norm)
        self.do_layer_norm = bool(do_layer_norm)
        self.dropout_rate = float(dropout_rate)
        self.feature_dropout_rate = float(feature_dropout_rate)
        self.only_output_feature_list = bool(only_output_feature_list)
        self.only_output_3d_tensor = bool(only_output_3d_tensor)
        self.output_2d_tensor_and_feature_list = bool(output_2d_tensor_and_feature_list)
        self.output_seq_and_normal_feature = bool(output_seq_and_normal_feature)
        self.concat_seq_feature = bool(concat_seq_feature)
        self.seed = seed

        outputs_list = only_output_feature_list or only_output_3d_tensor or output_2d_tensor_and_feature_list
        self._drops_features = 0.0 < self.feature_dropout_rate < 1.0
        self._normalises = self.do_batch_norm or self.do_layer_norm
        # Which of the two versions of the features is needed at all.
        self._needs_list = outputs_list or self._drops_features
        only_list = only_output_feature_list or only_output_3d_tensor
        self._needs_2d = not only_list and not self._drops_features
        self.flat_norm: Any = None
        self.list_norms: list[Any] = []
        self.dropout = None
        if 0.0 < self.dropout_rate < 1.0 and (outputs_list or not self._drops_features):
            own = None if seed is None else seed + 1  # the other state of this layer has `seed`
            self.dropout = Dropout(self.dropout_rate, seed=own, name="dropout", dtype=self._policy)

    def build(self, input_shape: Any) -> None:
        """Creates the normalisation layers.

        Args:
            input_shape: A `GroupOutput` of shapes; only the last axes of `plain`, `pooled` and `attended`
                count.
        """
        plain, pooled = input_shape[0], input_shape[1]
        attended = input_shape[5] if len(input_shape) > 5 else ()
        widths = [int(shape[-1]) for shape in [*plain, *pooled, *attended]]
        self._widths = tuple(widths)
        if not self.output_seq_and_normal_feature:
            if self._normalises and self._needs_2d:
                self.flat_norm = self._norm("norm", sum(widths))
            if self._normalises and self._needs_list:
                self.list_norms = [self._norm(f"norm_{i}", width) for i, width in enumerate(widths)]
            if self.dropout is not None and not self.dropout.built:
                self.dropout.build((None, sum(widths)))
            if self._drops_features:
                self.random_state = add_random_state(self, self.seed)
        self.built = True

    def call(self, inputs: GroupOutput, training: bool = False) -> Any:
        """Formats."""
        group = GroupOutput(*inputs)
        if self.output_seq_and_normal_feature:
            return self._sequence_format(group)
        features = [*group.plain, *group.pooled, *group.attended]
        if len(group.pooled) < len(group.sequences):
            raise ValueError(
                "a sequence feature needs a `sequence_combiner` unless the block sets "
                f"`output_seq_and_normal_feature`; {len(group.sequences) - len(group.pooled)} have none"
            )
        processed = self._process(features, training) if self._needs_list else []
        if self.only_output_feature_list:
            return processed
        if self.only_output_3d_tensor:
            widths = list(self._widths)
            if len(set(widths)) > 1:
                raise ValueError(f"`only_output_3d_tensor` needs equal widths. Received: {widths}")
            return tf.stack(processed, axis=1)
        if self._drops_features:
            flat = tf.concat(processed, axis=-1)
        else:
            flat = tf.concat(features, axis=-1)
            if self.flat_norm is not None:
                flat = self._apply_norm(self.flat_norm, flat, training)
            if self.dropout is not None:
                flat = self.dropout(flat, training=training)
        return (flat, processed) if self.output_2d_tensor_and_feature_list else flat

    def _process(self, features: Sequence[tf.Tensor], training: bool) -> list[tf.Tensor]:
        """Normalises and drops feature by feature."""
        processed = list(features)
        if self.list_norms:
            norms = zip(self.list_norms, processed, strict=True)
            processed = [self._apply_norm(norm, feature, training) for norm, feature in norms]
        if self._drops_features and training:
            keep = 1.0 - self.feature_dropout_rate
            drawn = uniform(advance(self.random_state), [len(processed)]) < keep
            scales = tf.unstack(tf.cast(drawn, tf.float32) / keep)
            pairs = zip(processed, scales, strict=True)
            processed = [feature * tf.cast(scale, feature.dtype) for feature, scale in pairs]
        if self.dropout is not None:
            processed = [self.dropout(feature, training=training) for feature in processed]
        return processed

    def _sequence_format(self, group: GroupOutput) -> tuple[Any, tf.Tensor, Any]:
        if not group.sequences:
            raise ValueError("`output_seq_and_normal_feature` needs at least one sequence feature")
        if not self.concat_seq_feature:
            return list(group.sequences), group.lengths[0], list(group.plain)
        plain = tf.concat(group.plain, axis=-1) if group.plain else None
        return tf.concat(group.sequences, axis=-1), group.lengths[0], plain

    def _norm(self, name: str, width: int) -> Any:
        if self.do_batch_norm:
            norm = keras.layers.BatchNormalization(name=name, dtype=self._policy)
        else:
            norm = keras.layers.LayerNormalization(epsilon=1e-12, name=name, dtype=self._policy)
        norm.build((None, width))
        return norm

    def _apply_norm(self, norm: Any, tensor: tf.Tensor, training: bool) -> tf.Tensor:
        return norm(tensor, training=training) if self.do_batch_norm else norm(tensor)

    @property
    def _policy(self) -> Any:
        return getattr(self, "dtype_policy", None) or self._dtype_policy

    def get_build_config(self) -> dict[str, Any]:
        """Returns the widths that a loaded layer is built with."""
        return {"widths": list(self._widths)}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds a loaded layer."""
        self.build(([(None, width) for width in config["widths"]], []))

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor arguments."""
        names = (
            "do_batch_norm",
            "do_layer_norm",
            "dropout_rate",
            "feature_dropout_rate",
            "only_output_feature_list",
            "only_output_3d_tensor",
            "output_2d_tensor_and_feature_list",
            "output_seq_and_normal_feature",
            "concat_seq_feature",
            "seed",
        )
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
