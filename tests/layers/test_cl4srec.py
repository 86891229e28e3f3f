"""The layers of CL4SRec together: one encoder, two views, one loss beside the task's."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import BST, MLP, AuxiliaryLoss, SeqAugment
from easyssl.losses import collect_losses

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
SEQUENCE = RNG.normal(size=(8, 6, 4)).astype("float32")
LENGTHS = np.array([6, 3, 0, 1, 5, 2, 6, 4], "int32")
LABELS = (SEQUENCE[:, 0, 0] > 0).astype("float32")[:, None]


class Recommender(keras.Model):
    def __init__(self, contrastive=True, **kwargs):
        super().__init__(**kwargs)
        self.encoder = BST(8, 1, 2, 16, max_position_embeddings=10, output_all_token_embeddings=False)
        self.augment = SeqAugment(crop_rate=0.5) if contrastive else None
        self.auxiliary = AuxiliaryLoss("nce_loss", 0.1, temperature=0.15, normalize=True, name="cl")
        self.head = MLP([8, 1], use_final_bn=False, final_activation="linear", use_final_bias=True)

    def call(self, inputs, training=None):
        encoded = self.encoder(inputs, training=training)
        if self.augment is not None:
            views = [self.encoder(self.augment(inputs, training=training), training=training) for _ in "ab"]
            self.auxiliary(views, training=training)
        return self.head(encoded, training=training)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_training(jit_compile):
    keras.utils.set_random_seed(3)
    model, optimizer = Recommender(), keras.optimizers.Adam(0.01)
    model((SEQUENCE, LENGTHS))
    optimizer.build(model.trainable_variables)
    mask_vector = np.array(tf.convert_to_tensor(model.augment.mask_vector))

    @tf.function(autograph=False, jit_compile=jit_compile)
    def step(sequence, lengths, labels):
        with tf.GradientTape() as tape, collect_losses() as collected:
            logits = model((sequence, lengths), training=True)
            task = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits))
            total = task + collected.total()
        gradients = tape.gradient(total, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return total

    losses = [float(step(*map(tf.constant, (SEQUENCE, LENGTHS, LABELS)))) for _ in range(20)]
    assert np.all(np.isfinite(losses)) and losses[-1] < losses[0]
    assert tf.convert_to_tensor(model.augment.random_state)[1] == 2 * 20  # two views per step
    assert not np.array_equal(mask_vector, tf.convert_to_tensor(model.augment.mask_vector))


def test_views_differ_and_the_loss_has_one_name():
    model = Recommender()
    with collect_losses() as collected:
        model((SEQUENCE, LENGTHS), training=True)
    assert list(collected.terms) == ["cl_nce_loss"]
    assert float(collected.total()) > 0
    with collect_losses() as collected:
        model((SEQUENCE, LENGTHS), training=False)
    assert not collected.terms


def test_scores_do_not_depend_on_the_contrastive_branch():
    with_branch, without = Recommender(), Recommender(contrastive=False)
    scores = with_branch((SEQUENCE, LENGTHS), training=False)
    without((SEQUENCE, LENGTHS), training=False)
    for part in ("encoder", "head"):
        getattr(without, part).set_weights(getattr(with_branch, part).get_weights())
    np.testing.assert_array_equal(without((SEQUENCE, LENGTHS), training=False), scores)
