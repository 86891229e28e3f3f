"""Random changes of a sequence, for contrastive learning."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.functional.augment import augment_sequence
from easyssl.functional.augment_draw import AugmentRates
from easyssl.functional.random import add_random_state, advance
from easyssl.layers.arrays import read_array
from easyssl.layers.building import check_positive, last_dim
from easyssl.registry import register

_RATES = (
    "mask_rate",
    "crop_rate",
    "reorder_rate",
    "crop_remove_rate",
    "item_drop_rate",
    "insert_rate",
    "substitute_rate",
    "word_drop_rate",
)


@register("SeqAugment")
class SeqAugment(keras.layers.Layer):
    """Makes random views of sequences while training.

    Every row gets one operator, drawn uniformly from the enabled ones, independently of the other rows,
    unless `choice` and `operator_weights` say otherwise:

    | operator | what it does | enabled by |
    | --- | --- | --- |
    | crop | keeps a window of `floor(crop_rate * length)` steps | `crop_rate < 1` |
    | mask | masks `floor(mask_rate * length)` distinct steps | `mask_rate > 0` |
    | reorder | permutes a window of `floor(reorder_rate * length)` steps | `reorder_rate > 0` |
    | crop_remove | takes out a window of `floor(crop_remove_rate * length)` steps | `crop_remove_rate > 0` |
    | item_drop | drops each step but the first with a probability | `item_drop_rate > 0` |
    | insert | adds `floor(insert_rate * length)` steps in random places | `insert_rate > 0` |
    | substitute | replaces `floor(substitute_rate * length)` distinct steps | `substitute_rate > 0` |
    | word_drop | gives each step its alternative, with a probability | `word_drop_rate > 0` |

    Windows are contiguous, and all of them equally likely, the one at the end included. What crop,
    crop_remove and item_drop keep moves to the front; crop and crop_remove keep at least `min_crop_len`
    steps. A row without room for everything that is inserted keeps its last steps. Inserted and substituted
    steps are those of other rows of the batch: a row is drawn first, then one of its steps. With
    `similar_items` they are items similar to the step that is replaced, or that the new one stands before.
    The alternatives of word_drop, such as vectors of the same texts with words left out, are a third input.

    Rows of length 0 stay as they are. Each call and each of its views draws anew. Without `training` the
    input comes back unchanged, unless `apply_in_eval`.

    Sequences are embeddings `[batch, seq_len, dim]`, which are masked by one trained vector, or ids
    `[batch, seq_len]`, which are masked by `mask_id`. (Floats `[batch, seq_len]`, such as times, are masked
    and padded with 0.) Several sequences of the same steps change in the same places.

    The mask vector is created in the variable dtype, float32 under mixed precision. Gradients reach the steps
    that are kept, wherever they go, and the mask vector.

    The default rates of mask, crop and reorder are EasyRec's. CL4SRec tunes each from 0.1 to 0.9 and has one
    operator for both views; S4Rec has `crop_remove_rate=0.8` and `reorder_rate=0.2`, UniSRec
    `item_drop_rate=0.2` and `word_drop_rate=0.2`.

    Args:
        mask_rate: Share of the steps that a mask replaces. Defaults to 0.6.
        crop_rate: Share of the steps that a crop keeps. Defaults to 0.2.
        reorder_rate: Share of the steps that a reorder permutes. Defaults to 0.6.
        min_crop_len: Steps that a crop, or the removal of a window, keeps at least, as far as the row has
            them. Defaults to 1.
        apply_in_eval: Whether to augment when not training, too. Defaults to False.
        seed: Seed of the random numbers; None takes one that `keras.utils.set_random_seed` determines.
            Defaults to None.
        crop_remove_rate: Share of the steps in the window that is taken out. Defaults to 0.0.
        item_drop_rate: Probability that a step is dropped. Defaults to 0.0.
        insert_rate: Steps that are inserted, as a share of the length. Defaults to 0.0.
        substitute_rate: Share of the steps that are replaced. Defaults to 0.0.
        word_drop_rate: Probability that a step is given its alternative. Defaults to 0.0.
        num_views: Number of views that a call returns. Defaults to 1.
        mask_id: What masked ids become: an id of its own, not the padding; for several sequences of ids a
            list with one each, or one for all. Defaults to None.
        pad_id: What ids behind the end of a row that gets shorter become. Defaults to -1.
        similar_items: Ids `[vocab, k]`: row i holds the items that are most like item i, one of which is
            taken; an entry of -1, like an id outside of the table, means the item itself. Nested lists, or
            the name of a `.npy` or `.json` file. Only for a single sequence of ids. Defaults to None.
        choice: "row", where each row draws its operator, or "batch", where a view draws one for all rows, as
            UniSRec does; places are drawn for each row all the same. Defaults to "row".
        operator_weights: How likely the enabled operators are, up to a factor, one number each in the order
            of the table; UniSRec has 0.9 for item_drop and 0.1 for word_drop. Defaults to None, which is all
            alike.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: If a rate is not in [0, 1], `min_crop_len` or `num_views` is not positive,
            `similar_items` is not a table of ids, `choice` is unknown, or `operator_weights` are not one
            number for each enabled operator, of which none is negative and not all are 0.

    Example:
        >>> layer = SeqAugment(mask_rate=0.0, crop_rate=0.5, reorder_rate=0.0, seed=7)
        >>> sequence, lengths = tf.random.normal([2, 6, 4]), tf.constant([6, 3])
        >>> view, view_lengths = layer([sequence, lengths], training=True)
        >>> view.shape, view_lengths.numpy().tolist()
        (TensorShape([2, 6, 4]), [3, 1])
        >>> ids = tf.constant([[4, 5, 6, -1]])
        >>> layer = SeqAugment(mask_rate=1.0, crop_rate=1.0, reorder_rate=0.0, mask_id=9, num_views=2)
        >>> [view.numpy().tolist() for view, _ in layer([ids, tf.constant([3])], training=True)]
        [[[9, 9, 9, -1]], [[9, 9, 9, -1]]]

    References:
        Xie et al., "Contrastive learning for sequential recommendation", arXiv 2010.14395, section 3.3 (crop,
        mask, reorder).
        Liu et al., "Contrastive self-supervised sequential recommendation with robust augmentation", arXiv
        2108.06479 (insert and substitute by similar items).
        Hou et al., "Towards universal sequence representation learning for recommender systems", KDD 2022
        (item drop, word drop).
    """

    file_parameters = ("similar_items",)

    def __init__(
        self,
        mask_rate: float = 0.6,
        crop_rate: float = 0.2,
        reorder_rate: float = 0.6,
        min_crop_len: int = 1,
        apply_in_eval: bool = False,
        seed: int | None = None,
        crop_remove_rate: float = 0.0,
        item_drop_rate: float = 0.0,
        insert_rate: float = 0.0,
        substitute_rate: float = 0.0,
        word_drop_rate: float = 0.0,
        num_views: int = 1,
        mask_id: int | list[int] | None = None,
        pad_id: int = -1,
        similar_items: str | list | None = None,
        choice: Literal["row", "batch"] = "row",
        operator_weights: list[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.mask_rate = mask_rate
        self.crop_rate = crop_rate
        self.reorder_rate = reorder_rate
        self.min_crop_len = min_crop_len
        self.apply_in_eval = apply_in_eval
        self.seed = seed
        self.crop_remove_rate = crop_remove_rate
        self.item_drop_rate = item_drop_rate
        self.insert_rate = insert_rate
        self.substitute_rate = substitute_rate
        self.word_drop_rate = word_drop_rate
        self.num_views = num_views
        self.mask_id = tuple(mask_id) if isinstance(mask_id, list | tuple) else mask_id
        self.pad_id = pad_id
        self.choice = choice
        self.operator_weights = None if operator_weights is None else tuple(map(float, operator_weights))
        self.supports_masking = True
        for name in _RATES:
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"SeqAugment: `{name}` must be in [0, 1]. Received: {getattr(self, name)}")
        check_positive("SeqAugment", min_crop_len=min_crop_len, num_views=num_views)
        self._check_choice()
        self._similar_array: np.ndarray | None = None
        if similar_items is not None:
            self._similar_array = _table_of_ids(similar_items)

    def build(self, input_shape: Any) -> None:
        """Creates the mask vectors and the random state."""
        shapes = _sequence_shapes(input_shape)
        if not shapes:
            raise ValueError(
                f"SeqAugment '{self.name}' takes a sequence [batch, seq_len, dim] or ids [batch, seq_len], "
                f"or a list of them, and lengths [batch]. Received shapes: {input_shape}"
            )
        if self.word_drop_rate > 0:
            self._check_alternatives(shapes, input_shape)
        vectors: list[Any] = []
        for place, shape in enumerate(shapes):
            vector = None
            if len(shape) == 3:
                # Glorot's bounds come from both dimensions, so the 1 belongs to the definition.
                vector = self.add_weight(
                    name=f"mask_vector_{place}" if place else "mask_vector",
                    shape=(1, last_dim(shape, self)),
                    initializer="glorot_uniform",
                )
            vectors.append(vector)
        self.mask_vectors = tuple(vectors)
        if self._similar_array is not None:
            if [len(shape) for shape in shapes] != [2]:
                raise ValueError(
                    f"SeqAugment '{self.name}': `similar_items` needs one sequence of ids [batch, seq_len]"
                )
            with tf.init_scope():
                self._similar_items = tf.constant(self._similar_array)
        self.random_state = add_random_state(self, self.seed)
        super().build(input_shape)

    def _check_choice(self) -> None:
        if self.choice not in ("row", "batch"):
            raise ValueError(f"SeqAugment: `choice` must be 'row' or 'batch'. Received: '{self.choice}'")
        weights = self.operator_weights
        if weights is None:
            return
        enabled = AugmentRates(**{name: getattr(self, name) for name in _RATES}).enabled()
        usable = all(0 <= weight < float("inf") for weight in weights) and any(weights)
        if len(weights) != len(enabled) or not usable:
            raise ValueError(
                "SeqAugment: `operator_weights` must be one number for each enabled operator, none negative "
                f"and not all 0. Received: operator_weights={list(weights)}, enabled: {', '.join(enabled)}"
            )

    def _check_alternatives(self, shapes: list[tuple[int | None, ...]], input_shape: Any) -> None:
        alternatives = _shapes_of(input_shape[2]) if len(input_shape) > 2 else []
        fits = len(alternatives) == len(shapes) and all(
            tf.TensorShape(shape[1:]).is_compatible_with(other[1:])
            for shape, other in zip(shapes, alternatives, strict=True)
        )
        if not fits:
            raise ValueError(
                f"SeqAugment '{self.name}': `word_drop_rate` needs a third input, alternatives of the steps, "
                f"in the form of the first. Received shapes: first {shapes}, third {alternatives or None}"
            )

    @property
    def mask_vector(self) -> Any:
        """The vector `[1, dim]` that masks the first sequence, or None for ids."""
        return self.mask_vectors[0]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Augments if `training` or `apply_in_eval`.

        Args:
            inputs: A sequence `[batch, seq_len, dim]` or ids `[batch, seq_len]`, or a list of such sequences,
                and the lengths `[batch]`; with `word_drop_rate` also the alternatives, in the form of the
                first input. Further inputs, such as the target of a group in sequence mode, are ignored.
            training: Whether the model trains. Defaults to None, which is False.

        Returns:
            A tuple of the sequence, or the list of sequences, in the shape of the input, and the lengths,
            int32 `[batch]`; with `num_views` above 1 a list of such tuples.
        """
        sequence, lengths = inputs[0], tf.cast(inputs[1], tf.int32)
        if training or self.apply_in_eval:
            alternative = inputs[2] if self.word_drop_rate > 0 else None
            views = [self._view(sequence, lengths, alternative) for _ in range(self.num_views)]
        else:
            views = [(sequence, lengths)] * self.num_views
        return views[0] if self.num_views == 1 else views

    def _view(self, sequence: Any, lengths: tf.Tensor, alternative: Any) -> tuple[Any, tf.Tensor]:
        several = isinstance(sequence, list | tuple)
        sequences = [tf.convert_to_tensor(x) for x in (sequence if several else [sequence])]
        if alternative is not None and not isinstance(alternative, list | tuple):
            alternative = [alternative]
        views, new_lengths = augment_sequence(
            sequences,
            lengths,
            self._mask_values(sequences),
            advance(self.random_state),
            **{name: getattr(self, name) for name in _RATES},
            min_crop_len=self.min_crop_len,
            choice=self.choice,
            operator_weights=self.operator_weights,
            alternative=alternative,
            similar_items=None if self._similar_array is None else self._similar_items,
            pad_value=[0 if x.dtype.is_floating else self.pad_id for x in sequences],
        )
        return (views if several else views[0]), new_lengths

    def _mask_values(self, sequences: list[tf.Tensor]) -> list[Any]:
        """Returns what masked steps of each sequence become."""
        ids = sum(not x.dtype.is_floating for x in sequences)
        given = list(self.mask_id) if isinstance(self.mask_id, tuple) else [self.mask_id] * ids
        if len(given) == 1:
            given *= ids
        if self.mask_rate > 0 and (len(given) != ids or None in given):
            raise ValueError(
                f"SeqAugment '{self.name}': masking ids needs `mask_id`, one for each of the {ids} sequences "
                f"of ids. Received: mask_id={self.mask_id}"
            )
        numbers = iter(given or [0])
        values: list[Any] = []
        for sequence, vector in zip(sequences, self.mask_vectors, strict=True):
            if vector is not None:
                values.append(tf.convert_to_tensor(vector)[0])
            else:
                values.append(0 if sequence.dtype.is_floating else next(numbers, 0) or 0)
        return values

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the lengths say what is valid."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments; a table from a file as nested lists."""
        return {
            **super().get_config(),
            **{name: getattr(self, name) for name in _RATES},
            "min_crop_len": self.min_crop_len,
            "apply_in_eval": self.apply_in_eval,
            "seed": self.seed,
            "num_views": self.num_views,
            "mask_id": list(self.mask_id) if isinstance(self.mask_id, tuple) else self.mask_id,
            "pad_id": self.pad_id,
            "choice": self.choice,
            "operator_weights": None if self.operator_weights is None else list(self.operator_weights),
            "similar_items": None if self._similar_array is None else self._similar_array.tolist(),
        }


