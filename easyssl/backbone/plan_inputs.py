"""The inputs of blocks: which block, package or feature group each name means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from easyssl.backbone.plan_reader import Reader
from easyssl.backbone.plan_types import MAIN, GroupPlan, InputLayerPlan, InputPlan
from easyssl.config.bind import typed_values
from easyssl.errors import ConfigError, nearest

_FORMATS = (
    "output_seq_and_normal_feature",
    "only_output_feature_list",
    "only_output_3d_tensor",
    "output_2d_tensor_and_feature_list",
)
_PROCESSING = ("do_batch_norm", "do_layer_norm", "dropout_rate", "feature_dropout_rate")
_PACKAGE_FIELDS = ("reset_input", "package_input", "package_input_fn")


@dataclass(frozen=True)
class Names:
    """Every name that an input may mean.

    Attributes:
        groups: Feature groups.
        blocks: Names of the blocks that the config declares, by scope.
        packages: Names of the packages.
    """

    groups: Mapping[str, GroupPlan]
    blocks: Mapping[str, frozenset[str]]
    packages: frozenset[str]

    def scope_of_block(self, name: str, scope: str) -> str | None:
        """Returns where a block seen from `scope` lives: there, else in the main graph, else None."""
        return next((s for s in (scope, MAIN) if name in self.blocks[s]), None)


def read_input(reader: Reader, names: Names, message: Any, scope: str, path: str) -> InputPlan:
    """Reads one input of a block that is not an input block.

    Args:
        reader: For errors and expressions.
        names: What names may mean.
        message: The `Input`.
        scope: Where the block lives.
        path: Place of `message`.

    Returns:
        The input. For a feature group, it names the input block of the group in `scope`, which is implicit if
        the config declares none.

    Raises:
        ConfigError: For a name that means nothing, or an expression that is not in the language.
    """
    kind = message.WhichOneof("name")
    if kind is None:
        raise reader.error(
            path,
            "an input needs one of feature_group_name, block_name, package_name, use_package_input, "
            "use_target_item",
        )
    common = _common(reader, message, path)
    if kind == "package_name":
        return _package_call(reader, names, message, scope, path, common)
    reader.warn_without_effect(message, _PACKAGE_FIELDS, path, "the input is no package")
    if kind == "use_package_input":
        if not message.use_package_input:
            raise reader.error(f"{path}.use_package_input", "is false; name the input instead")
        if scope == MAIN:
            raise reader.error(f"{path}.use_package_input", "only a block of a package has a package input")
        return InputPlan("package_input", "", MAIN, path, **common)
    if kind == "use_target_item":
        if not message.use_target_item:
            raise reader.error(f"{path}.use_target_item", "is false; name the input instead")
        if scope != MAIN:
            raise reader.error(f"{path}.use_target_item", "only a block of the main graph has a target item")
        return InputPlan("target_item", "", MAIN, path, **common)
    name = getattr(message, kind)
    if kind == "feature_group_name":
        if name not in names.blocks[scope] and name not in names.groups:
            raise _unknown(reader, names, name, kind, scope, path)
        return InputPlan("block", name, scope, path, **common)
    home = names.scope_of_block(name, scope)
    if home is None:
        raise _unknown(reader, names, name, kind, scope, path)
    return InputPlan("block", name, home, path, **common)


def read_input_layer(reader: Reader, message: Any, path: str) -> InputLayerPlan:
    """Reads an `InputLayer` message.

    Args:
        reader: For errors.
        message: The message.
        path: Its place.

    Raises:
        ConfigError: For a rate outside of `[0, 1)` or two normalisations at once.
    """
    settings = InputLayerPlan(**typed_values(message))
    for field in ("dropout_rate", "feature_dropout_rate"):
        rate = getattr(settings, field)
        if not 0 <= rate < 1:
            raise reader.error(f"{path}.{field}", f"is {rate:g}, expected 0 or more and less than 1")
    if settings.do_batch_norm and settings.do_layer_norm:
        raise reader.error(f"{path}.do_layer_norm", "batch and layer normalisation exclude each other")
    if message.HasField("wide_output_dim") and settings.wide_output_dim == 0:
        raise reader.error(f"{path}.wide_output_dim", "is 0, expected at least 1")
    chosen, *overruled = [field for field in _FORMATS if getattr(settings, field)] or ["none"]
    for field in overruled:
        reader.warn(f"{path}.{field}", f"has no effect: {chosen} is set")
    if settings.output_format == "sequence":
        for field in _PROCESSING:
            if getattr(settings, field):
                reader.warn(f"{path}.{field}", "has no effect: sequences are not processed")
    return settings


def _common(reader: Reader, message: Any, path: str) -> dict[str, Any]:
    if message.ignore_input:
        reader.warn_without_effect(message, ("input_slice", "input_fn"), path, "the input is ignored")
    return {
        "slice": reader.subscript(message, "input_slice", path),
        "fn": reader.expression(message, "input_fn", path),
        "ignore": message.ignore_input,
    }


def _package_call(
    reader: Reader, names: Names, message: Any, scope: str, path: str, common: Mapping[str, Any]
) -> InputPlan:
    name = message.package_name
    if name not in names.packages:
        raise _unknown(reader, names, name, "package_name", scope, path)
    reset, given, kind, home = None, None, None, MAIN
    if message.HasField("reset_input"):
        reset = read_input_layer(reader, message.reset_input, f"{path}.reset_input")
    if message.HasField("package_input"):
        given = message.package_input
        kind, home = _package_input(reader, names, given, scope, path)
    elif message.HasField("package_input_fn"):
        reader.warn(f"{path}.package_input_fn", "has no effect: there is no package_input")
    return InputPlan(
        "package",
        name,
        MAIN,
        path,
        **common,
        reset_input=reset,
        package_input=given,
        package_input_kind=kind,
        package_input_scope=home,
        package_input_fn=reader.expression(message, "package_input_fn", path),
    )


def _package_input(reader: Reader, names: Names, name: str, scope: str, path: str) -> tuple[str, str]:
    """Returns the kind and scope of what is named: a block, else a package, else a feature group."""
    home = names.scope_of_block(name, scope)
    if home is not None:
        return "block", home
    if name in names.packages:
        return "package", MAIN
    if name in names.groups:
        return "block", scope
    known = {*names.blocks[scope], *names.blocks[MAIN], *names.packages, *names.groups}
    raise reader.error(
        f"{path}.package_input", f"there is no block or package '{name}'{nearest(name, known)}"
    )


def _unknown(reader: Reader, names: Names, name: str, field: str, scope: str, path: str) -> ConfigError:
    """Returns the error about a name that its field cannot mean, with the right field or a near name."""
    blocks = names.blocks[scope] | names.blocks[MAIN]
    candidates: dict[str, tuple[str, Any]] = {
        "feature_group_name": ("feature group", names.groups),
        "block_name": ("block", blocks),
        "package_name": ("package", names.packages),
    }
    what, known = candidates[field]
    for other, (other_what, other_known) in candidates.items():
        if name in other_known:
            return reader.error(f"{path}.{field}", f"'{name}' is a {other_what}; write {other}: '{name}'")
    return reader.error(f"{path}.{field}", f"there is no {what} '{name}'{nearest(name, known)}")
