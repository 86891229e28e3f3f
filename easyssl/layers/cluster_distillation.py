"""Distillation from prototypes to the rows that are assigned to them."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.functional.prototypes import cluster_distillation, row_weights
from easyssl.functional.selection import first_argmax
from easyssl.functional.similarity import check_similarity
from easyssl.layers.building import fit_together, input_shapes
from easyssl.losses.collect import report_loss
from easyssl.registry import register


@register("ClusterDistillation")
class ClusterDistillation(keras.layers.Layer):
    """Teaches views of a row what its prototype looks like.

    The teacher is the prototype mu to which the row is assigned, the students are views z of the row. The
    loss is the sum over views of `KL(softmax(mu / temperature) || softmax(z / temperature))`, averaged over
    rows, where both softmaxes run over the dim coordinates of a vector, not over prototypes. While training
    it is reported as `<layer name>_distillation_loss`.

    A row's prototype is where its assignment is largest, the first one of several; no gradient flows through
    that choice. The prototypes learn nothing from their students unless `teacher_gradient`. A row counts if
    its length is positive and none of its views is zero; without such a row the loss is exactly 0. Everything
    is computed in float32.

    The paper names 0.1 and 1 as temperatures, and leaves open whether vectors are normalised and whether the
    teacher moves: the defaults are choices of this layer.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.0.
        temperature: Divisor of the coordinates. Coordinates of vectors of length 1 are small: at 1.0 both
            softmaxes are nearly uniform and the loss nearly 0. Defaults to 0.1.
        normalize: Whether both sides are scaled to length 1 first. Defaults to True.
        teacher_gradient: Whether prototypes also move towards their rows. Defaults to False.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a temperature that is not positive.

    Example:
        >>> layer = ClusterDistillation(temperature=1.0)
        >>> assignments, prototypes = tf.constant([[0.9, 0.1]]), tf.eye(2)
        >>> round(float(layer([assignments, prototypes, tf.constant([[0.0, 1.0]])])), 4)
        0.4621

    References:
        Wei et al., "Leave no one behind: online self-supervised self-distillation for sequential
        recommendation", arXiv 2404.07219.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        temperature: float = 0.1,
        normalize: bool = True,
        teacher_gradient: bool = False,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # the inputs arrive in the precision they were computed in
        super().__init__(**kwargs)
        self.loss_weight = loss_weight
        self.temperature = temperature
        self.normalize = normalize
        self.teacher_gradient = teacher_gradient
        self.supports_masking = True
        check_similarity("dot", temperature)

    def build(self, input_shape: Any) -> None:
        """Checks the shapes; there are no weights."""
        shapes = input_shapes(input_shape)
        ranks = [len(shape) for shape in shapes]
        count = ranks.count(2)
        fits = count >= 3 and ranks in ([2] * count, [*[2] * count, 1])
        if fits:
            assignments, *vectors = shapes[:count]
            fits = fit_together(*(shape[1] for shape in vectors))
            fits &= fit_together(assignments[1], vectors[0][0])
        if not fits:
            raise ValueError(
                f"ClusterDistillation '{self.name}' takes assignments [batch, num_prototypes], prototypes "
                "[num_prototypes, dim], one or more views [batch, dim] and optionally lengths [batch]. "
                f"Received shapes: {shapes}"
            )
        super().build(input_shape)

    def call(self, inputs: list[tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Computes the loss, and reports it if `training`.

        Args:
            inputs: Assignments `[batch, num_prototypes]` and prototypes `[num_prototypes, dim]`, as
                `SinkhornClustering` gives them; one or more views `[batch, dim]`; optionally lengths
                `[batch]`.
            training: Whether to report. Defaults to None, which is False.

        Returns:
            The weighted loss, a float32 scalar.
        """
        assignments, prototypes, *rest = inputs
        views = [x for x in rest if len(x.shape) == 2]
        if not self.teacher_gradient:
            prototypes = tf.stop_gradient(prototypes)
        loss = cluster_distillation(
            views,
            tf.gather(prototypes, first_argmax(assignments)),
            normalize=self.normalize,
            temperature=self.temperature,
            weights=row_weights(views, *rest[len(views) :]),
        )
        if training:
            report_loss(self, f"{self.name}_distillation_loss", loss, self.loss_weight)
        return loss * self.loss_weight

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: a scalar has no mask."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = ("loss_weight", "temperature", "normalize", "teacher_gradient")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
