"""Keras layers; importing this registers them under the names that configs use."""

from easyssl.layers.adversarial_classifier import AdversarialClassifier
from easyssl.layers.aitm_tower import AITMTower
from easyssl.layers.attention import Attention
from easyssl.layers.auto_dis_embedding import AutoDisEmbedding
from easyssl.layers.auxiliary_loss import AuxiliaryLoss
from easyssl.layers.batch_softmax import BatchSoftmax
from easyssl.layers.bert4rec_encoder import BERT4RecEncoder
from easyssl.layers.bilinear import BiLinear
from easyssl.layers.bst import BST
from easyssl.layers.caser_encoder import CaserEncoder
from easyssl.layers.cin import CIN
from easyssl.layers.cloze_mask import ClozeMask
from easyssl.layers.cluster_distillation import ClusterDistillation
from easyssl.layers.cross import Cross
from easyssl.layers.dice import Dice
from easyssl.layers.din import DIN
from easyssl.layers.disentangled_intents import DisentangledIntents
from easyssl.layers.dot_interaction import DotInteraction
from easyssl.layers.dropout import Dropout
from easyssl.layers.dynamic_routing import DynamicRouting
from easyssl.layers.embedding_layer import EmbeddingLayer
from easyssl.layers.embedding_table import EmbeddingTable
from easyssl.layers.encoder_block import EncoderBlock
from easyssl.layers.feature_group import FeatureGroup
from easyssl.layers.feature_masking import FeatureMasking
from easyssl.layers.fibinet import FiBiNet
from easyssl.layers.fm import FM
from easyssl.layers.gate import Gate
from easyssl.layers.gradient_reversal import GradientReversal
from easyssl.layers.gru4rec_encoder import GRU4RecEncoder
from easyssl.layers.highway import Highway
from easyssl.layers.input_layer import InputLayer
from easyssl.layers.intent_contrast import IntentContrast
from easyssl.layers.intent_prediction import IntentPrediction
from easyssl.layers.interest_readout import InterestReadout
from easyssl.layers.kmeans_clustering import KMeansClustering
from easyssl.layers.mask_block import MaskBlock
from easyssl.layers.masked_item_loss import MaskedItemLoss
from easyssl.layers.masknet import MaskNet
from easyssl.layers.mean_pooling import MeanPooling
from easyssl.layers.mlp import MLP
from easyssl.layers.mmoe import MMoE
from easyssl.layers.moe_whitening_adaptor import MoEWhiteningAdaptor
from easyssl.layers.multi_head_attention import MultiHeadAttention
from easyssl.layers.multi_interest_attention import MultiInterestAttention
from easyssl.layers.nary_dis_embedding import NaryDisEmbedding
from easyssl.layers.parametric_whitening import ParametricWhitening
from easyssl.layers.periodic_embedding import PeriodicEmbedding
from easyssl.layers.ppnet import PPNet
from easyssl.layers.prototype_contrast import PrototypeContrast
from easyssl.layers.re_attend import ReAttend
from easyssl.layers.re_construct import ReConstruct
from easyssl.layers.re_contrast import ReContrast
from easyssl.layers.sasrec_encoder import SASRecEncoder
from easyssl.layers.self_attention import MultiHeadSelfAttention
from easyssl.layers.senet import SENet
from easyssl.layers.seq_augment import SeqAugment
from easyssl.layers.seq_augment_ops import SeqAugmentOps
from easyssl.layers.sequence_readout import SequenceReadout
from easyssl.layers.sequence_split import SequenceSplit
from easyssl.layers.sinkhorn_clustering import SinkhornClustering
from easyssl.layers.text_cnn import TextCNN
from easyssl.layers.text_encoder import TextEncoder
from easyssl.layers.transformer_block import TransformerBlock
from easyssl.layers.transformer_encoder import TransformerEncoder
from easyssl.layers.value_dropout import ValueDropout
from easyssl.layers.variational_dropout import VariationalDropout

GRL = GradientReversal

__all__ = [
    "BST",
    "CIN",
    "DIN",
    "FM",
    "MLP",
    "AITMTower",
    "AdversarialClassifier",
    "Attention",
    "AutoDisEmbedding",
    "AuxiliaryLoss",
    "BERT4RecEncoder",
    "BatchSoftmax",
    "BiLinear",
    "CaserEncoder",
    "ClozeMask",
    "ClusterDistillation",
    "Cross",
    "Dice",
    "DisentangledIntents",
    "DotInteraction",
    "Dropout",
    "DynamicRouting",
    "EmbeddingLayer",
    "EmbeddingTable",
    "EncoderBlock",
    "FeatureGroup",
    "FeatureMasking",
    "FiBiNet",
    "GRU4RecEncoder",
    "Gate",
    "GradientReversal",
    "Highway",
    "InputLayer",
    "IntentContrast",
    "IntentPrediction",
    "InterestReadout",
    "KMeansClustering",
    "MMoE",
    "MaskBlock",
    "MaskNet",
    "MaskedItemLoss",
    "MeanPooling",
    "MoEWhiteningAdaptor",
    "MultiHeadAttention",
    "MultiHeadSelfAttention",
    "MultiInterestAttention",
    "NaryDisEmbedding",
    "PPNet",
    "ParametricWhitening",
    "PeriodicEmbedding",
    "PrototypeContrast",
    "ReAttend",
    "ReConstruct",
    "ReContrast",
    "SASRecEncoder",
    "SENet",
    "SeqAugment",
    "SeqAugmentOps",
    "SequenceReadout",
    "SequenceSplit",
    "SinkhornClustering",
    "TextCNN",
    "TextEncoder",
    "TransformerBlock",
    "TransformerEncoder",
    "ValueDropout",
    "VariationalDropout",
]
