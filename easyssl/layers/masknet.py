"""Mask blocks side by side or in a row."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.building import build_sublayer, input_shapes, last_dim
from easyssl.layers.layer_norm import LayerNorm
from easyssl.layers.mask_block import MaskBlock
from easyssl.layers.mlp import MLP
from easyssl.layers.nested import nested_config, nested_layer
from easyssl.registry import register

_EPSILON = 1e-3


@register("MaskNet")
class MaskNet(keras.layers.Layer):
    """Mask blocks on one input, and an MLP on what they give.

    The input x is normalised over the last axis first, with epsilon 1e-3. Side by side, every block gets x
    twice and the outputs are joined; in a row, each block multiplies the output of the one before, at first
    x, with a mask made of x.

    Args:
        mask_blocks: Parameters of each MaskBlock, such as `{"aggregation_size": 64, "output_size": 32}`; at
            least one.
        use_parallel: Whether the blocks are side by side. Defaults to True.
        mlp: Parameters of an MLP on the result, such as `{"hidden_units": [64]}`; None for none. Defaults to
            None.
        input_layer_norm: Whether x is normalised first. Defaults to True.
        kernel_regularizer: Keras regularizer of the MLP's kernels, and of those that MaskBlock has it for.
            Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For no blocks, and parameters that the parts do not take.

    Example:
        >>> block = {"reduction_factor": 2.0, "output_size": 4}
        >>> MaskNet([block, block], mlp={"hidden_units": [5]})(tf.zeros([3, 8])).shape
        TensorShape([3, 5])

    References:
        Wang et al., "MaskNet: introducing feature-wise multiplication to CTR ranking models by
        instance-guided mask", arXiv 2102.07619.
    """

    def __init__(
        self,
        mask_blocks: list[dict[str, Any]],
        use_parallel: bool = True,
        mlp: dict[str, Any] | None = None,
        input_layer_norm: bool = True,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.use_parallel = use_parallel
        self.input_layer_norm = input_layer_norm
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        if not mask_blocks:
            raise ValueError("MaskNet: `mask_blocks` must hold at least one block. Received: mask_blocks=[]")
        self.norm = LayerNorm(_EPSILON, dtype=self.dtype_policy, name="norm") if input_layer_norm else None
        l2 = {"kernel_regularizer": self.kernel_regularizer}
        self.blocks = [
            nested_layer(self, MaskBlock, block, f"block_{index}", f"mask_blocks[{index}]", **l2)
            for index, block in enumerate(mask_blocks)
        ]
        self.mlp = None if mlp is None else nested_layer(self, MLP, mlp, "mlp", **l2)

    def build(self, input_shape: Any) -> None:
        """Creates the weights of the parts."""
        (shape,) = input_shapes(input_shape)
        if self.norm is not None:
            build_sublayer(self.norm, shape)
        widths: list[int] = []
        for block in self.blocks:
            before = widths[-1] if widths and not self.use_parallel else last_dim(shape, self)
            build_sublayer(block, [(*shape[:-1], before), shape])
            widths.append(block.output_size or before)
        if self.mlp is not None:
            build_sublayer(self.mlp, (*shape[:-1], sum(widths) if self.use_parallel else widths[-1]))
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """Applies the blocks.

        Args:
            inputs: `[batch, dim]`.
            training: Handed to the MLP. Defaults to None.

        Returns:
            `[batch, width]`: of the MLP; without one that of all blocks side by side, or of the last in a
            row.
        """
        x = inputs if self.norm is None else self.norm(inputs)
        if self.use_parallel:
            output = tf.concat([block([x, x]) for block in self.blocks], axis=-1)
        else:
            output = x
            for block in self.blocks:
                output = block([output, x])
        return output if self.mlp is None else self.mlp(output, training=training)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        return {
            **super().get_config(),
            "mask_blocks": [nested_config(block) for block in self.blocks],
            "use_parallel": self.use_parallel,
            "mlp": nested_config(self.mlp),
            "input_layer_norm": self.input_layer_norm,
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
