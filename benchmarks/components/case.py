"""What is measured: sizes, and a component next to the plainest formulation of the same formula."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

Arrays = list[np.ndarray]
Function = Callable[..., tf.Tensor]


@dataclasses.dataclass(frozen=True)
class Sizes:
    """The sizes that costs depend on; a case grows one of them at a time.

    Attributes:
        batch: Rows; vectors of a vocabulary for what maps item by item.
        seq: Padded length of a sequence.
        fill: Share of a sequence's steps that are not padding.
        dim: Width of a vector.
        prototypes: Number of prototypes.
        experts: Number of experts.
        interests: Number of interests of a row.
        fields: Number of fields of a row.
    """

    batch: int = 256
    seq: int = 32
    fill: float = 0.5
    dim: int = 64
    prototypes: int = 64
    experts: int = 4
    interests: int = 4
    fields: int = 16

    @property
    def tokens(self) -> float:
        """Steps of all rows that are not padding."""
        return self.batch * self.seq * self.fill


@dataclasses.dataclass(frozen=True)
class Case:
    """A component, and how its cost should grow.

    Attributes:
        name: What `--only` selects it by.
        axes: The sizes that grow: a field of `Sizes` -> its values, rising.
        inputs: Makes the inputs; gradients are taken for those that are float.
        make: Makes the component and the plain formulation, two functions of the inputs that return what is
            differentiated. The first is called first, so the second may use weights that the first builds.
        work: Multiplications of the formula, up to a factor.
        memory: Numbers that the formula has to keep, up to a factor.
        same: Whether both return the same, that is, nothing is drawn at random.
        base: The sizes that do not grow.
    """

    name: str
    axes: Mapping[str, Sequence[float]]
    inputs: Callable[[Sizes], Arrays]
    make: Callable[[Sizes], tuple[Function, Function]]
    work: Callable[[Sizes], float]
    memory: Callable[[Sizes], float]
    same: bool = True
    base: Sizes = Sizes()


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    """Returns standard normal numbers, always the same for a shape and seed."""
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def lengths(sizes: Sizes) -> np.ndarray:
    """Returns a length for each row, `seq * fill` on average, at least 1."""
    drawn = np.random.default_rng(sizes.seq).binomial(sizes.seq, sizes.fill, sizes.batch)
    return np.maximum(drawn, 1).astype(np.int32)


def valid_steps(row_lengths: np.ndarray, seq: int) -> np.ndarray:
    """Returns which steps are not padding, bool `[batch, seq]`."""
    return np.arange(seq)[None, :] < row_lengths[:, None]


def unit(vectors: tf.Tensor) -> tf.Tensor:
    """Scales vectors to length 1."""
    return vectors / tf.norm(vectors, axis=-1, keepdims=True)


def project(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Multiplies the last axis by a matrix; `@` would form the kernel's gradient once for each row first."""
    return tf.tensordot(x, tf.convert_to_tensor(kernel), 1)
