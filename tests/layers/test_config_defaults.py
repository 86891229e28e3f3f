"""A parameter that a config leaves out has the constructor's default, so that must be the config's default."""

import inspect

import numpy as np
import pytest

import easyssl.layers
from easyssl.config.bind import UNREAD
from easyssl.config.messages import message_class, option_extension

pytestmark = pytest.mark.both_keras

INACTIVE = (option_extension("no_effect"), option_extension("refused"))
PAIRS = {
    "MLP": "MLP",
    "BST": "BSTEncoder",
    "SeqAugment": "SequenceAugment",
    "SeqAugmentOps": "SequenceAugment",
}
PAIRS |= {"AuxiliaryLoss": "AuxiliaryLoss"}
PAIRS |= {"FM": "FM", "CIN": "CIN", "SENet": "SENet", "BiLinear": "Bilinear", "FiBiNet": "FiBiNet"}
PAIRS |= {"MaskBlock": "MaskBlock", "MaskNet": "MaskNet", "Gate": "WeightedGate", "Highway": "HighWayTower"}
PAIRS |= {"PPNet": "PPNet", "PeriodicEmbedding": "PeriodicEmbedding"}
PAIRS |= {"AutoDisEmbedding": "AutoDisEmbedding", "NaryDisEmbedding": "NaryDisEmbedding"}
PAIRS |= {"DIN": "DINEncoder", "MMoE": "MMoELayer", "AITMTower": "AITMTower"}
PAIRS |= {"TextCNN": "TextCNN", "Attention": "Attention", "MultiHeadAttention": "MultiHeadAttention"}
PAIRS |= {
    "TransformerBlock": "Transformer",
    "TransformerEncoder": "Transformer",
    "TextEncoder": "TextEncoder",
}


@pytest.mark.parametrize(("layer", "message"), PAIRS.items())
def test_constructor_defaults_are_the_config_defaults(layer, message):
    parameters = inspect.signature(getattr(easyssl.layers, layer).__init__).parameters
    for field in message_class(message).DESCRIPTOR.fields:
        if any(field.GetOptions().Extensions[option] for option in INACTIVE):
            continue
        if field.name in UNREAD.get(layer, ()):
            continue
        assert field.name in parameters, f"{layer} does not take '{field.name}'"
        default = parameters[field.name].default
        if field.has_default_value:
            told = field.default_value
            same = np.float32(default) == np.float32(told) if isinstance(told, float) else default == told
            assert same and type(default) is type(told), f"{layer}.{field.name}: {default!r}, config {told!r}"
        else:
            assert default in (inspect.Parameter.empty, None, False), f"{layer}.{field.name}: {default!r}"
