"""Models made from a config."""

from easyssl.models.build import build_model
from easyssl.models.rank_model import Losses, RankModel

__all__ = ["Losses", "RankModel", "build_model"]
