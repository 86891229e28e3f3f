"""Numbers as embeddings of their digits in several bases."""

from __future__ import annotations

from typing import Any, Literal

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.functional.numbers import digits, num_digits, whole_numbers
from easyssl.layers.building import check_positive
from easyssl.layers.number_outputs import float32_weight, joined, num_features, number_outputs
from easyssl.registry import register

_POOLINGS = ("sum", "mean")


@register("NaryDisEmbedding")
class NaryDisEmbedding(keras.layers.Layer):
    """Embeds each number by the embeddings of its digits in several bases.

    A number is multiplied by `multiplier` and cut to an int32. For each base c, its digits in c have a row
    each, which belongs to the feature, the base, the digit's position and its value. The rows of one base
    are added up, or averaged, and the bases joined: the width per feature is
    `embedding_dim * len(carries)`.

    A feature has `sum_c c * n_c` rows, with n_c the number of digits that 2^32 - 1 has in c. All n_c
    positions count for every number, zeros in front of its first digit included. What EasyRec's closed
    operation does with negative numbers is not known; here -k has the digits of 2^32 - k, so that the sign
    makes a difference. Numbers outside of the range of int32 become the nearest in it, and NaN 0.

    Args:
        embedding_dim: Width per base.
        carries: The bases, each at least 2.
        multiplier: Factor of the numbers; 10 keeps one decimal place. Defaults to 1.0.
        intra_ary_pooling: "sum" or "mean" over the digits of one base. Defaults to "sum".
        inter_ary_pooling: How the bases become one vector; only "concat" was ever defined. Defaults to
            "concat".
        output_3d_tensor: Whether to return `[batch, num_features, width]`, too. Defaults to False.
        output_tensor_list: Whether to return a list of `[batch, width]`, too; goes before
            `output_3d_tensor`. Defaults to False.
        num_replicas: Number of independent sets of rows. Defaults to 1.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For sizes that are not positive, no bases, a base below 2, or an unknown pooling.

    Example:
        >>> layer = NaryDisEmbedding(embedding_dim=4, carries=[2, 9], multiplier=100.0)
        >>> layer(tf.constant([[0.5, -20.0, 3.0]])).shape
        TensorShape([1, 24])

    References:
        Chen et al., "Numerical feature representation with hybrid N-ary encoding", CIKM 2022.
    """

    def __init__(
        self,
        embedding_dim: int,
        carries: list[int],
        multiplier: float = 1.0,
        intra_ary_pooling: Literal["sum", "mean"] = "sum",
        inter_ary_pooling: Literal["concat"] = "concat",
        output_3d_tensor: bool = False,
        output_tensor_list: bool = False,
        num_replicas: int = 1,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # half precision would cut digits off
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.carries = tuple(carries)
        self.multiplier = multiplier
        self.intra_ary_pooling = intra_ary_pooling
        self.inter_ary_pooling = inter_ary_pooling
        self.output_3d_tensor = output_3d_tensor
        self.output_tensor_list = output_tensor_list
        self.num_replicas = num_replicas
        self.supports_masking = True
        self._check()

    def _check(self) -> None:
        check_positive("NaryDisEmbedding", embedding_dim=self.embedding_dim, num_replicas=self.num_replicas)
        if not self.carries or any(base != int(base) or base < 2 for base in self.carries):
            raise ValueError(
                "NaryDisEmbedding: `carries` must hold bases of 2 or more. "
                f"Received: carries={list(self.carries)}"
            )
        for name, known in (("intra_ary_pooling", _POOLINGS), ("inter_ary_pooling", ("concat",))):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"NaryDisEmbedding: unknown {name} '{value}'{nearest(value, known)}")

    def build(self, input_shape: Any) -> None:
        """Creates a table with the rows of all features for each replica."""
        shape = (num_features(self, input_shape) * self._rows, self.embedding_dim)
        self.tables = [
            float32_weight(self, f"table_{index}", shape, keras.initializers.RandomUniform(-0.05, 0.05))
            for index in range(self.num_replicas)
        ]
        super().build(input_shape)

    @property
    def _rows(self) -> int:
        return sum(base * num_digits(base) for base in self.carries)

    def call(self, inputs: tf.Tensor) -> Any:
        """Embeds.

        Args:
            inputs: Numbers `[batch, num_features]`.

        Returns:
            With `width = embedding_dim * len(carries)`: `[batch, num_features * width]`, or a tuple of that
            and the form that was asked for. With several replicas a list: the matrix of each replica, then
            the other form of each.

        Raises:
            ValueError: For an input that is no matrix.
        """
        rows = self._row_ids(whole_numbers(inputs, self.multiplier))
        replicas = [self._embed(tf.convert_to_tensor(table), rows) for table in self.tables]
        if len(replicas) == 1:
            return number_outputs(replicas[0], self.output_tensor_list, self.output_3d_tensor)
        matrices = [joined(embedded) for embedded in replicas]
        if self.output_tensor_list:
            return matrices + [tf.unstack(embedded, axis=1) for embedded in replicas]
        return matrices + replicas if self.output_3d_tensor else matrices

    def _row_ids(self, numbers: tf.Tensor) -> list[tf.Tensor]:
        """Returns, for each base, the rows of the digits, int64 `[batch, num_features, num_digits]`."""
        first = self._rows * tf.range(numbers.shape[1], dtype=tf.int64)[:, None]
        ids = []
        for base in self.carries:
            positions = base * tf.range(num_digits(base), dtype=tf.int64)
            ids.append(first + positions + digits(numbers, base))
            first += base * num_digits(base)
        return ids

    def _embed(self, table: tf.Tensor, rows: list[tf.Tensor]) -> tf.Tensor:
        pool = tf.reduce_sum if self.intra_ary_pooling == "sum" else tf.reduce_mean
        pooled = [pool(tf.gather(table, ids), axis=2) for ids in rows]
        return tf.cast(tf.concat(pooled, axis=-1), self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "carries": list(self.carries),
            "multiplier": self.multiplier,
            "intra_ary_pooling": self.intra_ary_pooling,
            "inter_ary_pooling": self.inter_ary_pooling,
            "output_3d_tensor": self.output_3d_tensor,
            "output_tensor_list": self.output_tensor_list,
            "num_replicas": self.num_replicas,
        }
