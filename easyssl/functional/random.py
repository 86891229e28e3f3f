"""Random numbers that a restored checkpoint continues exactly.

A random layer owns one variable `[seed, counter]`. Each call that needs random numbers advances the counter
and draws from the pair, so the n-th call of a layer always gets the same numbers: after a restart, and with
or without XLA. The generator is Philox: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
SC 2011.
"""

from __future__ import annotations

import random
from typing import Any

import tensorflow as tf
from tensorflow import keras

_PHILOX = tf.random.Algorithm.PHILOX.value
# Replicas of one step share (seed, counter); each reads its own stretch of the stream, 2^40 blocks apart.
_REPLICA_STRIDE = 1 << 40
_LEVELS = 1 << 16


def add_random_state(layer: Any, seed: int | None = None) -> Any:
    """Adds the variable `[seed, counter]` to a layer; call it in `build`.

    Args:
        layer: The Keras layer that draws.
        seed: Its seed. `None` takes one from Python's `random`, which `keras.utils.set_random_seed` seeds.

    Returns:
        A non-trainable int64 variable `[2]` named `random_state`, saved with the layer's weights.

    Raises:
        ValueError: If the seed is negative or does not fit into 63 bits.
    """
    if seed is None:
        seed = random.getrandbits(62)
    if not 0 <= seed < 2**63:
        raise ValueError(f"`seed` must be in [0, 2^63). Received: seed={seed}")
    first = int(seed)

    def initial(shape: Any, dtype: Any = None, **kwargs: Any) -> tf.Tensor:
        return tf.constant([first, 0], tf.int64)

    # Under a distribution strategy each replica counts for itself, without waiting for the others.
    shared: dict[str, Any] = {"aggregation": "only_first_replica"}
    if not hasattr(keras, "ops"):
        shared = {
            "aggregation": tf.VariableAggregation.ONLY_FIRST_REPLICA,
            "synchronization": tf.VariableSynchronization.ON_READ,
        }
    return layer.add_weight(
        name="random_state", shape=(2,), dtype="int64", initializer=initial, trainable=False, **shared
    )


def advance(state: Any) -> tf.Tensor:
    """Counts one more call and returns the key of its random numbers.

    Args:
        state: The variable of `add_random_state`.

    Returns:
        int64 `[2]`: the seed and the advanced counter, for `uniform`.
    """
    key = tf.convert_to_tensor(state) + tf.constant([0, 1], tf.int64)
    state.assign(key)
    return key


def uniform(key: tf.Tensor, shape: Any) -> tf.Tensor:
    """Draws uniform float32 numbers in [0, 1).

    The numbers are a function of the key and of the position in row-major order only: a draw with a longer
    first axis begins with the draw of a shorter one.

    Args:
        key: int64 `[2]` from `advance`, or any pair of non-negative numbers.
        shape: Shape of the result, static or dynamic.

    Returns:
        float32 tensor of that shape.

    Example:
        >>> key = tf.constant([2020, 1], tf.int64)
        >>> bool(tf.reduce_all(uniform(key, [2, 3]) == uniform(key, [4, 3])[:2]))
        True
    """
    # `tf.random.stateless_uniform` hashes its seed, and turns bits into floats, in another way under XLA.
    # These bits are the same everywhere; 24 of them are what float32 holds exactly.
    bits = _bits(key, shape)
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def keep_mask(key: tf.Tensor, rate: float, shape: tf.Tensor) -> tf.Tensor:
    """Draws which entries dropout keeps; 16 bits an entry, half of what `uniform` takes.

    Args:
        key: int64 `[2]` from `advance`, or any pair of non-negative numbers.
        rate: Probability that an entry is not kept, in [0, 1); `rounded_rate` of it is what acts.
        shape: Shape of the result, int32 tensor.

    Returns:
        bool tensor of that shape.

    Example:
        >>> mask = keep_mask(tf.constant([2020, 1], tf.int64), 0.25, tf.constant([100, 100]))
        >>> round(float(tf.reduce_mean(tf.cast(mask, tf.float32))), 1)
        0.8
    """
    count = tf.reduce_prod(shape)
    halves = tf.reshape(tf.bitcast(_bits(key, [(count + 1) // 2]), tf.uint16), [-1])
    limit = tf.constant(round(rounded_rate(rate) * _LEVELS), tf.uint16)
    return tf.reshape(halves[:count] >= limit, shape)


def rounded_rate(rate: float) -> float:
    """Returns the rate that `keep_mask` acts on, the nearest multiple of 2^-16.

    Args:
        rate: A probability in [0, 1).
    """
    return min(round(rate * _LEVELS), _LEVELS - 1) / _LEVELS


def _bits(key: tf.Tensor, shape: Any) -> tf.Tensor:
    key = tf.cast(key, tf.uint64)  # whose slices have a GPU kernel, unlike tf.split
    return tf.raw_ops.StatelessRandomUniformFullIntV2(
        shape=tf.convert_to_tensor(shape, tf.int32),
        key=key[:1],
        counter=tf.concat([_replica_offset()[None], key[1:]], axis=0),
        alg=_PHILOX,
        dtype=tf.uint32,
    )


def _replica_offset() -> tf.Tensor:
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return tf.constant(0, tf.uint64)
    return tf.cast(context.replica_id_in_sync_group, tf.uint64) * _REPLICA_STRIDE
