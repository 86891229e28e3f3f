"""Keras layers; importing this registers them under the names that configs use."""

from easyssl.layers.auxiliary_loss import AuxiliaryLoss
from easyssl.layers.bst import BST
from easyssl.layers.dice import Dice
from easyssl.layers.dropout import Dropout
from easyssl.layers.embedding_layer import EmbeddingLayer
from easyssl.layers.embedding_table import EmbeddingTable
from easyssl.layers.encoder_block import EncoderBlock
from easyssl.layers.feature_group import FeatureGroup
from easyssl.layers.input_layer import InputLayer
from easyssl.layers.mlp import MLP
from easyssl.layers.self_attention import MultiHeadSelfAttention
from easyssl.layers.seq_augment import SeqAugment
from easyssl.layers.seq_augment_ops import SeqAugmentOps

__all__ = [
    "BST",
    "MLP",
    "AuxiliaryLoss",
    "Dice",
    "Dropout",
    "EmbeddingLayer",
    "EmbeddingTable",
    "EncoderBlock",
    "FeatureGroup",
    "InputLayer",
    "MultiHeadSelfAttention",
    "SeqAugment",
    "SeqAugmentOps",
]