def _table_of_ids(given: str | list) -> np.ndarray:
    """Returns `similar_items` as int64 `[vocab, k]`."""
    array = read_array("SeqAugment", "similar_items", given)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind == "f" or array.max() >= 2**63:
        raise ValueError(
            "SeqAugment: `similar_items` must be whole numbers [vocab, k]. "
            f"Received: {array.dtype} {list(array.shape)}"
        )
    return array.astype(np.int64)


def _sequence_shapes(input_shape: Any) -> list[tuple[int | None, ...]]:
    """Returns the shapes of the sequences; empty if the inputs are not sequences and lengths."""
    if _is_shape(input_shape) or len(input_shape) < 2:
        return []
    shapes = _shapes_of(input_shape[0])
    return shapes if all(len(shape) in (2, 3) for shape in shapes) else []


def _shapes_of(given: Any) -> list[tuple[int | None, ...]]:
    """Returns the shapes of an input, which is a tensor or a list of them."""
    shapes = [given] if _is_shape(given) else list(given)
    return [tuple(tf.TensorShape(shape).as_list()) for shape in shapes]


def _is_shape(value: Any) -> bool:
    return isinstance(value, tf.TensorShape) or not any(
        isinstance(item, list | tuple | tf.TensorShape) for item in value
    )
