"""Names for the variables of a model, the same in every process that builds it."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf
from tensorflow import keras

from easyssl.layers.embedding_table import EmbeddingTable


def named_variables(model: keras.Model) -> dict[str, tf.Variable]:
    """Returns all variables of a model by name: weights, moving statistics, states of random layers.

    Args:
        model: A model that has its variables.

    Returns:
        Name without `:0` -> variable, in the model's order. A name that occurs again gets `#2`, `#3`, ...
    """
    named: dict[str, tf.Variable] = {}
    seen: set[int] = set()
    for variable in model.weights:
        if id(variable) not in seen:
            seen.add(id(variable))
            named[_free(variable.name.split(":")[0], named)] = variable
    for layer in model.submodules:
        # Random layers of Keras itself (such as dropout inside a GRU) keep a generator that is no weight.
        generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
        if generator is not None and id(generator) not in seen:
            seen.add(id(generator))
            named[_free(f"{layer.name}/random_generator", named)] = generator.state
    return named


def names_of(name: str) -> tuple[str, ...]:
    """Returns the names that a config may call a variable: its own, and for a table that of EasyRec as well.

    Args:
        name: Name of a variable, with or without `:0`.

    Example:
        >>> names_of("user_id/embeddings:0")
        ('user_id/embeddings:0', 'user_id/embedding_weights:0')
    """
    scope, _, last = name.rpartition("/")
    plain, colon, output = last.partition(":")
    return (name, f"{scope}/embedding_weights{colon}{output}") if plain == "embeddings" else (name,)


def layers_within(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns a model and all layers in it, those inside of others too.

    `submodules` finds these as well, and looks through every attribute of every layer for them, which takes
    seconds where there are hundreds of features.
    """
    return list(model._flatten_layers())


def fixed_tables(model: keras.Model, named: Mapping[str, tf.Variable]) -> list[str]:
    """Returns the names of the embedding tables that come from files and are not trained.

    Args:
        model: A model that has its variables.
        named: Its variables by name, see `named_variables`.
    """
    tables = [layer for layer in layers_within(model) if isinstance(layer, EmbeddingTable) and layer.fixed]
    ids = {id(weight) for table in tables for weight in table.weights}
    return [name for name, variable in named.items() if id(variable) in ids]


def _free(name: str, taken: dict[str, tf.Variable]) -> str:
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}#{number}"
    return candidate
