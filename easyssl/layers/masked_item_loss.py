"""A loss of hidden items against items drawn at random."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.masking import weighted_mean
from easyssl.functional.negatives import draw_items
from easyssl.functional.random import add_random_state, advance
from easyssl.layers.building import build_sublayer, fit_together, input_shapes, last_dim
from easyssl.losses.collect import report_loss
from easyssl.registry import register

_LOSS_TYPES = ("ranking", "binary")


@register("MaskedItemLoss")
class MaskedItemLoss(keras.layers.Layer):
    """Ranks the items that a `ClozeMask` hid above items drawn at random: masked item prediction of S3-Rec.

    With the state h of a hidden step, its item e and one drawn uniformly, e', the scores are `s = (W h) . e`
    and `s' = (W h) . e'`. "ranking" is `-log sigmoid(s - s')`, "binary" is
    `-log sigmoid(s) - log(1 - sigmoid(s'))`. The mean over all hidden steps is reported as
    `<layer name>_masked_item_loss` while training. It is exactly 0, with a zero gradient, where nothing is
    hidden.

    Items are drawn from the candidates, or without those from what is hidden in the batch. A draw that equals
    the hidden item does not count. Gradients reach states, items, candidates and W. Scores are computed in
    float32. Nothing is drawn without `training`, and the loss is then 0.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.0.
        loss_type: "ranking" or "binary". Defaults to "ranking".
        projection: Whether there is a W; without it h is compared with the items itself. Defaults to True.
        squashed: Whether scores pass a sigmoid first, as in the published code of S3-Rec; "ranking" then lies
            between 0.31 and 1.31. Defaults to False.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For an unknown loss type.

    Example:
        >>> from easyssl.losses import collect_losses
        >>> layer = MaskedItemLoss(projection=False, name="mip")
        >>> states, hidden = tf.constant([[[2.0, 0.0], [0.0, 0.0]]]), tf.constant([[True, False]])
        >>> with collect_losses() as collected:
        ...     loss = layer([states, hidden, states, tf.constant([[0.0, 5.0]])], training=True)
        >>> round(float(collected.terms["mip_masked_item_loss"].value), 6)  # log(1 + e^-4)
        0.01815

    References:
        Zhou et al., "S3-Rec: self-supervised learning for sequential recommendation with mutual information
        maximization", arXiv 2008.07873.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        loss_type: Literal["ranking", "binary"] = "ranking",
        projection: bool = True,
        squashed: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # the inputs arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.loss_weight = loss_weight
        self.loss_type = loss_type
        self.projection = projection
        self.squashed = squashed
        self.seed = seed
        self.supports_masking = True
        if loss_type not in _LOSS_TYPES:
            raise ValueError(
                f"MaskedItemLoss: unknown loss_type '{loss_type}'{nearest(loss_type, _LOSS_TYPES)}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates the projection and the random state."""
        shapes = input_shapes(input_shape)
        fits = [len(shape) for shape in shapes] in ([3, 2, 3], [3, 2, 3, 2])
        if fits:
            states, hidden, items = shapes[:3]
            fits = fit_together(states[1], hidden[1], items[1])
            fits &= fit_together(items[2], *[shape[1] for shape in shapes[3:]])
            fits &= self.projection or fit_together(states[2], items[2])
        if not fits:
            raise ValueError(
                f"MaskedItemLoss '{self.name}' takes states [batch, seq_len, dim], which steps are hidden "
                "[batch, seq_len], items [batch, seq_len, item_dim] and optionally candidates [n, item_dim], "
                "where without `projection` item_dim is dim. Received shapes: " + str(shapes)
            )
        self.dense: Any = None
        if self.projection:
            self.dense = keras.layers.Dense(
                last_dim(shapes[2], self), use_bias=False, dtype="float32", name="projection"
            )
            build_sublayer(self.dense, shapes[0])
        self.random_state = add_random_state(self, self.seed)
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss and reports it if `training`.

        Args:
            inputs: States `[batch, seq_len, dim]` of a sequence some of whose steps were hidden; which ones,
                bool `[batch, seq_len]`; what the items of the steps really are, `[batch, seq_len, item_dim]`;
                and optionally the candidates, `[n, item_dim]`.
            training: Whether to draw. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        states, hidden, items, *candidates = inputs
        if not training:
            return tf.zeros([])
        hidden = tf.cast(hidden, tf.bool)
        shape = tf.shape(items)
        if candidates:
            pool, size = candidates[0], tf.shape(candidates[0])[0]
        else:
            pool = tf.reshape(items, [shape[0] * shape[1], shape[2]])
            size = tf.reduce_sum(tf.cast(hidden, tf.int32))
        drawn = draw_items(advance(self.random_state), shape[:2], tf.maximum(size, 1))
        if not candidates:
            flat = tf.cast(tf.reshape(hidden, [-1]), tf.int32)
            drawn = tf.gather(tf.argsort(flat, direction="DESCENDING", stable=True), drawn)
        loss = self._loss(states, hidden, items, tf.gather(pool, drawn))
        report_loss(self, f"{self.name}_masked_item_loss", loss, self.loss_weight)
        return loss * self.loss_weight

    def _loss(self, states: tf.Tensor, hidden: tf.Tensor, items: tf.Tensor, drawn: tf.Tensor) -> tf.Tensor:
        counted = hidden & tf.reduce_any(items != drawn, axis=2)
        # A step that does not count is 0, whatever is there.
        states, items, drawn = (
            tf.where(counted[:, :, None], tf.cast(x, tf.float32), 0.0) for x in (states, items, drawn)
        )
        guesses = states if self.dense is None else self.dense(states)
        right, wrong = (tf.reduce_sum(guesses * x, axis=2) for x in (items, drawn))
        if self.squashed:
            right, wrong = tf.sigmoid(right), tf.sigmoid(wrong)
        if self.loss_type == "ranking":
            losses = tf.nn.softplus(wrong - right)
        else:
            losses = tf.nn.softplus(-right) + tf.nn.softplus(wrong)
        return weighted_mean(tf.reshape(losses, [-1]), tf.cast(tf.reshape(counted, [-1]), tf.float32))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a scalar has no mask."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("loss_weight", "loss_type", "projection", "squashed", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
