"""Several interests of a row, each with its own attention over the row's sequence."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.masking import length_mask, masked_softmax
from easyssl.layers.building import build_sublayer, check_longest, check_positive, input_shapes, last_dim
from easyssl.registry import register

_OUTPUT_HEADS = ("none", "tanh_fc")


@register("MultiInterestAttention")
class MultiInterestAttention(keras.layers.Layer):
    """Sums a sequence up in several vectors, by self-attention.

    With steps x_i, the attention of interest k is `a_k = softmax_i(w_k . tanh(W1 x_i))` over the valid steps,
    and the interest is `z_k = sum_i a_ki W2 x_i`. Without positions the order of the steps does not matter.
    With them the attention sees `x_i + p_i`, the sum still x_i. A row of length 0 gets interests and
    attention of zeros; padding may hold anything. The softmax runs in float32 under every policy, and the
    attention is handed out so. Gradients reach all valid steps, through attention and sum.

    ComiRec-SA is `value_projection=False` with `max_position_embeddings`; Re4 is the default, and its
    published code also has `output_head="tanh_fc"`.

    Args:
        num_interests: Number of interests.
        hidden_size: Width inside of the attention. Defaults to None, which is 4 * dim, as in both papers'
            code.
        value_projection: Whether steps are multiplied by W2 before they are summed. Defaults to True.
        max_position_embeddings: Number of position vectors, at least the longest sequence; None for no
            positions. Defaults to None.
        output_head: "tanh_fc" for the interests `tanh(W z_k + b)`, or "none" for z_k. Defaults to "none".
        output_attention: Whether z and the attention are handed out, too, as `ReContrast`, `ReAttend` and
            `ReConstruct` need them. Defaults to False.
        kernel_regularizer: Keras regularizer of the kernels. Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a size that is not positive or an unknown head.

    Example:
        >>> layer = MultiInterestAttention(num_interests=4, output_attention=True)
        >>> interests, z, attention = layer([tf.random.normal([2, 5, 8]), tf.constant([5, 3])])
        >>> interests.shape, attention.shape
        (TensorShape([2, 4, 8]), TensorShape([2, 4, 5]))

    References:
        Cen et al., "Controllable multi-interest framework for recommendation", arXiv 2005.09347.
        Zhang et al., "Re4: learning to re-contrast, re-attend, re-construct for multi-interest
        recommendation", arXiv 2208.08011.
    """

    def __init__(
        self,
        num_interests: int,
        hidden_size: int | None = None,
        value_projection: bool = True,
        max_position_embeddings: int | None = None,
        output_head: Literal["none", "tanh_fc"] = "none",
        output_attention: bool = False,
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_interests = num_interests
        self.hidden_size = hidden_size
        self.value_projection = value_projection
        self.max_position_embeddings = max_position_embeddings
        self.output_head = output_head
        self.output_attention = output_attention
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        sizes = {"num_interests": num_interests}
        for name in ("hidden_size", "max_position_embeddings"):
            if getattr(self, name) is not None:
                sizes[name] = getattr(self, name)
        check_positive("MultiInterestAttention", **sizes)
        if output_head not in _OUTPUT_HEADS:
            raise ValueError(
                f"MultiInterestAttention: unknown output_head '{output_head}'"
                f"{nearest(output_head, _OUTPUT_HEADS)}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shapes = input_shapes(input_shape)
        if [len(shape) for shape in shapes[:2]] != [3, 1]:
            raise ValueError(
                f"MultiInterestAttention '{self.name}' takes a sequence [batch, seq_len, dim] and lengths "
                f"[batch]. Received shapes: {shapes}"
            )
        shape = shapes[0]
        dim = last_dim(shape, self)
        hidden = self.hidden_size or 4 * dim
        self.hidden_dense = self._dense(hidden, "hidden", shape, activation="tanh")
        self.score_dense = self._dense(self.num_interests, "score", (*shape[:2], hidden))
        self.value_dense = self._dense(dim, "value", shape) if self.value_projection else None
        self.head_dense: Any = None
        if self.output_head == "tanh_fc":
            interests = (shape[0], self.num_interests, dim)
            self.head_dense = self._dense(dim, "head", interests, use_bias=True, activation="tanh")
        if self.max_position_embeddings is not None:
            self.position_table = self.add_weight(
                name="position_table",
                shape=(self.max_position_embeddings, dim),
                initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            )
        super().build(input_shape)

    def _dense(self, units: int, name: str, shape: Any, use_bias: bool = False, **options: Any) -> Any:
        dense = keras.layers.Dense(
            units,
            use_bias=use_bias,
            kernel_initializer="glorot_uniform",
            kernel_regularizer=self.kernel_regularizer,
            dtype=self.dtype_policy,
            name=name,
            **options,
        )
        build_sublayer(dense, shape)
        return dense

    def call(self, inputs: Any) -> Any:
        """Attends.

        Args:
            inputs: A sequence `[batch, seq_len, dim]` and its lengths `[batch]`; further inputs are ignored.

        Returns:
            The interests `[batch, num_interests, dim]`. With `output_attention` a tuple of them; of z, which
            are the interests before the head; and of the attention, float32 `[batch, num_interests,
            seq_len]`.
        """
        sequence, lengths = inputs[0], tf.cast(inputs[1], tf.int32)
        steps = tf.shape(sequence)[1]
        valid = length_mask(lengths, steps)[:, None, :]
        scores = self.score_dense(self.hidden_dense(self._placed(sequence, lengths)))
        scores = tf.transpose(tf.cast(scores, tf.float32), [0, 2, 1])
        attention = masked_softmax(scores, valid)
        values = sequence if self.value_dense is None else self.value_dense(sequence)
        # Whatever is in the padding, times a weight of 0, shall be 0.
        values = tf.where(valid[:, 0, :, None], values, tf.zeros([], values.dtype))
        z = tf.matmul(tf.cast(attention, values.dtype), values)
        interests = z if self.head_dense is None else self._head(z, lengths)
        return (interests, z, attention) if self.output_attention else interests

    def _placed(self, sequence: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """Returns the sequence with position vectors added."""
        longest = self.max_position_embeddings
        if longest is None:
            return sequence
        check_longest(self, lengths, longest, "max_position_embeddings")
        places = tf.minimum(tf.range(tf.shape(sequence)[1]), longest - 1)
        table = tf.cast(tf.convert_to_tensor(self.position_table), sequence.dtype)
        return sequence + tf.gather(table, places)[None]

    def _head(self, z: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        interests = self.head_dense(z)
        return tf.where(lengths[:, None, None] > 0, interests, tf.zeros([], interests.dtype))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: interests are no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        names = (
            "num_interests",
            "hidden_size",
            "value_projection",
            "max_position_embeddings",
            "output_head",
            "output_attention",
        )
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
