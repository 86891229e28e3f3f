"""A classifier that representations learn to deceive."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.masking import weighted_mean
from easyssl.functional.selection import first_argmax
from easyssl.layers.building import build_sublayer, check_positive, input_shapes, last_dim
from easyssl.layers.gradient_reversal import GradientReversal
from easyssl.losses.collect import report_loss, report_metric
from easyssl.registry import register


@register("AdversarialClassifier")
class AdversarialClassifier(keras.layers.Layer):
    """Classifies representations and makes them useless for it.

    A gradient reversal, a linear map to `num_classes` logits, and the cross-entropy to the label:

    `L = -logits[label] + log sum_c exp(logits[c])`, averaged over rows by weight.

    While training it is reported as `<layer name>_adversarial_loss`. The classifier's weights descend it with
    the gradient `loss_weight * dL`; what made the representations ascends it with `-factor * loss_weight *
    dL`. For a weight lambda of the adversarial term, set `loss_weight` to lambda and leave `factor` at 1, or
    the representations feel lambda squared.

    Representations are free of the label when the classifier does no better than one that sees nothing.
    While training, three metrics tell: `<layer name>_accuracy` beside `<layer name>_chance_accuracy`, the
    share of the batch's most frequent label, and `<layer name>_chance_cross_entropy`, the entropy of the
    batch's labels, beside the loss.

    A row with a negative label has weight 0. A label of `num_classes` or more is an error on the CPU, and NaN
    where TensorFlow cannot raise one. Everything is computed in float32.

    S4Rec has neither bias nor schedule, as the defaults; the schedule is that of the first reference.

    Args:
        num_classes: Number of classes.
        loss_weight: Factor of the loss. Defaults to 1.0.
        factor: Factor of the reversed gradient. Defaults to 1.0.
        schedule: "constant", or "dann", which raises the factor from 0; see `GradientReversal`. Defaults to
            "constant".
        gamma: How steep the rise of "dann" is. Defaults to 10.0.
        num_steps: Calls in training over which "dann" rises. Defaults to None.
        use_bias: Whether the linear map has a bias. Defaults to False.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If there are fewer than two classes, or for arguments that `GradientReversal` refuses.

    Example:
        >>> layer = AdversarialClassifier(2)
        >>> features = tf.zeros([4, 8])
        >>> round(float(layer([features, tf.constant([0, 1, 1, 1])])), 4)  # log 2
        0.6931

    References:
        Ganin et al., "Domain-adversarial training of neural networks", arXiv 1505.07818; Wei et al., "Leave
        no one behind: online self-supervised self-distillation for sequential recommendation", arXiv
        2404.07219.
    """

    def __init__(
        self,
        num_classes: int,
        loss_weight: float = 1.0,
        factor: float = 1.0,
        schedule: Literal["constant", "dann"] = "constant",
        gamma: float = 10.0,
        num_steps: int | None = None,
        use_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # labels and weights keep their precision
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.loss_weight = loss_weight
        self.factor = factor
        self.schedule = schedule
        self.gamma = gamma
        self.num_steps = num_steps
        self.use_bias = use_bias
        self.supports_masking = True
        check_positive("AdversarialClassifier", num_classes=num_classes)
        if num_classes < 2:
            raise ValueError(
                f"AdversarialClassifier: `num_classes` must be at least 2. Received: {num_classes}"
            )
        self.reversal = GradientReversal(factor, schedule, gamma, num_steps, dtype="float32", name="reversal")
        self.classifier = keras.layers.Dense(
            num_classes, use_bias=use_bias, dtype="float32", name="classifier"
        )

    def build(self, input_shape: Any) -> None:
        """Creates the classifier's weights."""
        shapes = input_shapes(input_shape)
        vectors = [len(shape) == 1 or (len(shape) == 2 and shape[1] in (1, None)) for shape in shapes[1:]]
        if len(shapes) not in (2, 3) or len(shapes[0]) != 2 or not all(vectors):
            raise ValueError(
                f"AdversarialClassifier '{self.name}' takes representations [batch, dim], labels [batch] and "
                f"optionally weights [batch]. Received shapes: {shapes}"
            )
        last_dim(shapes[0], self)
        build_sublayer(self.reversal, shapes[0])
        build_sublayer(self.classifier, shapes[0])
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Representations `[batch, dim]`; labels `[batch]` or `[batch, 1]`; optionally weights of
                the same shape.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        labels = tf.cast(tf.reshape(inputs[1], [-1]), tf.int32)
        weights = tf.cast(labels >= 0, tf.float32)
        if len(inputs) == 3:
            weights *= tf.cast(tf.reshape(inputs[2], [-1]), tf.float32)
        labels = tf.maximum(labels, 0)
        features = self.reversal(tf.cast(inputs[0], tf.float32), training=training)
        logits = self.classifier(features)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)
        loss = weighted_mean(losses, weights)
        if training:
            report_loss(self, f"{self.name}_adversarial_loss", loss, self.loss_weight)
            self._report(logits, labels, weights)
        return loss * self.loss_weight

    def _report(self, logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> None:
        right = tf.cast(first_argmax(logits) == labels, tf.float32)
        total = tf.reduce_sum(weights)
        counts = tf.reduce_sum(tf.one_hot(labels, self.num_classes) * weights[:, None], axis=0)
        shares = tf.math.divide_no_nan(counts, total)
        accuracy = tf.math.divide_no_nan(tf.reduce_sum(right * weights), total)
        report_metric(self, f"{self.name}_accuracy", accuracy)
        report_metric(self, f"{self.name}_chance_accuracy", tf.reduce_max(shares))
        entropy = -tf.reduce_sum(tf.math.xlogy(shares, shares))
        report_metric(self, f"{self.name}_chance_cross_entropy", entropy)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a scalar has no mask."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "loss_weight": self.loss_weight,
            "factor": self.factor,
            "schedule": self.schedule,
            "gamma": self.gamma,
            "num_steps": self.num_steps,
            "use_bias": self.use_bias,
        }
