"""Transformer encoders in NumPy and float64: one row after the other, no padding and no mask."""

import numpy as np
import tensorflow as tf


def array(variable):
    return np.asarray(tf.convert_to_tensor(variable), np.float64)


def randomize(layer, scale=0.5):
    """Gives every weight that is not a random state values that matter."""
    rng = np.random.default_rng(1)
    layer.set_weights(
        [
            w if w.dtype == np.int64 else rng.normal(0, scale, w.shape).astype(w.dtype)
            for w in layer.get_weights()
        ]
    )


def dense(layer, x):
    return x @ array(layer.kernel) + array(layer.bias)


def norm(layer, x):
    if layer is None:
        return x
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-12) * array(layer.gamma) + array(layer.beta)


def gelu(x):
    return x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "gelu": gelu}


def attend(layer, x, causal):
    query, key, value = (dense(getattr(layer, f"{n}_dense"), x) for n in ("query", "key", "value"))
    width = x.shape[1] // layer.num_heads
    heads = []
    for h in range(layer.num_heads):
        part = slice(h * width, (h + 1) * width)
        outputs = []
        for t in range(len(x)):
            seen = slice(0, t + 1) if causal else slice(None)
            scores = key[seen, part] @ query[t, part] / np.sqrt(width)
            weights = np.exp(scores - scores.max())
            outputs.append(weights / weights.sum() @ value[seen, part])
        heads.append(np.array(outputs))
    return dense(layer.output_dense, np.concatenate(heads, axis=1))


def feed_forward(block, x):
    return dense(block.output_dense, ACTIVATIONS[block.activation](dense(block.intermediate, x)))


def encode_block(block, x):
    """One `EncoderBlock` on the steps of one row, `[steps, dim]`."""
    first, second = block.attention_residual.norm, block.output_residual.norm
    if block.norm_position == "pre":
        x = x + attend(block.attention, norm(first, x), block.causal)
        return x + feed_forward(block, norm(second, x))
    x = norm(first, x + attend(block.attention, x, block.causal))
    return norm(second, x + feed_forward(block, x))


def encode_row(layer, steps):
    """The states of one row, `[steps, hidden_size]`, by a `SequenceTransformer`."""
    x = steps if layer.projection is None else dense(layer.projection, steps)
    if layer.scale_embeddings:
        x = x * np.sqrt(x.shape[1])
    if layer.use_position_embeddings:
        x = x + array(layer.position_table)[: len(x)]
    x = norm(layer.embedding_layer_norm, x)
    for block in layer.blocks:
        x = encode_block(block, x)
    return norm(layer.final_norm, x)


def read(states, output, size):
    """What is read of one row's states, with zeros up to `size` steps."""
    width = states.shape[1]
    if output == "sequence":
        return np.concatenate([states, np.zeros((size - len(states), width))])
    if not len(states):
        return np.zeros(width)
    return states[-1] if output == "last" else states.mean(axis=0)
