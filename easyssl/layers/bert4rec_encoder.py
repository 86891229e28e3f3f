"""The sequence encoder of BERT4Rec."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.sequences import append_step, last_steps
from easyssl.layers.building import last_dim
from easyssl.layers.encoder_inputs import check_encoder_inputs, encoder_inputs
from easyssl.layers.sequence_transformer import SequenceTransformer
from easyssl.registry import register


@register("BERT4RecEncoder")
class BERT4RecEncoder(SequenceTransformer):
    """Encodes a behaviour sequence by a transformer in which each step sees all steps of its row.

    It is trained by a cloze task, and serves by filling the gap behind the sequence. One trained vector, the
    [mask], marks gaps in both:

    - called with a sequence and lengths, it puts [mask] behind the last valid step of each row and returns
      the state there, which is to be like the next item;
    - called with the outputs of `ClozeMask`, it puts [mask] in the place of the chosen steps and returns the
      states of all steps, whatever `output` is. Those at the chosen steps are for a loss.

    With `output` "mean" or "sequence" nothing is put behind the sequence.

    Steps behind a row's length are never attended to, and results do not depend on the amount of padding. Of
    a sequence that, with its [mask], has more than `max_position_embeddings` steps, the last ones are kept. A
    row of length 0 gives zeros. Gradients reach all valid steps that are kept, and [mask].

    Args:
        hidden_size: Width of the encoder, a multiple of the number of heads. Steps of another width are
            projected by a dense layer without activation. Defaults to None, which is the width of the input.
        num_hidden_layers: Number of transformer layers. Defaults to 2.
        num_attention_heads: Number of attention heads. Defaults to 2.
        intermediate_size: Width inside of the feed-forward networks. Defaults to None, which is
            `hidden_size`.
        hidden_act: Activation inside of the feed-forward networks. Defaults to "gelu".
        hidden_dropout_prob: Dropout rate of the input and before each residual. Defaults to 0.1.
        attention_probs_dropout_prob: Dropout rate of the attention weights. Defaults to 0.1.
        max_position_embeddings: How many steps are encoded at most, [mask] included; at least 2. Defaults to
            512.
        use_position_embeddings: Whether positions are added. Defaults to True.
        scale_embeddings: Whether steps are multiplied by `sqrt(hidden_size)` before positions are added.
            Defaults to False.
        embedding_norm: Whether the sum of steps and positions is normalised. Defaults to True.
        norm_position: "post" for normalisation behind each residual; "pre" for normalisation before the
            attention and the feed-forward network, and once behind the last layer. Defaults to "post".
        initializer_range: Standard deviation of the truncated normal initializer of kernels, positions and
            [mask]. Defaults to 0.02.
        output: What is returned of a sequence that no `ClozeMask` chose steps of: "last" for the state of the
            appended [mask], "mean" for the mean of the valid states, or "sequence" for all states. Defaults
            to "last".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive, heads that do not divide the width, rates outside of
            [0, 1), or an unknown activation, `norm_position` or `output`.

    Example:
        >>> from easyssl.layers import ClozeMask
        >>> sequence, lengths = tf.random.normal([3, 5, 8]), tf.constant([5, 2, 0])
        >>> encoder = BERT4RecEncoder(max_position_embeddings=5)
        >>> encoder([sequence, lengths]).shape
        TensorShape([3, 8])
        >>> encoder(ClozeMask()([sequence, lengths], training=True), training=True).shape
        TensorShape([3, 5, 8])

    References:
        Sun et al., "BERT4Rec: sequential recommendation with bidirectional encoder representations from
        transformer", arXiv 1904.06690.
    """

    causal = False

    def __init__(
        self,
        hidden_size: int | None = None,
        num_hidden_layers: int = 2,
        num_attention_heads: int = 2,
        intermediate_size: int | None = None,
        hidden_act: str = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        use_position_embeddings: bool = True,
        scale_embeddings: bool = False,
        embedding_norm: bool = True,
        norm_position: Literal["post", "pre"] = "post",
        initializer_range: float = 0.02,
        output: Literal["last", "mean", "sequence"] = "last",
        **kwargs: Any,
    ) -> None:
        super().__init__(
            hidden_size=hidden_size,
            num_hidden_layers=num_hidden_layers,
            num_attention_heads=num_attention_heads,
            intermediate_size=intermediate_size,
            hidden_act=hidden_act,
            hidden_dropout_prob=hidden_dropout_prob,
            attention_probs_dropout_prob=attention_probs_dropout_prob,
            max_position_embeddings=max_position_embeddings,
            use_position_embeddings=use_position_embeddings,
            scale_embeddings=scale_embeddings,
            embedding_norm=embedding_norm,
            norm_position=norm_position,
            initializer_range=initializer_range,
            output=output,
            **kwargs,
        )
        if max_position_embeddings < 2:
            raise ValueError(
                "BERT4RecEncoder: `max_position_embeddings` must have room for a step and [mask]. Received: "
                f"max_position_embeddings={max_position_embeddings}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shape = check_encoder_inputs(self, input_shape)[0]
        self.mask_vector = self.add_weight(
            name="mask_vector",
            shape=(last_dim(shape, self),),
            initializer=keras.initializers.TruncatedNormal(stddev=self.initializer_range),
        )
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Encodes.

        Args:
            inputs: A sequence `[batch, seq_len, dim]`, its lengths `[batch]` and, if steps of it are to be
                hidden, which ones, bool `[batch, seq_len]`. Inputs of another dtype in this place, and
                further ones, are ignored.
            training: Whether to drop. Defaults to None, which is False.

        Returns:
            `[batch, hidden_size]`, zeros for rows of length 0; or, if steps are hidden or with
            `output="sequence"`, `[batch, min(seq_len, max_position_embeddings), hidden_size]`, zeros for
            steps that are not valid.
        """
        sequence, lengths = encoder_inputs(inputs)
        longest = self.max_position_embeddings
        mask_vector = tf.cast(tf.convert_to_tensor(self.mask_vector), sequence.dtype)
        hidden = tf.convert_to_tensor(inputs[2]) if len(inputs) > 2 and inputs[2] is not None else None
        if hidden is not None and hidden.dtype == tf.bool:
            sequence = tf.where(hidden[:, :, None], mask_vector, sequence)
            sequence, lengths = last_steps(sequence, lengths, longest)
            return self.encode(sequence, lengths, "sequence", training)
        if self.output_kind != "last":
            sequence, lengths = last_steps(sequence, lengths, longest)
            return self.encode(sequence, lengths, self.output_kind, training)
        sequence, lengths = last_steps(sequence, lengths, longest - 1)
        sequence = append_step(sequence, lengths, mask_vector)
        lengths = tf.where(lengths > 0, lengths + 1, 0)
        return self.encode(sequence, lengths, "last", training)
