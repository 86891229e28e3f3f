"""Optimizers whose step on an embedding table costs as much as the rows that the batch touched."""

from easyssl.training.optimizers.adagrad import Adagrad
from easyssl.training.optimizers.adam import Adam, AdamW, LazyAdam
from easyssl.training.optimizers.base import RowOptimizer
from easyssl.training.optimizers.ftrl import Ftrl
from easyssl.training.optimizers.momentum import Momentum, MomentumW
from easyssl.training.optimizers.rmsprop import RMSProp

__all__ = [
    "Adagrad",
    "Adam",
    "AdamW",
    "Ftrl",
    "LazyAdam",
    "Momentum",
    "MomentumW",
    "RMSProp",
    "RowOptimizer",
]
