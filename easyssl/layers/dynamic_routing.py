"""Several interests of a row, by dynamic routing."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.masking import length_mask
from easyssl.functional.normal import normal
from easyssl.functional.random import add_random_state, advance
from easyssl.functional.routing import even_logits, number_of_interests, route
from easyssl.functional.sequences import last_steps
from easyssl.layers.building import build_sublayer, check_positive, last_dim
from easyssl.layers.encoder_inputs import check_encoder_inputs, encoder_inputs
from easyssl.registry import register

_MAPS = ("shared", "per_step")
_INITIAL_LOGITS = ("normal", "zeros")


@register("DynamicRouting")
class DynamicRouting(keras.layers.Layer):
    """Sums a sequence up in several vectors, by dynamic routing of its steps.

    Steps x_i vote with `u_i = S x_i`. From logits b_ik on, `num_iterations` times, each valid step is shared
    out by `w_i = softmax_k(b_i)`, the interests are `z_k = squash(sum_i w_ik u_i)` with
    `squash(v) = |v|^2 / (1 + |v|^2) * v / |v|`, and `u_i . z_k` is added to b_ik. ReLU layers on each
    interest may follow. All but these layers is computed in float32 under every policy.

    MIND is the default: one S for all steps, and logits drawn from N(0, `logits_stddev`^2), anew in each call
    and never trained; they are what tells the interests apart. Without `training` nothing is drawn: the
    logits are then those of `easyssl.functional.routing.even_logits`, the same for all rows, so that a model
    serves the same answer each time. ComiRec-DR is `maps="per_step"`, where each place in the sequence has a
    matrix of its own for each interest, and `initial_logits="zeros"`.

    A row of length 0 gives zeros, and padding may hold anything. With `stop_gradient`, the gradient takes the
    weights of the last iteration as constants.

    Args:
        num_interests: Number of interests.
        num_iterations: Number of iterations. Defaults to 3.
        maps: "shared" for one matrix, where the order of the steps does not matter but for the logits; or
            "per_step" for a matrix for each interest and each place in the sequence, of which the last
            `max_seq_len` steps are kept. Defaults to "shared".
        max_seq_len: How many steps "per_step" has matrices for. Defaults to None.
        initial_logits: "normal" or "zeros". With "shared" it has to be "normal": all interests would be
            equal. Defaults to "normal".
        logits_stddev: Standard deviation of "normal". Defaults to 1.0.
        dynamic_interests: Whether a row of length n has but `max(1, min(num_interests, floor(log2 n)))`
            interests. The others repeat the first one, which changes no largest score. Defaults to False.
        stop_gradient: Whether all iterations but the last are constants to the gradient. Defaults to True.
        output_size: Width of the votes, and of interests without `hidden_units`. Defaults to None, which is
            the width of the input.
        hidden_units: Widths of dense layers with ReLU on each interest. Defaults to None, which is none.
        user_input: Whether there is a third input, a vector of the user, that is put beside each interest
            before the dense layers. Defaults to False.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For a number out of range, an unknown name, or parameters that do not go together.

    Example:
        >>> layer = DynamicRouting(num_interests=4, hidden_units=[32, 8])
        >>> layer([tf.random.normal([3, 5, 8]), tf.constant([5, 2, 0])]).shape
        TensorShape([3, 4, 8])

    References:
        Li et al., "Multi-interest network with dynamic routing for recommendation at Tmall", arXiv
        1904.08030.
        Cen et al., "Controllable multi-interest framework for recommendation", arXiv 2005.09347.
    """

    def __init__(
        self,
        num_interests: int,
        num_iterations: int = 3,
        maps: Literal["shared", "per_step"] = "shared",
        max_seq_len: int | None = None,
        initial_logits: Literal["normal", "zeros"] = "normal",
        logits_stddev: float = 1.0,
        dynamic_interests: bool = False,
        stop_gradient: bool = True,
        output_size: int | None = None,
        hidden_units: list[int] | None = None,
        user_input: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_interests = num_interests
        self.num_iterations = num_iterations
        self.maps = maps
        self.max_seq_len = max_seq_len
        self.initial_logits = initial_logits
        self.logits_stddev = logits_stddev
        self.dynamic_interests = dynamic_interests
        self.stop_gradient = stop_gradient
        self.output_size = output_size
        self.hidden_units = list(hidden_units or [])
        self.user_input = user_input
        self.seed = seed
        self.supports_masking = True
        self._check()

    def _check(self) -> None:
        sizes = {"num_interests": self.num_interests, "num_iterations": self.num_iterations}
        for name in ("max_seq_len", "output_size"):
            if getattr(self, name) is not None:
                sizes[name] = getattr(self, name)
        check_positive("DynamicRouting", **sizes)
        for units in self.hidden_units:
            check_positive("DynamicRouting", hidden_units=units)
        for name, known in (("maps", _MAPS), ("initial_logits", _INITIAL_LOGITS)):
            if (value := getattr(self, name)) not in known:
                raise ValueError(f"DynamicRouting: unknown {name} '{value}'{nearest(value, known)}")
        if not self.logits_stddev > 0:
            raise ValueError(
                f"DynamicRouting: `logits_stddev` must be positive. Received: {self.logits_stddev}"
            )
        if (self.maps == "per_step") != (self.max_seq_len is not None):
            raise ValueError(
                "DynamicRouting: `max_seq_len` is for maps='per_step', which needs it. Received: "
                f"maps='{self.maps}', max_seq_len={self.max_seq_len}"
            )
        if self.maps == "shared" and self.initial_logits == "zeros" and self.num_interests > 1:
            raise ValueError(
                "DynamicRouting: with maps='shared' and initial_logits='zeros' all interests are equal; use "
                "initial_logits='normal' or maps='per_step'"
            )
        if self.user_input and not self.hidden_units:
            raise ValueError("DynamicRouting: `user_input` needs `hidden_units`, which would see it")

    def build(self, input_shape: Any) -> None:
        """Creates all weights."""
        shapes = check_encoder_inputs(self, input_shape)
        if self.user_input and [len(shape) for shape in shapes[2:3]] != [2]:
            raise ValueError(
                f"DynamicRouting '{self.name}' takes a vector of the user [batch, dim] as its third input, "
                f"because of `user_input`. Received shapes: {shapes}"
            )
        dim = last_dim(shapes[0], self)
        width = self.output_size or dim
        shape: tuple[int, ...] = (dim, width)
        if self.max_seq_len is not None:
            shape = (self.max_seq_len, dim, self.num_interests, width)
        limit = (6.0 / (dim + width)) ** 0.5  # Glorot's, for each matrix
        self.kernel = self.add_weight(
            name="kernel", shape=shape, initializer=keras.initializers.RandomUniform(-limit, limit)
        )
        self.random_state = add_random_state(self, self.seed) if self.initial_logits == "normal" else None
        self.hidden = []
        width += last_dim(shapes[2], self) if self.user_input else 0
        for index, units in enumerate(self.hidden_units):
            dense = keras.layers.Dense(
                units, activation="relu", dtype=self.dtype_policy, name=f"hidden_{index}"
            )
            build_sublayer(dense, (shapes[0][0], self.num_interests, width))
            self.hidden.append(dense)
            width = units
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Routes.

        Args:
            inputs: A sequence `[batch, seq_len, dim]`, its lengths `[batch]` and, with `user_input`, a vector
                of the user `[batch, user_dim]`; further inputs are ignored.
            training: Whether logits are drawn. Defaults to None, which is False.

        Returns:
            The interests `[batch, num_interests, width]`.
        """
        sequence, lengths = encoder_inputs(inputs)
        if self.max_seq_len is not None:
            sequence, lengths = last_steps(sequence, lengths, self.max_seq_len)
        steps = tf.shape(sequence)[1]
        valid = length_mask(lengths, steps)
        used = None
        if self.dynamic_interests:
            count = number_of_interests(lengths, self.num_interests)
            used = tf.range(self.num_interests)[None, :] < count[:, None]
        interests = route(
            self._votes(sequence, valid),
            valid,
            self._logits(tf.shape(sequence)[0], steps, training),
            num_iterations=self.num_iterations,
            stop_gradient=self.stop_gradient,
            used=used,
        )
        if used is not None:
            interests = tf.where(used[:, :, None], interests, interests[:, :1])
        interests = tf.cast(interests, self.compute_dtype)
        return self._head(interests, lengths, inputs) if self.hidden else interests

    def _votes(self, sequence: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        # Whatever is in the padding must not reach the gradient of the matrices.
        sequence = tf.where(valid[:, :, None], tf.cast(sequence, tf.float32), 0.0)
        kernel = tf.cast(tf.convert_to_tensor(self.kernel), tf.float32)
        if self.max_seq_len is None:
            return tf.einsum("bld,dh->blh", sequence, kernel)
        return tf.einsum("bld,ldkh->blkh", sequence, kernel[: tf.shape(sequence)[1]])

    def _logits(self, rows: tf.Tensor, steps: tf.Tensor, training: bool | None) -> tf.Tensor:
        if self.random_state is None:
            return tf.zeros([1, steps, self.num_interests])
        if not training:
            return self.logits_stddev * even_logits(steps, self.num_interests)[None]
        # Time comes first, so that more padding appends random numbers instead of moving them.
        drawn = normal(advance(self.random_state), tf.stack([steps, rows, self.num_interests]))
        return self.logits_stddev * tf.transpose(drawn, [1, 0, 2])

    def _head(self, interests: tf.Tensor, lengths: tf.Tensor, inputs: Any) -> tf.Tensor:
        if self.user_input:
            user = tf.cast(inputs[2], interests.dtype)[:, None, :]
            interests = tf.concat([interests, tf.repeat(user, self.num_interests, axis=1)], axis=2)
        for dense in self.hidden:
            interests = dense(interests)
        return tf.where(lengths[:, None, None] > 0, interests, tf.zeros([], interests.dtype))

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: interests are no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        names = (
            "num_interests",
            "num_iterations",
            "maps",
            "max_seq_len",
            "initial_logits",
            "logits_stddev",
            "dynamic_interests",
            "stop_gradient",
            "output_size",
            "user_input",
            "seed",
        )
        config = {name: getattr(self, name) for name in names}
        return {**super().get_config(), **config, "hidden_units": list(self.hidden_units) or None}
