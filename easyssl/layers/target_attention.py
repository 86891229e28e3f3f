"""Target attention of a feature group: histories summed up with weights that depend on key features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.sequences import read_out
from easyssl.layers.building import build_sublayer
from easyssl.layers.din import DIN


class AttentionInputs(NamedTuple):
    """What a target attention reads.

    Attributes:
        key: `[batch, key_dim]`.
        history: `[batch, seq_len, dim]`.
        lengths: Integer `[batch]`.
        auxiliary: `[batch, seq_len, any]` each; step t belongs to step t of the history.
    """

    key: Any
    history: Any
    lengths: Any
    auxiliary: Sequence[Any] = ()


@keras.utils.register_keras_serializable(package="easyssl")
class TargetAttention(keras.layers.Layer):
    """Sums histories up with the weights that `DIN` gives to their steps, for the key as the target.

    With the key q and the steps h_t, the weights a_t are the softmax over the valid steps of
    `attention_dnn([q, h_t, q - h_t, q * h_t])`, and the output is `[sum_t a_t h_t, sum_t a_t x_t, ..., q]`,
    with the auxiliary histories x. If q is narrower than h, zeros are appended to it. With `transform`, q and
    h are replaced by linear projections of them, as wide as h.

    Args:
        attention_dnn: Parameters of the MLP that scores; its last layer is linear and has one unit.
        transform: Whether key and history are projected. Defaults to False.
        need_key: Whether the output ends with q. Defaults to True.
        kernel_regularizer: Keras regularizer of all kernels. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Call arguments:
        inputs: `AttentionInputs`.
        training: Handed to the MLP.

    Returns:
        `[batch, dim + auxiliary dims + dim]`. Histories of length 0 sum up to zeros.

    Raises:
        ValueError: If the key is wider than the history and `transform` is false.

    Example:
        >>> attend = TargetAttention({"hidden_units": [8, 1]})
        >>> attend(AttentionInputs(tf.ones([2, 3]), tf.ones([2, 5, 4]), tf.constant([5, 0]), [])).shape
        TensorShape([2, 8])
    """

    def __init__(
        self,
        attention_dnn: dict[str, Any],
        transform: bool = False,
        need_key: bool = True,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.attention_dnn = dict(attention_dnn)
        self.transform = transform
        self.need_key = need_key
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.attention = DIN(
            attention_dnn,
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name="attention",
        )
        self.projections: list[Any] = []

    def build(self, input_shape: Any) -> None:
        """Creates the weights.

        Args:
            input_shape: `AttentionInputs` of shapes; only the last axes of `key` and `history` count.
        """
        key, width = int(input_shape[0][-1]), int(input_shape[1][-1])
        if self.transform:
            for name, units in (("key", key), ("history", width)):
                dense = keras.layers.Dense(
                    width, kernel_regularizer=self.kernel_regularizer, dtype=self.dtype_policy, name=name
                )
                build_sublayer(dense, (None, units))
                self.projections.append(dense)
        elif key > width:
            raise ValueError(
                f"TargetAttention '{self.name}': a key that is wider than the history needs `transform`. "
                f"Received: key width {key}, history width {width}"
            )
        build_sublayer(self.attention, [(None, None, width), (None,), (None, width)])
        super().build(input_shape)

    def call(self, inputs: AttentionInputs, training: bool | None = None) -> tf.Tensor:
        """Attends; see the class."""
        key, history, lengths, auxiliary = AttentionInputs(*inputs)
        if self.transform:
            project_key, project_history = self.projections
            key, history = project_key(key), project_history(history)
        key = tf.pad(key, [[0, 0], [0, history.shape[-1] - key.shape[-1]]])
        lengths = tf.minimum(tf.cast(lengths, tf.int32), tf.shape(history)[1])
        histories = [read_out(each, lengths, "sequence") for each in (history, *auxiliary)]
        weights = self.attention.weights_of(histories[0], lengths, key, training)
        weights = tf.cast(weights, history.dtype)
        outputs = [tf.linalg.matvec(each, weights, transpose_a=True) for each in histories]
        return tf.concat([*outputs, key] if self.need_key else outputs, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        return {
            **super().get_config(),
            "attention_dnn": self.attention_dnn,
            "transform": self.transform,
            "need_key": self.need_key,
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
