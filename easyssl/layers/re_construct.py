"""The third loss of Re4: interests remember the steps they stand for."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.masking import check_reduction, masked_softmax
from easyssl.functional.multi_interest import reconstruction_error
from easyssl.layers.building import build_sublayer, check_longest, check_positive, last_dim
from easyssl.layers.interest_inputs import (
    check_interest_inputs,
    check_preset,
    check_threshold,
    interest_inputs,
)
from easyssl.losses.collect import report_loss
from easyssl.registry import register


@register("ReConstruct")
class ReConstruct(keras.layers.Layer):
    """Rebuilds the steps that an interest stands for from the interest alone.

    Interest z_k is unfolded into one vector per step, `c_k = reshape(W4 z_k + b)`. Step j is rebuilt as
    `y_kj = sum_i beta_kij W5 c_ki` with `beta_kj = softmax_i(w_j . tanh(W3 c_ki))` over the valid steps i.
    The loss is the mean of `|y_kj - x_j|^2 / dim` over all pairs where step j is a positive of interest k,
    that is, has more attention than a threshold; that choice has no gradient. While training it is reported
    as `<layer name>_construct_loss`. Softmax and loss are computed in float32. Without positives it is
    exactly 0. Gradients reach the weights, the interests and, unless they are stopped, the steps; none the
    attention.

    Args:
        max_seq_len: Length of the longest sequence; the weights depend on it.
        bottleneck_dim: Width of a vector c_ki. Defaults to None, which is dim.
        loss_weight: Factor of the loss. Defaults to 1.0.
        threshold: Attention that a positive exceeds. Defaults to None, which is 1 / length.
        target_stop_gradient: Whether the steps themselves do not move; the published code moves them, but
            then embeddings can shrink to make the loss small. Defaults to False.
        preset: "standard", or "official" for the mean of the published code, over all pairs of interests and
            steps, where those that are no positives count as 0; unlike there, padding does not count.
            Defaults to "standard".
        kernel_regularizer: Keras regularizer of the kernels. Defaults to None.
        use_bias: Whether z_k is unfolded with the bias b, as in the published code. Defaults to True.
        reduction: "mean", as above, or "sum" of `|y_kj - x_j|^2`. Defaults to "mean".
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a number out of range, or an unknown preset or reduction.

    Example:
        >>> layer = ReConstruct(max_seq_len=5)
        >>> attention = tf.constant([[[0.6, 0.3, 0.1]]])
        >>> layer([tf.ones([1, 1, 4]), attention, tf.ones([1, 3, 4]), tf.constant([3])]).shape
        TensorShape([])

    References:
        Zhang et al., "Re4: learning to re-contrast, re-attend, re-construct for multi-interest
        recommendation", arXiv 2208.08011.
    """

    def __init__(
        self,
        max_seq_len: int,
        bottleneck_dim: int | None = None,
        loss_weight: float = 1.0,
        threshold: float | None = None,
        target_stop_gradient: bool = False,
        preset: Literal["standard", "official"] = "standard",
        kernel_regularizer: Any = None,
        use_bias: bool = True,
        reduction: Literal["mean", "sum"] = "mean",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # attention is compared with 1 / length in float32
        super().__init__(**kwargs)
        self.max_seq_len = max_seq_len
        self.bottleneck_dim = bottleneck_dim
        self.loss_weight = loss_weight
        self.threshold = threshold
        self.target_stop_gradient = target_stop_gradient
        self.preset = preset
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.use_bias = use_bias
        self.reduction = reduction
        self.supports_masking = True
        check_positive("ReConstruct", max_seq_len=max_seq_len)
        if bottleneck_dim is not None:
            check_positive("ReConstruct", bottleneck_dim=bottleneck_dim)
        check_threshold("ReConstruct", threshold)
        check_preset("ReConstruct", preset)
        check_reduction(reduction)

    def build(self, input_shape: Any) -> None:
        """Creates W4, b if there is one, W3, W5 and the queries w."""
        interests, _, items, _ = check_interest_inputs(self, input_shape)
        dim = last_dim(interests, self)
        if items[1] is not None and items[1] > self.max_seq_len:
            raise ValueError(
                f"ReConstruct '{self.name}': the sequence is longer than max_seq_len. Received: "
                f"seq_len={items[1]}, max_seq_len={self.max_seq_len}"
            )
        width = self.bottleneck_dim or dim
        unfolded = (*interests[:2], self.max_seq_len, width)
        self.unfold_dense = self._dense(self.max_seq_len * width, "unfold", interests, self.use_bias)
        self.hidden_dense = self._dense(width, "hidden", unfolded, activation="tanh")
        self.value_dense = self._dense(dim, "value", unfolded)
        self.queries = self.add_weight(
            name="queries", shape=(self.max_seq_len, width), initializer="glorot_uniform"
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

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Interests before any head `[batch, num_interests, dim]` and attention `[batch,
                num_interests, seq_len]`, as `MultiInterestAttention` gives them; the sequence `[batch,
                seq_len, dim]` and its lengths `[batch]`.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        given = interest_inputs(inputs)
        check_longest(self, given.lengths, self.max_seq_len, "max_seq_len")
        loss = reconstruction_error(
            self.rebuild(given.interests, given.valid),
            tf.stop_gradient(given.items) if self.target_stop_gradient else given.items,
            given.positives(self.threshold),
            over=given.valid if self.preset == "official" else None,
            reduction=self.reduction,
        )
        if training:
            report_loss(self, f"{self.name}_construct_loss", loss, self.loss_weight)
        return loss * self.loss_weight

    def rebuild(self, interests: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        """Rebuilds every step from every interest.

        Args:
            interests: `[batch, num_interests, dim]`.
            valid: bool `[batch, seq_len]`.

        Returns:
            `[batch, num_interests, seq_len, dim]`; of no meaning where a step is not valid.
        """
        shape, steps = tf.shape(interests), tf.shape(valid)[1]
        unfolded = self.unfold_dense(interests)
        width = self.bottleneck_dim or interests.shape[-1]
        unfolded = tf.reshape(unfolded, [shape[0], shape[1], self.max_seq_len, width])
        # More padding than the longest sequence can have adds steps that are not valid.
        unfolded = tf.pad(unfolded, [[0, 0], [0, 0], [0, tf.maximum(steps - self.max_seq_len, 0)], [0, 0]])
        unfolded = unfolded[:, :, :steps]
        queries = tf.convert_to_tensor(self.queries)
        queries = tf.pad(queries, [[0, tf.maximum(steps - self.max_seq_len, 0)], [0, 0]])[:steps]
        hidden = self.hidden_dense(unfolded)
        scores = tf.einsum("bkiw,jw->bkji", hidden, tf.cast(queries, hidden.dtype))
        beta = masked_softmax(scores, valid[:, None, None, :])
        return tf.einsum("bkji,bkid->bkjd", beta, self.value_dense(unfolded))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a scalar has no mask."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        regularizer = self.kernel_regularizer
        names = (
            "max_seq_len",
            "bottleneck_dim",
            "loss_weight",
            "threshold",
            "target_stop_gradient",
            "preset",
            "use_bias",
            "reduction",
        )
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in names},
            "kernel_regularizer": regularizer and keras.regularizers.serialize(regularizer),
        }
