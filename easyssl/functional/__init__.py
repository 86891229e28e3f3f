"""The mathematics of the layers as pure functions of tensors.

Nothing here holds state, and everything works eagerly, inside `tf.function`, under XLA and under both
Kerases. Softmax, log-sum-exp and similarities are computed in float32 whatever the dtype of the inputs.
"""

from easyssl.functional.activations import activation, activation_names
from easyssl.functional.augment import augment_sequence
from easyssl.functional.contrastive import decoupled, l2_distance, nt_xent, one_way, symmetric
from easyssl.functional.masking import length_mask, masked_softmax, select_position, weighted_mean
from easyssl.functional.random import add_random_state, advance, uniform
from easyssl.functional.spread_out import spread_out

__all__ = [
    "activation",
    "activation_names",
    "add_random_state",
    "advance",
    "augment_sequence",
    "decoupled",
    "l2_distance",
    "length_mask",
    "masked_softmax",
    "nt_xent",
    "one_way",
    "select_position",
    "spread_out",
    "symmetric",
    "uniform",
    "weighted_mean",
]
