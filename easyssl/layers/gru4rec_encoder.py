"""The sequence encoder of GRU4Rec."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.masking import length_mask
from easyssl.functional.sequences import read_out
from easyssl.layers.building import build_sublayer, check_positive, check_rate, last_dim
from easyssl.layers.dropout import Dropout
from easyssl.layers.encoder_inputs import check_encoder_inputs, check_readout, encoder_inputs
from easyssl.registry import register


@register("GRU4RecEncoder")
class GRU4RecEncoder(keras.layers.Layer):
    """Encodes a behaviour sequence by gated recurrent units.

    Dropout of the steps, GRU layers, and a dense layer without activation. With update gate z and reset gate
    r of a step, `h_t = z h_{t-1} + (1 - z) tanh(x_t W + r (h_{t-1} U))`, from `h = 0` on; the reset gate acts
    behind the product, which is the form that fast GPU kernels compute.

    Each state depends on its own and earlier steps only, so padding behind a row's length changes nothing; it
    may hold anything. Gradients reach all valid steps up to the one whose state is read. Width, number of
    layers and dropout are RecBole's.

    Args:
        hidden_size: Width of the states. Defaults to 128.
        num_hidden_layers: Number of GRU layers. Defaults to 1.
        output_size: Width of the output. Defaults to None, which is the width of the input.
        hidden_dropout_prob: Dropout rate of the input. Defaults to 0.3.
        use_bias: Whether the GRU layers have biases. RecBole's have none, but only with them a GPU computes
            a layer by one kernel. Defaults to True.
        output: What is returned: "last" for the output at the last valid step, "mean" for the mean of the
            outputs at valid steps, or "sequence" for all outputs. Defaults to "last".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a size that is not positive, a rate outside of [0, 1) or an unknown `output`.

    Example:
        >>> layer = GRU4RecEncoder(hidden_size=16)
        >>> layer([tf.random.normal([3, 5, 8]), tf.constant([5, 2, 0])]).shape
        TensorShape([3, 8])

    References:
        Hidasi et al., "Session-based recommendations with recurrent neural networks", arXiv 1511.06939.
        Tan et al., "Improved recurrent neural networks for session-based recommendations", arXiv 1606.08117.
    """

    row_by_row = True

    def __init__(
        self,
        hidden_size: int = 128,
        num_hidden_layers: int = 1,
        output_size: int | None = None,
        hidden_dropout_prob: float = 0.3,
        use_bias: bool = True,
        output: Literal["last", "mean", "sequence"] = "last",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.output_size = output_size
        self.hidden_dropout_prob = hidden_dropout_prob
        self.use_bias = use_bias
        self.output_kind = output
        self.supports_masking = True
        check_positive(
            "GRU4RecEncoder",
            hidden_size=hidden_size,
            num_hidden_layers=num_hidden_layers,
            output_size=1 if output_size is None else output_size,
        )
        check_rate("GRU4RecEncoder", "hidden_dropout_prob", hidden_dropout_prob)
        check_readout("GRU4RecEncoder", output)

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shape = check_encoder_inputs(self, input_shape)[0]
        policy = self.dtype_policy
        self.dropout = Dropout(self.hidden_dropout_prob, dtype=policy, name="dropout")
        build_sublayer(self.dropout, shape)
        states = (shape[0], None, self.hidden_size)
        self.recurrent = []
        for index in range(self.num_hidden_layers):
            layer = keras.layers.GRU(
                self.hidden_size,
                use_bias=self.use_bias,
                reset_after=True,
                return_sequences=True,
                dtype=policy,
                name=f"gru_{index}",
            )
            build_sublayer(layer, states if index else (shape[0], None, shape[2]))
            self.recurrent.append(layer)
        self.output_dense = keras.layers.Dense(
            self.output_size or last_dim(shape, self), dtype=policy, name="output"
        )
        build_sublayer(self.output_dense, states)
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Encodes.

        Args:
            inputs: A sequence `[batch, seq_len, dim]` and its lengths `[batch]`; further inputs are ignored.
            training: Whether to drop. Defaults to None, which is False.

        Returns:
            `[batch, output_size]`, zeros for rows of length 0; or with `output="sequence"`
            `[batch, seq_len, output_size]`, zeros for steps that are not valid.
        """
        sequence, lengths = encoder_inputs(inputs)
        states = read_out(self.dropout(sequence, training=training), lengths, "sequence")
        # Without a mask: states of valid steps do not see padding, and masks are slow or refused on GPUs.
        for layer in self.recurrent:
            states = layer(states, training=training)
        if self.output_kind == "sequence":
            outputs = self.output_dense(states)
            valid = length_mask(lengths, tf.shape(sequence)[1])[:, :, None]
        else:
            # The dense layer is affine, so the mean may be taken before it.
            outputs = self.output_dense(read_out(states, lengths, self.output_kind))
            valid = lengths[:, None] > 0
        return tf.where(valid, outputs, tf.zeros([], outputs.dtype))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the lengths say what is valid."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "output_size": self.output_size,
            "hidden_dropout_prob": self.hidden_dropout_prob,
            "use_bias": self.use_bias,
            "output": self.output_kind,
        }
