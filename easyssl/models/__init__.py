"""Models made from a config."""

from easyssl.models.backbone_model import BackboneModel, Losses, Signature
from easyssl.models.build import build_model
from easyssl.models.match_model import MatchModel
from easyssl.models.multi_task_model import MultiTaskModel
from easyssl.models.rank_model import RankModel

__all__ = ["BackboneModel", "Losses", "MatchModel", "MultiTaskModel", "RankModel", "Signature", "build_model"]
