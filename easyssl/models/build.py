"""Which model class a config asks for."""

from __future__ import annotations

from easyssl.backbone.plan_next_item import NEXT_ITEM, refuse_next_item
from easyssl.config import Config
from easyssl.errors import nearest
from easyssl.models.backbone_model import BackboneModel
from easyssl.models.match_model import MatchModel
from easyssl.models.multi_task_model import MultiTaskModel
from easyssl.models.next_item_model import NextItemModel
from easyssl.models.rank_model import RankModel

MODELS: dict[str, type[BackboneModel]] = {
    "RankModel": RankModel,
    "MatchModel": MatchModel,
    "MultiTaskModel": MultiTaskModel,
    NEXT_ITEM: NextItemModel,
}


def build_model(config: Config) -> BackboneModel:
    """Makes the model of a config, with its variables.

    Args:
        config: A config with `model_config.model_class`.

    Returns:
        A model whose variables exist.

    Raises:
        ConfigError: If the model class is not one of ours, or any part of the model does not fit together.

    Example:
        >>> model = build_model(load_config("samples/cl4srec_on_taobao.config"))  # doctest: +SKIP
    """
    name = config.message.model_config.model_class
    if name not in MODELS:
        text = f"no model is called '{name}'{nearest(name, MODELS)}; write a backbone with one of them"
        raise config.error("model_config.model_class", text)
    if name != NEXT_ITEM:
        refuse_next_item(config)
    model = MODELS[name](config, name=name)
    model.create_variables()
    return model
