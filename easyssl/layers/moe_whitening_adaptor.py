"""A mixture of learned whitenings, from vectors of a text model to item representations."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.masking import weighted_mean
from easyssl.functional.normal import normal
from easyssl.functional.packing import Packing, pack, packing_of, packing_of_mask, unpack
from easyssl.functional.random import add_random_state, advance
from easyssl.functional.whitening import whitening_mixture
from easyssl.layers.building import (
    build_sublayer,
    check_positive,
    check_rate,
    input_shapes,
    last_dim,
)
from easyssl.layers.dropout import Dropout
from easyssl.losses.collect import report_metric
from easyssl.registry import register

_GATE_INPUTS = ("input", "dropped")


@register("MoEWhiteningAdaptor")
class MoEWhiteningAdaptor(keras.layers.Layer):
    """Maps vectors by a mixture of parametric whitenings that a noisy gate weighs.

    Expert k is `(dropout(x) - b_k) W_k`, without output bias or activation. The gate is

    `g = softmax(x G + noise * (softplus(x N) + noise_floor))`, with standard normal noise while training and
    none otherwise,

    and the output `sum_k g_k expert_k(x)`: every expert takes part, none is cut off. Shifts b, G and N start
    at 0, kernels W normal with a standard deviation of 0.02, so the gate starts uniform but for the noise.

    Each vector, and each step of a sequence, is mapped on its own. The gate is computed in float32. Memory
    does not grow with the number of experts. Gradients reach the input, experts and gate, and the spread of
    the noise. The defaults are those of UniSRec's code.

    A sequence may come with lengths or a mask; its invalid steps then are not computed (but under XLA) and
    come out as zeros, which an expert would not give by itself. While training, three metrics say over the
    valid vectors of a batch how the gate works: `<layer name>_max_load` and `<layer name>_min_load`, the
    largest and the smallest mean weight of an expert, both `1 / num_experts` where all are used alike; and
    `<layer name>_gate_entropy`, the mean entropy of a vector's weights, from 0, one expert each, to
    `log(num_experts)`.

    Args:
        units: Output width.
        num_experts: Number of whitenings. Defaults to 8.
        dropout: Rate of the dropout on the experts' input, while training. Defaults to 0.2.
        gate_noise: Whether the gate is noisy while training. Defaults to True.
        noise_floor: Least standard deviation of the noise; UniSRec's code has 0.01, its paper 0. Defaults to
            0.01.
        gate_input: What the gate sees: "input", or "dropped", the same after the dropout. Defaults to
            "input".
        seed: Seed of dropout and noise; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If a number is out of range or `gate_input` unknown.

    Example:
        >>> layer = MoEWhiteningAdaptor(16, num_experts=4)
        >>> layer(tf.random.normal([8, 32])).shape
        TensorShape([8, 16])
        >>> steps, lengths = layer([tf.random.normal([2, 5, 32]), tf.constant([5, 2])])
        >>> bool(tf.reduce_any(steps[1, 2:] != 0))
        False

    References:
        Hou et al., "Towards universal sequence representation learning for recommender systems", KDD 2022.
    """

    def __init__(
        self,
        units: int,
        num_experts: int = 8,
        dropout: float = 0.2,
        gate_noise: bool = True,
        noise_floor: float = 0.01,
        gate_input: Literal["input", "dropped"] = "input",
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.num_experts = num_experts
        self.dropout = dropout
        self.gate_noise = gate_noise
        self.noise_floor = noise_floor
        self.gate_input = gate_input
        self.seed = seed
        self.supports_masking = True
        check_positive("MoEWhiteningAdaptor", units=units, num_experts=num_experts)
        check_rate("MoEWhiteningAdaptor", "dropout", dropout)
        if not noise_floor >= 0:
            raise ValueError(
                f"MoEWhiteningAdaptor: `noise_floor` must not be negative. Received: {noise_floor}"
            )
        if gate_input not in _GATE_INPUTS:
            raise ValueError(
                f"MoEWhiteningAdaptor: unknown gate_input '{gate_input}'{nearest(gate_input, _GATE_INPUTS)}"
            )
        self.drop = Dropout(dropout, seed, dtype=self.dtype_policy, name="dropout") if dropout > 0 else None

    def build(self, input_shape: Any) -> None:
        """Creates the experts, the gate and the random state."""
        shapes = input_shapes(input_shape)
        if len(shapes[0]) not in (2, 3) or (len(shapes) > 1 and (len(shapes[0]), len(shapes[1])) != (3, 1)):
            raise ValueError(
                f"MoEWhiteningAdaptor '{self.name}' takes [batch, in_dim] or [batch, seq_len, in_dim], the "
                f"latter optionally with lengths [batch]. Received shapes: {shapes}"
            )
        width = last_dim(shapes[0], self)
        small = keras.initializers.RandomNormal(stddev=0.02)
        experts = self.num_experts
        self.shifts = self.add_weight(name="shifts", shape=(experts, width), initializer="zeros")
        self.kernels = self.add_weight(name="kernels", shape=(experts, width, self.units), initializer=small)
        self.gate_kernel = self.add_weight(name="gate_kernel", shape=(width, experts), initializer="zeros")
        if self.gate_noise:
            self.noise_kernel = self.add_weight(
                name="noise_kernel", shape=(width, experts), initializer="zeros"
            )
            # Not the stream that the dropout draws from.
            self.random_state = add_random_state(self, None if self.seed is None else self.seed ^ 1)
        if self.drop is not None:
            build_sublayer(self.drop, shapes[0])
        super().build(input_shape)

    def call(self, inputs: Any, mask: Any = None, training: bool | None = None) -> Any:
        """Maps the last axis.

        Args:
            inputs: `[batch, in_dim]` or `[batch, seq_len, in_dim]`; or a list of the latter and lengths
                `[batch]`. Further inputs, such as the target of a group in sequence mode, are ignored.
            mask: bool `[batch, seq_len]`, which steps are valid, if there are no lengths. Defaults to None.
            training: Whether there are dropout, noise and metrics. Defaults to None, which is False.

        Returns:
            `[batch, units]` or `[batch, seq_len, units]`; with lengths, a pair of that and the lengths.
        """
        if not isinstance(inputs, list | tuple):
            vectors = tf.convert_to_tensor(inputs)
            if mask is not None and vectors.shape.rank == 3:
                return self._adapt_steps(vectors, packing_of_mask(tf.cast(mask, tf.bool)), training)
            flat = self._adapt(tf.reshape(vectors, [-1, vectors.shape[-1]]), None, training)
            return tf.reshape(flat, tf.concat([tf.shape(vectors)[:-1], [self.units]], axis=0))
        vectors, lengths = tf.convert_to_tensor(inputs[0]), tf.cast(inputs[1], tf.int32)
        steps = tf.shape(vectors)[1]
        return self._adapt_steps(vectors, packing_of(tf.minimum(lengths, steps), steps), training), lengths

    def _adapt_steps(self, vectors: tf.Tensor, packing: Packing, training: bool | None) -> tf.Tensor:
        # Without a valid step there is a token that is none, and under XLA all steps are tokens.
        weights = tf.cast(tf.gather_nd(packing.mask, packing.coordinates), tf.float32)
        steps = unpack(self._adapt(pack(vectors, packing), weights, training), packing)
        return tf.where(packing.mask[:, :, None], steps, tf.zeros([], steps.dtype))

    def _adapt(self, x: tf.Tensor, weights: tf.Tensor | None, training: bool | None) -> tf.Tensor:
        dropped = x if self.drop is None else self.drop(x, training=training)
        gate = self._gate(x if self.gate_input == "input" else dropped, training)
        shifts, kernels = (tf.cast(weight, x.dtype) for weight in (self.shifts, self.kernels))
        if training:
            self._report(gate, tf.ones_like(gate[:, 0]) if weights is None else weights)
        return whitening_mixture(dropped, gate, shifts, kernels)

    def _gate(self, x: tf.Tensor, training: bool | None) -> tf.Tensor:
        x = tf.cast(x, tf.float32)
        logits = tf.matmul(x, tf.cast(self.gate_kernel, tf.float32))
        if training and self.gate_noise:
            spread = tf.nn.softplus(tf.matmul(x, tf.cast(self.noise_kernel, tf.float32)))
            logits += normal(advance(self.random_state), tf.shape(logits)) * (spread + self.noise_floor)
        return tf.nn.softmax(logits)

    def _report(self, gate: tf.Tensor, weights: tf.Tensor) -> None:
        count = tf.maximum(tf.reduce_sum(weights), 1.0)
        load = tf.reduce_sum(gate * weights[:, None], axis=0) / count
        entropy = -tf.reduce_sum(tf.math.xlogy(gate, gate), axis=1)
        report_metric(self, f"{self.name}_max_load", tf.reduce_max(load))
        report_metric(self, f"{self.name}_min_load", tf.reduce_min(load))
        report_metric(self, f"{self.name}_gate_entropy", weighted_mean(entropy, weights))

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Returns the mask of a single input; where there are lengths, they say what is valid."""
        return None if isinstance(inputs, list | tuple) else mask

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "num_experts": self.num_experts,
            "dropout": self.dropout,
            "gate_noise": self.gate_noise,
            "noise_floor": self.noise_floor,
            "gate_input": self.gate_input,
            "seed": self.seed,
        }
