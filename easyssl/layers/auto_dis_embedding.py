"""Numbers as soft mixtures of the embeddings of learned bins."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.initial import glorot_limit
from easyssl.functional.numbers import soft_bins
from easyssl.layers.building import check_positive
from easyssl.layers.number_outputs import float32_weight, num_features, number_outputs
from easyssl.registry import register


@register("AutoDisEmbedding")
class AutoDisEmbedding(keras.layers.Layer):
    """Embeds each number by a mixture of its feature's bin embeddings, whose shares are learned.

    `h = leaky_relu(w_i x_i)` with the slope 0.2, `u = M_i h + keep_prob * h`, `a = softmax(u / temperature)`
    and `e_i = sum_k a_k E_i[k]`, with weights of their own for each feature i.

    The shares are computed in float32 under every dtype policy, of numbers as they come in. The weights start
    as "glorot_uniform" does for the matrices of one feature.

    Args:
        embedding_dim: Width per feature.
        num_bins: Number of bins per feature.
        temperature: Divisor of the scores of the bins, positive. The lower it is, the more one bin prevails.
        keep_prob: Weight of the skip connection; it has nothing to do with dropout. Defaults to 0.8.
        output_3d_tensor: Whether to return `[batch, num_features, embedding_dim]`, too. Defaults to False.
        output_tensor_list: Whether to return a list of `[batch, embedding_dim]`, too; goes before
            `output_3d_tensor`. Defaults to False.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes or a temperature that are not positive.

    Example:
        >>> layer = AutoDisEmbedding(4, num_bins=10, temperature=0.1, output_3d_tensor=True)
        >>> joined, fields = layer(tf.constant([[0.5, 20.0, 3.0]]))
        >>> joined.shape, fields.shape
        (TensorShape([1, 12]), TensorShape([1, 3, 4]))

    References:
        Guo et al., "An embedding learning framework for numerical features in CTR prediction", arXiv
        2012.08986.
    """

    def __init__(
        self,
        embedding_dim: int,
        num_bins: int,
        temperature: float,
        keep_prob: float = 0.8,
        output_3d_tensor: bool = False,
        output_tensor_list: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.num_bins = num_bins
        self.temperature = temperature
        self.keep_prob = keep_prob
        self.output_3d_tensor = output_3d_tensor
        self.output_tensor_list = output_tensor_list
        self.supports_masking = True
        check_positive("AutoDisEmbedding", embedding_dim=embedding_dim, num_bins=num_bins)
        if not temperature > 0:
            raise ValueError(
                f"AutoDisEmbedding: `temperature` must be positive. Received: temperature={temperature}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates the slopes, the mixing matrices and the embeddings of the bins."""
        count = num_features(self, input_shape)
        bins, dim = self.num_bins, self.embedding_dim
        self.slopes = self._weight("slopes", (count, bins), glorot_limit(1, bins))
        self.mixing = self._weight("mixing", (count, bins, bins), glorot_limit(bins, bins))
        self.embeddings = self._weight("embeddings", (count, bins, dim), glorot_limit(bins, dim))
        super().build(input_shape)

    def _weight(self, name: str, shape: tuple[int, ...], limit: float) -> Any:
        return float32_weight(self, name, shape, keras.initializers.RandomUniform(-limit, limit))

    def call(self, inputs: tf.Tensor) -> Any:
        """Embeds.

        Args:
            inputs: Numbers `[batch, num_features]`.

        Returns:
            `[batch, num_features * embedding_dim]`, or a tuple of that and the form that was asked for.

        Raises:
            ValueError: For an input that is no matrix.
        """
        slopes, mixing, embeddings = (
            tf.convert_to_tensor(w) for w in (self.slopes, self.mixing, self.embeddings)
        )
        shares = soft_bins(inputs, slopes, mixing, self.keep_prob, self.temperature)
        embedded = tf.cast(tf.einsum("bnk,nkd->bnd", shares, embeddings), self.compute_dtype)
        return number_outputs(embedded, self.output_tensor_list, self.output_3d_tensor)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "num_bins": self.num_bins,
            "temperature": self.temperature,
            "keep_prob": self.keep_prob,
            "output_3d_tensor": self.output_3d_tensor,
            "output_tensor_list": self.output_tensor_list,
        }
