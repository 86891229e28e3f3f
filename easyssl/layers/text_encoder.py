"""Texts as one vector, by a transformer."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.building import build_sublayer, check_not_negative, input_shapes
from easyssl.layers.nested import nested_layer
from easyssl.layers.transformer_encoder import TransformerEncoder
from easyssl.registry import register


@register("TextEncoder")
class TextEncoder(keras.layers.Layer):
    """Sums one or several texts of a row up in the state that a transformer has for the token before them.

    The tokens are `[CLS] words of the first text [SEP] words of the second [SEP] ...`, without gaps and cut
    to `max_position_embeddings`; the output is the state of [CLS]. As every row has that token, a row without
    words has a vector, too.

    Words come as ids, since a model gets numbers only: a `TagFeature` or `SequenceFeature` splits its cell at
    its `separator` and turns words into ids by `hash_bucket_size` or `vocab_file`, and a `raw_input` block
    hands them on. (EasyRec's layer does that itself; its `separator` and `vocab_file` are the feature's
    here.) Negative ids are no words. [CLS] and [SEP] have two rows of their own behind the `vocab_size` rows
    of words.

    Args:
        transformer: Parameters of the `TransformerEncoder`, such as `{"hidden_size": 64, "vocab_size": 9999,
            ...}`, where `vocab_size` is the number of different words.
        default_token_id: The id of words that are unknown, whose own id is not below `vocab_size`. Defaults
            to 0.
        **kwargs: Keras layer arguments such as `name` and `dtype`.

    Raises:
        ValueError: For parameters that a `TransformerEncoder` does not take, or a `default_token_id` that is
            not below `vocab_size`.

    Example:
        >>> layer = TextEncoder({"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        ...                      "intermediate_size": 16, "vocab_size": 100})
        >>> title, query = tf.constant([[3, 14, 15], [9, -1, -1]]), tf.constant([[92, 6], [-1, -1]])
        >>> layer([title, query]).shape
        TensorShape([2, 8])

    References:
        Devlin et al., "BERT: pre-training of deep bidirectional transformers for language understanding",
        arXiv 1810.04805.
    """

    def __init__(self, transformer: dict[str, Any], default_token_id: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Items, because Keras wraps a dict that a layer holds, and its wrapper is no JSON.
        self._transformer = tuple(transformer.items())
        self.default_token_id = default_token_id
        self.supports_masking = True
        self.vocab_size = int(transformer.get("vocab_size", 0))
        parameters = {**transformer, "output_all_token_embeddings": False}
        if "vocab_size" in transformer:
            parameters["vocab_size"] = self.vocab_size + 2
        self.encoder = nested_layer(self, TransformerEncoder, parameters, "encoder", "transformer")
        check_not_negative("TextEncoder", default_token_id=default_token_id)
        if default_token_id >= self.vocab_size:
            raise ValueError(
                "TextEncoder: `default_token_id` is the id of a word, below `vocab_size`. Received: "
                f"default_token_id={default_token_id}, vocab_size={self.vocab_size}"
            )

    def build(self, input_shape: Any) -> None:
        """Creates the weights of the transformer."""
        shapes = input_shapes(input_shape)
        if not shapes or any(len(shape) != 2 for shape in shapes):
            raise ValueError(
                f"TextEncoder '{self.name}' takes the ids of words, [batch, words], of one or several texts. "
                f"Received shapes: {shapes}"
            )
        build_sublayer(self.encoder, (shapes[0][0], None))
        super().build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> tf.Tensor:
        """Encodes.

        Args:
            inputs: Ids of words, int `[batch, words]`, or a list of them, one for each text.
            training: Whether to drop. Defaults to None, which is False.

        Returns:
            `[batch, hidden_size]`.
        """
        return self.encoder(self._tokens(inputs), training=training)

    def _tokens(self, inputs: Any) -> tf.Tensor:
        """Returns the ids of all tokens without gaps, int64 `[batch, tokens]`, with -1 behind the last."""
        texts = inputs if isinstance(inputs, list | tuple) else [inputs]
        texts = [tf.cast(tf.convert_to_tensor(text), tf.int64) for text in texts]
        rows = tf.shape(texts[0])[0]
        start = tf.fill([rows, 1], tf.constant(self.vocab_size, tf.int64))
        pieces = [start]
        for text in texts:
            unknown = tf.constant(self.default_token_id, tf.int64)
            pieces += [tf.where(text < self.vocab_size, text, unknown), start + 1]
        ids = tf.concat(pieces, axis=1)
        places = tf.range(tf.shape(ids)[1])[None, :]
        order = tf.argsort(tf.where(ids >= 0, places, places + tf.shape(ids)[1]))
        return tf.gather(ids, order, batch_dims=1)

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """Returns None: the output has no steps."""
        return None

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {
            **super().get_config(),
            "transformer": dict(self._transformer),
            "default_token_id": self.default_token_id,
        }
