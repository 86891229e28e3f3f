"""The sequence encoder of SASRec and CL4SRec."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from easyssl.layers.encoder_inputs import encoder_inputs
from easyssl.layers.sequence_transformer import SequenceTransformer
from easyssl.registry import register


@register("SASRecEncoder")
class SASRecEncoder(SequenceTransformer):
    """Encodes a behaviour sequence by a transformer in which each step sees only itself and earlier steps.

    With steps x_t and learned positions p_t, the first states are `drop(LN(x_t + p_t))`. Each transformer
    layer, causal self-attention and the network `act(h W1 + b1) W2 + b2`, adds to them; see `EncoderBlock`.
    State t so sums up the steps 0 .. t, and the last one the row.

    Steps behind a row's length are never attended to, and results do not depend on the amount of padding. Of
    a sequence of more than `max_position_embeddings` steps the last ones are kept. Gradients reach all valid
    steps that are kept.

    The defaults are the form of CL4SRec and RecBole's SASRec, which has `hidden_act="gelu"`,
    `intermediate_size=256` and a dropout of 0.5. CL4SRec's formulas have no normalisation of the input:
    `embedding_norm=False`. Close to the first SASRec is `norm_position="pre"`, `embedding_norm=False`,
    `scale_embeddings=True` and one head.

    Args:
        hidden_size: Width of the encoder, a multiple of the number of heads. Steps of another width are
            projected by a dense layer without activation. Defaults to None, which is the width of the input.
        num_hidden_layers: Number of transformer layers. Defaults to 2.
        num_attention_heads: Number of attention heads. Defaults to 2.
        intermediate_size: Width inside of the feed-forward networks. Defaults to None, which is
            `hidden_size`.
        hidden_act: Activation inside of the feed-forward networks. Defaults to "relu".
        hidden_dropout_prob: Dropout rate of the input and before each residual. Defaults to 0.1.
        attention_probs_dropout_prob: Dropout rate of the attention weights. Defaults to 0.1.
        max_position_embeddings: How many of the last steps of a sequence are encoded. Defaults to 512.
        use_position_embeddings: Whether positions are added. Defaults to True.
        scale_embeddings: Whether steps are multiplied by `sqrt(hidden_size)` before positions are added.
            Defaults to False.
        embedding_norm: Whether the sum of steps and positions is normalised. Defaults to True.
        norm_position: "post" for normalisation behind each residual; "pre" for normalisation before the
            attention and the feed-forward network, and once behind the last layer. Defaults to "post".
        initializer_range: Standard deviation of the truncated normal initializer of kernels and positions.
            Defaults to 0.02.
        output: What is returned: "last" for the state of the last valid step, "mean" for the mean of the
            valid states, or "sequence" for all states. Defaults to "last".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive, heads that do not divide the width, rates outside of
            [0, 1), or an unknown activation, `norm_position` or `output`.

    Example:
        >>> sequence, lengths = tf.random.normal([3, 5, 8]), tf.constant([5, 2, 0])
        >>> SASRecEncoder(hidden_size=16)([sequence, lengths]).shape
        TensorShape([3, 16])
        >>> SASRecEncoder(output="sequence")([sequence, lengths]).shape
        TensorShape([3, 5, 8])

    References:
        Kang and McAuley, "Self-attentive sequential recommendation", arXiv 1808.09781.
        Xie et al., "Contrastive learning for sequential recommendation", arXiv 2010.14395.
    """

    causal = True

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Encodes.

        Args:
            inputs: A sequence `[batch, seq_len, dim]` and its lengths `[batch]`; further inputs are ignored.
            training: Whether to drop. Defaults to None, which is False.

        Returns:
            `[batch, hidden_size]`, zeros for rows of length 0; or with `output="sequence"`
            `[batch, min(seq_len, max_position_embeddings), hidden_size]`, zeros for steps that are not valid.
        """
        sequence, lengths = encoder_inputs(inputs)
        return self.encode(sequence, lengths, self.output_kind, training, limit=self.max_position_embeddings)
