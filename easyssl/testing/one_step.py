"""One step of `fit` with any model, whatever its outputs are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow import keras


def fit_once(model: Any, inputs: Any) -> tuple[str, ...]:
    """Trains a functional model for one step.

    Args:
        model: The model.
        inputs: A batch, in the form of the model's inputs.

    Returns:
        The names of the weights that no gradient reaches.
    """
    trainer = _OneStep(model.inputs, tf.nest.flatten(model.outputs), name="one_step")
    trainer.compile(optimizer=keras.optimizers.SGD(0.01), jit_compile=False)
    batches = tf.data.Dataset.from_tensors((tuple(tf.nest.flatten(inputs)),))
    trainer.fit(batches, verbose=0, shuffle=False)
    return trainer.unreached


def loss_of(outputs: Any) -> tf.Tensor:
    """Returns a scalar that depends on all outputs; 0 if they are all integers."""
    terms = [tf.constant(0.0)]
    for x in tf.nest.flatten(outputs):
        if x.dtype.is_floating:
            x = tf.cast(x, tf.float32)
            # The sum and the sum of squares of what is normalised do not move; this moves.
            wave = tf.reshape(tf.sin(tf.range(1.0, tf.cast(tf.size(x), tf.float32) + 1.0)), tf.shape(x))
            terms.append(tf.reduce_mean(tf.square(x) + wave * x))
    return tf.add_n(terms)


@contextmanager
def unoptimized_graphs() -> Iterator[None]:
    """Switches off TensorFlow's graph optimiser, which takes longer than a few small steps."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        after = {"disable_meta_optimizer": before.get("disable_meta_optimizer", False)}
        tf.config.optimizer.set_experimental_options(after)


class _OneStep(keras.Model):
    """A functional model whose loss is `loss_of` its outputs and what its layers add."""

    unreached: tuple[str, ...] = ()

    @tf.autograph.experimental.do_not_convert
    def train_step(self, data: Any) -> dict[str, Any]:
        (inputs,) = data
        with tf.GradientTape() as tape:
            loss = tf.add_n([loss_of(self(inputs, training=True)), *self.losses])
        variables = self.trainable_variables
        gradients = tape.gradient(loss, variables)
        self.unreached = tuple(
            variable.name for variable, gradient in zip(variables, gradients, strict=True) if gradient is None
        )
        pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
        if pairs:
            self.optimizer.apply_gradients(pairs)
        return {"loss": loss}
