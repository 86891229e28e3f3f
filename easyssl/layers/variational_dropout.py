"""Dropout of features whose rates are learned, to rank the features."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.random import add_random_state, advance, uniform
from easyssl.layers.building import input_shapes, last_dim
from easyssl.layers.number_outputs import float32_weight
from easyssl.losses.collect import report_loss, report_metric

_TEMPERATURE = 0.1
_SMALLEST = 1e-7


@keras.utils.register_keras_serializable(package="easyssl")
class VariationalDropout(keras.layers.Layer):
    """Drops features with probabilities that are learned: those that the loss misses least, most often.

    Feature i has a logit, `p_i = sigmoid(logit_i)` is the probability that it is dropped. While training, it
    is multiplied by a relaxed sample of "kept", drawn anew for each row from u, uniform in (0, 1),

    `1 - sigmoid((logit_i + log u - log(1 - u)) / 0.1)`,

    which is close to 0 or 1 and passes a gradient to the logit; otherwise by `1 - p_i`. The penalty
    `regularization_lambda / batch * sum_i (1 - p_i)` on what is kept is reported while training as
    `<layer name>_loss`, and the mean of `1 - p_i` as the metric `<layer name>_kept`. After training, `p`
    ranks the features; a high one says that the model does without.

    Logits start at 0. They, the samples and the penalty are float32.

    Args:
        regularization_lambda: Strength of the penalty. Defaults to 0.01.
        embedding_wise_variational_dropout: Whether each dimension of a feature has a probability of its own.
            Defaults to False.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If `regularization_lambda` is negative.

    Example:
        >>> layer = VariationalDropout()
        >>> age, city = layer([tf.ones([2, 1]), tf.ones([2, 3])])
        >>> city.numpy().tolist()[0]
        [0.5, 0.5, 0.5]

    References:
        Ma et al., "Towards a better tradeoff between effectiveness and efficiency in pre-ranking: a learnable
        feature selection based approach", SIGIR 2021; Gal et al., "Concrete dropout", NeurIPS 2017.
    """

    def __init__(
        self,
        regularization_lambda: float = 0.01,
        embedding_wise_variational_dropout: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{"autocast": False, **kwargs})
        if not regularization_lambda >= 0:
            raise ValueError(
                "VariationalDropout: `regularization_lambda` must not be negative. Received: "
                f"{regularization_lambda}"
            )
        self.regularization_lambda = regularization_lambda
        self.embedding_wise_variational_dropout = embedding_wise_variational_dropout
        self.seed = seed

    def build(self, input_shape: Any) -> None:
        """Creates the logits and the random state."""
        shapes = input_shapes(input_shape)
        if any(len(shape) != 2 for shape in shapes):
            raise ValueError(
                f"VariationalDropout '{self.name}' takes features [batch, width]. Received shapes: {shapes}"
            )
        widths = [last_dim(shape, self) for shape in shapes]
        self._sizes = widths if self.embedding_wise_variational_dropout else [1] * len(widths)
        self.logits = float32_weight(self, "logits", (sum(self._sizes),), keras.initializers.Zeros())
        self.random_state = add_random_state(self, self.seed)
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> list[tf.Tensor]:
        """Multiplies each feature by what is kept of it.

        Args:
            inputs: The features, `[batch, width]` each.
            training: Whether to draw samples and to report the penalty. Defaults to None, which is False.

        Returns:
            The features, in the same order.
        """
        features = [tf.cast(feature, self.compute_dtype) for feature in inputs]
        logits = tf.convert_to_tensor(self.logits)
        if not training:
            kept = tf.sigmoid(-logits)[tf.newaxis]
        else:
            batch = tf.shape(features[0])[0]
            drawn = uniform(advance(self.random_state), tf.stack([batch, tf.shape(logits)[0]]))
            noise = tf.math.log(drawn + _SMALLEST) - tf.math.log(1.0 - drawn + _SMALLEST)
            kept = tf.sigmoid(-(logits + noise) / _TEMPERATURE)
            shares = tf.sigmoid(-logits)
            # A replica without rows computes a dummy row, so there always is one.
            penalty = tf.reduce_sum(shares) / tf.cast(tf.maximum(batch, 1), tf.float32)
            report_loss(self, f"{self.name}_loss", penalty, self.regularization_lambda)
            report_metric(self, f"{self.name}_kept", tf.reduce_mean(shares))
        factors = tf.split(kept, self._sizes, axis=1)
        return [x * tf.cast(factor, x.dtype) for x, factor in zip(features, factors, strict=True)]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the input's shapes."""
        return list(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "regularization_lambda": self.regularization_lambda,
            "embedding_wise_variational_dropout": self.embedding_wise_variational_dropout,
            "seed": self.seed,
        }
