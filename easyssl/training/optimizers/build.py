"""The update rule that a config's `train_config` asks for."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.errors import nearest
from easyssl.training.messages import message_at
from easyssl.training.names import layers_within, names_of
from easyssl.training.optimizers.adagrad import Adagrad
from easyssl.training.optimizers.adam import Adam, AdamW, LazyAdam
from easyssl.training.optimizers.averages import MovingAverages
from easyssl.training.optimizers.base import RowOptimizer
from easyssl.training.optimizers.ftrl import Ftrl
from easyssl.training.optimizers.momentum import Momentum, MomentumW
from easyssl.training.optimizers.rmsprop import RMSProp
from easyssl.training.optimizers.rule import UpdateRule
from easyssl.training.schedule_config import schedule_from_config
from easyssl.training.schedule_values import check_schedules
from easyssl.training.schedules import Schedule

# Member of the config's oneof -> class and the constructor's arguments besides the rate (ours: the config's).
_ADAM = {"beta1": "beta1", "beta2": "beta2"}
_ADAMW = {**_ADAM, "weight_decay": "weight_decay"}
_MOMENTUM = {"momentum": "momentum_optimizer_value"}
OPTIMIZERS: dict[str, tuple[Callable[..., RowOptimizer], dict[str, str]]] = {
    "adam_optimizer": (Adam, _ADAM),
    "adam_async_optimizer": (Adam, _ADAM),
    "adamw_optimizer": (AdamW, _ADAMW),
    "adam_asyncw_optimizer": (AdamW, _ADAMW),
    "lazy_adam_optimizer": (LazyAdam, _ADAM),
    "adagrad_optimizer": (Adagrad, {"initial_accumulator_value": "initial_accumulator_value"}),
    "momentum_optimizer": (Momentum, _MOMENTUM),
    "momentumw_optimizer": (MomentumW, {**_MOMENTUM, "weight_decay": "weight_decay"}),
    "rms_prop_optimizer": (
        RMSProp,
        {**_MOMENTUM, "decay": "decay", "epsilon": "epsilon"},
    ),
    "ftrl_optimizer": (
        Ftrl,
        {
            name: name
            for name in (
                "learning_rate_power",
                "initial_accumulator_value",
                "l1_reg",
                "l2_reg",
                "l2_shrinkage_reg",
            )
        },
    ),
}


def optimizer_from_config(config: Any, path: str) -> RowOptimizer:
    """Builds the optimizer of an `Optimizer` message.

    Args:
        config: The `Config` that the message belongs to.
        path: Path of the message, such as `train_config.optimizer_config[0]`.

    Returns:
        The optimizer.

    Raises:
        ConfigError: If no optimizer is set or a value is out of its range.
    """
    message = message_at(config, path)
    kind = message.WhichOneof("optimizer")
    if kind is None:
        raise config.error(path, f"no optimizer is set{nearest('', OPTIMIZERS)}")
    if kind not in OPTIMIZERS:
        raise config.error(path, f"the optimizer '{kind}' is not known{nearest(kind, OPTIMIZERS)}")
    make, arguments = OPTIMIZERS[kind]
    chosen = getattr(message, kind)
    schedule: Schedule = schedule_from_config(config, f"{path}.{kind}.learning_rate")
    try:
        return make(schedule, **{ours: getattr(chosen, theirs) for ours, theirs in arguments.items()})
    except ValueError as error:
        raise config.error(f"{path}.{kind}", str(error)) from None


def embedding_variables(model: keras.Model) -> list[tf.Variable]:
    """Returns the trainable embedding tables of a model, in the model's order.

    Args:
        model: Any Keras model. Tables are the weights of its `EmbeddingTable` and `Embedding` layers.
    """
    from easyssl.layers.embedding_table import EmbeddingTable

    tables = {
        id(weight)
        for layer in layers_within(model)
        if isinstance(layer, EmbeddingTable | keras.layers.Embedding)
        for weight in layer.trainable_weights
    }
    return [variable for variable in model.trainable_variables if id(variable) in tables]


def frozen_variables(config: Any, model: keras.Model) -> list[tf.Variable]:
    """Returns the variables that `train_config.freeze_gradient` keeps as they are.

    A regular expression of it may match any part of a variable's name. Tables are called `embedding_weights`
    as well as `embeddings`.

    Args:
        config: A `Config`.
        model: A model that has its variables.

    Raises:
        ConfigError: If one is no regular expression or matches nothing.
    """
    patterns = config.message.train_config.freeze_gradient
    variables, frozen = model.trainable_variables if patterns else [], set()
    for index, pattern in enumerate(patterns):
        path = f"train_config.freeze_gradient[{index}]"
        try:
            matches = [
                variable
                for variable in variables
                if any(re.search(pattern, name) for name in names_of(variable.name))
            ]
        except re.error as error:
            raise config.error(path, f"'{pattern}' is not a regular expression: {error}") from None
        if not matches:
            names = [variable.name for variable in variables]
            raise config.error(path, f"'{pattern}' matches no variable{nearest(pattern, names)}")
        frozen |= {id(variable) for variable in matches}
    return [variable for variable in variables if id(variable) in frozen]


def update_rule_from_config(
    config: Any, model: keras.Model, copy: Callable[[tf.Variable], tf.Variable] = lambda variable: variable
) -> UpdateRule:
    """Builds the update rule of `train_config` for the variables of a model.

    One `optimizer_config` is for all variables. Two are for the embedding tables and for everything else.
    `use_moving_average` and `embedding_learning_rate_multiplier` are read from the first one. The multiplier
    is on the gradients; optimizers that divide by the gradient's own size, such as Adam, hardly notice it.

    Args:
        config: A `Config`.
        model: A model that has its variables.
        copy: Returns the variable to update for one of the model's: where several devices have a copy each,
            one of the copies. By default the variable itself.

    Returns:
        The rule.

    Raises:
        ConfigError: If there is no optimizer or more than two, or a field of one of them is wrong.
    """
    return UpdateRule(**_rule_arguments(config, model, copy))


def check_update_rule(config: Any, model: keras.Model) -> None:
    """Checks what `update_rule_from_config` reads, without the memory and time that the slots take.

    Raises:
        ConfigError: As that does.
    """
    _rule_arguments(config, model, lambda variable: variable)


def _rule_arguments(
    config: Any, model: keras.Model, copy: Callable[[tf.Variable], tf.Variable]
) -> dict[str, Any]:
    train_config = config.message.train_config
    check_schedules(config)
    frozen = {id(variable) for variable in frozen_variables(config, model)}
    variables = [variable for variable in model.trainable_variables if id(variable) not in frozen]
    if not variables:
        raise config.error("train_config", "no variable is left to train; see freeze_gradient")
    tables = [variable for variable in embedding_variables(model) if id(variable) not in frozen]
    variables, tables = [copy(variable) for variable in variables], [copy(table) for table in tables]
    table_ids = {id(table) for table in tables}
    if len(train_config.optimizer_config) == 1:
        members = [variables]
    else:
        members = [tables, [variable for variable in variables if id(variable) not in table_ids]]
    groups = [
        (optimizer_from_config(config, f"train_config.optimizer_config[{index}]"), group)
        for index, group in enumerate(members)
    ]
    first = train_config.optimizer_config[0]
    averages = None
    if first.use_moving_average:
        try:
            averages = MovingAverages(variables, tables, first.moving_average_decay)
        except ValueError as error:
            raise config.error("train_config.optimizer_config[0].moving_average_decay", str(error)) from None
    multiplied = first.HasField("embedding_learning_rate_multiplier")
    return {
        "groups": groups,
        "multiplied": tables if multiplied else (),
        "multiplier": first.embedding_learning_rate_multiplier if multiplied else 1.0,
        "clip_norm": train_config.gradient_clipping_by_norm,
        "averages": averages,
    }
