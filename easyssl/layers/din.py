"""Target attention: what of a history matters for the item in question."""

from __future__ import annotations

import math
from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.masking import masked_softmax
from easyssl.functional.packing import pack, packing_of, unpack
from easyssl.functional.sequences import read_out
from easyssl.layers.building import Shape, build_sublayer, input_shapes, last_dim
from easyssl.layers.mlp import MLP
from easyssl.layers.nested import nested_config, nested_layer
from easyssl.registry import register

_NORMALIZERS = ("softmax", "sigmoid")


@register("DIN")
class DIN(keras.layers.Layer):
    """Sums a history up with weights that depend on a target, scored by a small network.

    The score of step k_t for target q is `s_t = attention_dnn([q, k_t, q - k_t, q * k_t])`, the output
    `sum_t a_t k_t` with `a = softmax_t(s)` over the valid steps or `a_t = sigmoid(s_t / sqrt(dim))`, and the
    target behind it if `need_target_feature`. A target that is narrower than the steps gets zeros behind it;
    of the steps, the columns that the target has are summed.

    Only valid steps are scored and enter batch statistics, so the amount of padding does not matter, and
    padding may hold anything. A row of length 0 sums up to zeros. Gradients reach the valid steps, the target
    and the network. The softmax and the sigmoid run in float32 under every policy.

    Args:
        attention_dnn: Parameters of the MLP that scores, such as `{"hidden_units": [32, 1]}`. Its last layer
            has one unit, a bias, and neither normalisation nor activation, whatever the parameters say.
        need_target_feature: Whether the output holds the target, too. Defaults to True.
        attention_normalizer: "softmax" or "sigmoid". Defaults to "softmax".
        kernel_regularizer: Keras regularizer of the MLP's kernels. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown normalizer, a last layer of several units, and parameters that an MLP does
            not take.

    Example:
        >>> layer = DIN({"hidden_units": [16, 1]})
        >>> history, lengths, target = tf.random.normal([3, 5, 4]), tf.constant([5, 2, 0]), tf.ones([3, 4])
        >>> layer([history, lengths, target]).shape
        TensorShape([3, 8])

    References:
        Zhou et al., "Deep interest network for click-through rate prediction", arXiv 1706.06978.
    """

    def __init__(
        self,
        attention_dnn: dict[str, Any],
        need_target_feature: bool = True,
        attention_normalizer: Literal["softmax", "sigmoid"] = "softmax",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if attention_normalizer not in _NORMALIZERS:
            raise ValueError(
                f"DIN: unknown attention_normalizer '{attention_normalizer}'"
                f"{nearest(attention_normalizer, _NORMALIZERS)}"
            )
        self.need_target_feature = need_target_feature
        self.attention_normalizer = attention_normalizer
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        last = {"use_final_bn": False, "use_final_bias": True, "final_activation": "linear"}
        self.attention_dnn = nested_layer(
            self,
            MLP,
            {**attention_dnn, **last},
            "attention_dnn",
            kernel_regularizer=self.kernel_regularizer,
        )
        units = self.attention_dnn.hidden_units
        if units[-1] != 1:
            raise ValueError(
                "DIN: the last layer of `attention_dnn` gives the score and has 1 unit. Received: "
                f"hidden_units={list(units)}"
            )

    def __call__(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer; a target of `None`, as a group without plain features has, is refused."""
        if isinstance(inputs, list | tuple) and any(x is None for x in inputs):
            raise ValueError(
                f"DIN '{self.name}' has no target: its feature group needs a plain feature beside the "
                "sequence"
            )
        return super().__call__(inputs, *args, **kwargs)

    def build(self, input_shape: Any) -> None:
        """Creates the weights of the network."""
        shapes = input_shapes(input_shape)
        width, _ = self._widths(shapes)
        build_sublayer(self.attention_dnn, (None, 4 * width))
        super().build(input_shape)

    def _widths(self, shapes: list[Shape]) -> tuple[int, int]:
        """Returns the widths of steps and target."""
        if [len(shape) for shape in shapes] != [3, 1, 2]:
            raise ValueError(
                f"DIN '{self.name}' takes a history [batch, seq_len, dim], lengths [batch] and a target "
                f"[batch, target_dim]. Received shapes: {shapes}"
            )
        width, target = last_dim(shapes[0], self), last_dim(shapes[2], self)
        if target > width:
            raise ValueError(
                f"DIN '{self.name}': the target must not be wider than the steps of the history. Received: "
                f"target width {target}, step width {width}"
            )
        return width, target

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Attends.

        Args:
            inputs: A history `[batch, seq_len, dim]`, its lengths `[batch]` and a target
                `[batch, target_dim]`, with `target_dim <= dim`.
            training: Handed to the network. Defaults to None.

        Returns:
            `[batch, target_dim]`, or `[batch, target_dim + dim]` with the target.
        """
        history, lengths, target = (tf.convert_to_tensor(x) for x in inputs)
        width, target_width = history.shape[-1], target.shape[-1]
        lengths = tf.clip_by_value(tf.cast(lengths, tf.int32), 0, tf.shape(history)[1])
        history = read_out(history, lengths, "sequence")
        padded = tf.pad(target, [[0, 0], [0, width - target_width]])
        weights = tf.cast(self.weights_of(history, lengths, padded, training), history.dtype)
        output = tf.linalg.matvec(history[:, :, :target_width], weights, transpose_a=True)
        return tf.concat([output, padded], axis=-1) if self.need_target_feature else output

    def weights_of(
        self, history: tf.Tensor, lengths: tf.Tensor, target: tf.Tensor, training: bool | None = None
    ) -> tf.Tensor:
        """Returns the weight of each step.

        Args:
            history: `[batch, seq_len, dim]`.
            lengths: int32 `[batch]`, at most `seq_len`.
            target: `[batch, dim]`.
            training: Handed to the network. Defaults to None.

        Returns:
            float32 `[batch, seq_len]`, 0 behind the length.
        """
        packing = packing_of(lengths, tf.shape(history)[1])
        steps = pack(history, packing)
        targets = pack(tf.broadcast_to(target[:, None], tf.shape(history)), packing)
        seen = tf.concat([targets, steps, targets - steps, targets * steps], axis=-1)
        valid = tf.gather_nd(packing.mask, packing.coordinates)
        scores = self.attention_dnn(seen, mask=valid, training=training)
        scores = tf.cast(unpack(scores, packing)[:, :, 0], tf.float32)
        if self.attention_normalizer == "softmax":
            return masked_softmax(scores, packing.mask)
        return tf.where(packing.mask, tf.sigmoid(scores / math.sqrt(history.shape[-1])), 0.0)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        return {
            **super().get_config(),
            "attention_dnn": nested_config(self.attention_dnn),
            "need_target_feature": self.need_target_feature,
            "attention_normalizer": self.attention_normalizer,
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
