"""The parameter-personalized network of PEPNet."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.layers.building import build_sublayer, input_shapes, last_dim
from easyssl.layers.gate_nn import GateNN
from easyssl.layers.mlp import MLP
from easyssl.layers.nested import nested_config, nested_layer
from easyssl.registry import register

_MODES = ("eager", "lazy")


@register("PPNet")
class PPNet(keras.layers.Layer):
    """An MLP whose values are scaled by factors that depend on who is asked for.

    The inputs are x and that of the gates, such as the embeddings of user and author. In mode "eager" x is
    multiplied by a gate's factors before the first layer, and so is what every layer but the last gives; in
    mode "lazy" it is what every layer gives. Each gate has two layers and ends in `2 * sigmoid`. With
    `full_gate_input` the gates see x, too, always the one that came in, and pass no gradient to it.

    EasyRec has two defaults for the mode, "eager" in a typed message and "lazy" in `st_params`. A config of
    this library has them, too; the constructor's is "eager".

    Args:
        mlp: Parameters of the MLP, such as `{"hidden_units": [64, 32]}`.
        gate_params: Parameters of the gates: `hidden_dim` (the width of what the gate scales),
            `activation` ("relu"), `use_bn` (False: both layers have a bias instead), `dropout_rate` (none),
            and `output_dim`, which says again how wide x is and acts in mode "eager" only. None for the
            defaults. Defaults to None.
        mode: "eager" or "lazy". Defaults to "eager".
        full_gate_input: Whether the gates see x, too. Defaults to True.
        kernel_regularizer: Keras regularizer of the MLP's kernels, not of the gates. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown mode and parameters that the parts do not take.

    Example:
        >>> layer = PPNet({"hidden_units": [8, 4]}, gate_params={"hidden_dim": 6})
        >>> layer([tf.zeros([3, 10]), tf.zeros([3, 5])]).shape
        TensorShape([3, 4])

    References:
        Chang et al., "PEPNet: parameter and embedding personalized network for infusing with personalized
        prior information", arXiv 2302.01115.
    """

    def __init__(
        self,
        mlp: dict[str, Any],
        gate_params: dict[str, Any] | None = None,
        mode: Literal["eager", "lazy"] = "eager",
        full_gate_input: bool = True,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if mode not in _MODES:
            raise ValueError(f"PPNet: unknown mode '{mode}'{nearest(mode, _MODES)}")
        self.mode = mode
        self.full_gate_input = full_gate_input
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self.mlp = nested_layer(self, MLP, mlp, "mlp", kernel_regularizer=self.kernel_regularizer)
        # Items, because Keras wraps a dict that a layer holds, and its wrapper is no JSON.
        self._gate_params = None if gate_params is None else tuple(gate_params.items())
        scaled = self.mlp.hidden_units if mode == "lazy" else self.mlp.hidden_units[:-1]
        self.gates = [self._gate(width, f"gate_{index}") for index, width in enumerate(scaled)]
        self.input_gate: GateNN | None = None

    def _gate(self, width: int, name: str) -> GateNN:
        parameters = {**dict(self._gate_params or ()), "output_dim": width}
        return nested_layer(self, GateNN, parameters, name, "gate_params")

    def build(self, input_shape: Any) -> None:
        """Creates the weights of the MLP and of the gates."""
        shapes = input_shapes(input_shape)
        if len(shapes) != 2 or any(len(shape) != 2 for shape in shapes):
            raise ValueError(
                f"PPNet '{self.name}' takes two inputs, [batch, dim] and that of the gates, "
                f"[batch, gate_dim]. Received shapes: {shapes}"
            )
        width, gate_width = (last_dim(shape, self) for shape in shapes)
        told = dict(self._gate_params or ()).get("output_dim")
        if self.mode == "eager":
            if told not in (None, width):
                raise ValueError(
                    f"PPNet '{self.name}': `output_dim` of `gate_params` must be the width of the input, "
                    f"{width}. Received: output_dim={told}"
                )
            self.input_gate = self._gate(width, "input_gate")
        if self.full_gate_input:
            gate_width += width
        build_sublayer(self.mlp, shapes[0])
        for gate in self._all_gates():
            build_sublayer(gate, (shapes[1][0], gate_width))
        super().build(input_shape)

    def _all_gates(self) -> list[GateNN]:
        return [*([] if self.input_gate is None else [self.input_gate]), *self.gates]

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Applies the MLP and the gates.

        Args:
            inputs: x `[batch, dim]` and the input of the gates `[batch, gate_dim]`.
            training: Whether to drop entries and to use the statistics of the batch. Defaults to None.

        Returns:
            `[batch, units of the MLP's last layer]`.

        Raises:
            ValueError: For other inputs, and in mode "eager" for an `output_dim` that is not the width of x.
        """
        x, seen = inputs
        if self.full_gate_input:
            seen = tf.concat([tf.stop_gradient(x), seen], axis=-1)
        if self.input_gate is not None:
            x *= self.input_gate(seen, training=training)
        gates = [*self.gates, None] if self.mode == "eager" else self.gates
        for block, gate in zip(self.mlp.blocks, gates, strict=True):
            x = block(x, mask=None, training=training)
            if gate is not None:
                x *= gate(seen, training=training)
        return x

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        return {
            **super().get_config(),
            "mlp": nested_config(self.mlp),
            "gate_params": None if self._gate_params is None else dict(self._gate_params),
            "mode": self.mode,
            "full_gate_input": self.full_gate_input,
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
