"""Self-supervised components on what breaks naive code: nothing to see, nothing to compare, large numbers in halves."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import (
    BST,
    AdversarialClassifier,
    AuxiliaryLoss,
    BatchSoftmax,
    BERT4RecEncoder,
    CaserEncoder,
    ClusterDistillation,
    GRU4RecEncoder,
    IntentContrast,
    MeanPooling,
    MoEWhiteningAdaptor,
    MultiInterestAttention,
    PrototypeContrast,
    ReAttend,
    ReConstruct,
    ReContrast,
    SASRecEncoder,
    SeqAugment,
    SinkhornClustering,
    ValueDropout,
)
from easyssl.losses import collect_losses

pytestmark = pytest.mark.both_keras

STEPS, DIM = 4, 6
LENGTHS = ([0, 1, 4, 1, 3], [0, 0], [3], [1])  # mixed, all padding, a batch of one, of one step
SLOW = [pytest.param(dtype, marks=pytest.mark.slow) for dtype in ("float32", "bfloat16")]
PRECISIONS = pytest.mark.parametrize("dtype", ["float16", *SLOW])
COLD = {"temperature": 0.02}


def large(shape, dtype, seed=0):
    """Vectors of length 1e3."""
    x = np.random.default_rng(seed).normal(size=shape)
    return tf.cast(1e3 * x / np.linalg.norm(x, axis=-1, keepdims=True), dtype)


def policy(dtype):
    return dtype if dtype == "float32" else f"mixed_{dtype}"


def assert_finite(*tensors):
    for x in tensors:
        assert x is None or np.all(np.isfinite(tf.cast(tf.convert_to_tensor(x), tf.float32)))


ONE_BLOCK = {"num_hidden_layers": 1, "max_position_embeddings": 8}
OPERATORS = ("mask", "reorder", "crop_remove", "item_drop", "insert", "substitute")
OF_SEQUENCES = {
    "sasrec": (SASRecEncoder, ONE_BLOCK),
    "bert4rec": (BERT4RecEncoder, ONE_BLOCK),
    "bst": (
        BST,
        {
            **ONE_BLOCK,
            "hidden_size": 6,
            "num_attention_heads": 2,
            "intermediate_size": 8,
            "output_all_token_embeddings": False,
            "target_item_position": "ignore",
        },
    ),
    "gru4rec": (GRU4RecEncoder, {"hidden_size": 4}),
    "caser": (CaserEncoder, {"max_seq_len": 3}),
    "mean": (MeanPooling, {}),
    "interests": (MultiInterestAttention, {"num_interests": 3, "output_head": "tanh_fc"}),
    "adaptor": (MoEWhiteningAdaptor, {"units": 6, "num_experts": 3}),
    "augment": (SeqAugment, {f"{name}_rate": 0.5 for name in OPERATORS}),
    "values": (ValueDropout, {"rate": 0.9}),
}


@PRECISIONS
@pytest.mark.parametrize("name", OF_SEQUENCES)
def test_sequences(name, dtype):
    keras.utils.set_random_seed(1)
    kind, options = OF_SEQUENCES[name]
    layer = kind(**options, dtype=policy(dtype))
    for lengths in LENGTHS:
        x = large([len(lengths), STEPS, DIM], dtype)
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = tf.nest.flatten(layer([x, tf.constant(lengths)], training=True))
            # A mean, since a sum of such rows is more than a float16 kernel's gradient can hold.
            total = tf.reduce_mean(tf.cast(outputs[0], tf.float32))
        gradients = tape.gradient(total, [x, *layer.trainable_weights], unconnected_gradients="zero")
        assert_finite(*outputs, *gradients)
        if name not in ("augment", "values"):  # which leave empty rows as they are
            empty = tf.boolean_mask(outputs[0], np.array(lengths) == 0)
            np.testing.assert_array_equal(empty, np.zeros_like(empty))


def views(lengths, dtype, count=2):
    """Vectors of rows as encoders give them: zeros for an empty sequence."""
    present = tf.cast(np.array(lengths)[:, None] > 0, dtype)
    return [large([len(lengths), DIM], dtype, seed) * present for seed in range(count)]


def clusters(lengths, dtype, prototypes=9):
    assignments = np.random.default_rng(5).uniform(size=(len(lengths), prototypes)).astype("float32")
    return [tf.constant(assignments), large([prototypes, DIM], dtype, 3)]


def interests(lengths, dtype):
    batch, valid = len(lengths), np.arange(STEPS) < np.array(lengths)[:, None]
    raw = np.random.default_rng(6).uniform(0.1, 1, size=(batch, 3, STEPS)) * valid[:, None]
    attention = (raw / np.maximum(raw.sum(axis=-1, keepdims=True), 1e-9)).astype("float32")
    x = [large([batch, 3, DIM], dtype, 1), large([batch, STEPS, DIM], dtype, 2)]
    return [x[0], tf.constant(attention), x[1], tf.constant(lengths)]


def present(lengths):
    return np.array(lengths) > 0


# Layer, its options, its inputs, and how many rows (of two steps for interests) it needs to have a loss.
LOSSES = {
    f"{kind}_{'cosine' if normalize else 'dot'}": (
        AuxiliaryLoss,
        {"loss_type": kind, "normalize": normalize, **COLD},
        views,
        1 if kind == "l2_loss" else 2,
    )
    for kind in ("l2_loss", "nce_loss", "info_nce", "symmetric", "decoupled")
    for normalize in (True, False)
}
LOSSES |= {
    "batch_softmax": (
        BatchSoftmax,
        {"side_inputs": ["weights"], **COLD},
        lambda n, dtype: [*views(n, dtype), present(n).astype("float32")],
        2,
    ),
    "clustering": (
        SinkhornClustering,
        {"num_prototypes": 9, "queue_size": 4, **COLD},
        lambda n, dtype: [*views(n, dtype, 1), tf.constant(n)],
        2,
    ),
    "prototypes": (PrototypeContrast, COLD, lambda n, dtype: views(n, dtype) + clusters(n, dtype), 2),
    "intents": (IntentContrast, COLD, lambda n, dtype: views(n, dtype) + clusters(n, dtype), 2),
    "distillation": (ClusterDistillation, COLD, lambda n, dtype: clusters(n, dtype) + views(n, dtype), 1),
    "adversary": (
        AdversarialClassifier,
        {"num_classes": 2},
        lambda n, dtype: [*views(n, dtype, 1), np.where(present(n), np.arange(len(n)) % 2, -1)],
        1,
    ),
    "re_contrast": (ReContrast, COLD, interests, None),
    "re_attend": (ReAttend, {}, interests, None),
    "re_construct": (ReConstruct, {"max_seq_len": STEPS}, interests, None),
}


@PRECISIONS
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, dtype):
    keras.utils.set_random_seed(1)
    kind, options, inputs_of, needed = LOSSES[name]
    layer = kind(**options, dtype=policy(dtype))
    for lengths in LENGTHS:
        inputs = [tf.convert_to_tensor(x) for x in inputs_of(lengths, dtype)]
        vectors = [x for x in inputs if x.dtype == tf.as_dtype(dtype) and x.shape[-1] == DIM]
        with tf.GradientTape() as tape, collect_losses() as collected:
            tape.watch(vectors)
            layer(inputs if len(inputs) > 1 else inputs[0], training=True)
            loss = collected.total()
        sources = [*vectors, *layer.trainable_weights]
        gradients = tape.gradient(loss, sources, unconnected_gradients="zero")
        assert_finite(loss)
        if name != "re_construct" or dtype == "float32":  # it has squares of 1e3 behind products in halves
            assert_finite(*gradients)
        compares = max(lengths) >= 2 if needed is None else np.sum(present(lengths)) >= needed
        if not compares:
            assert float(loss) == 0.0
            for gradient in gradients:
                np.testing.assert_array_equal(gradient, np.zeros_like(gradient))
