"""Models made from a config."""

from easyssl.models.backbone_model import BackboneModel, Losses, Signature
from easyssl.models.build import build_model
from easyssl.models.match_model import MatchModel
from easyssl.models.rank_model import RankModel

__all__ = ["BackboneModel", "Losses", "MatchModel", "RankModel", "Signature", "build_model"]
