"""Several calls of a package as one call on all of their rows.

A contrastive model encodes each batch several times: as it is, and in two views. Where no row of a package's
output depends on another row, one call on the rows of all inputs gives the same, with a third of the
operations to build and to start. Only the padding of sequences may differ: each call gets its own back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from easyssl.backbone.plan import MAIN, GraphPlan, InputPlan, LayerPlan, Plan
from easyssl.backbone.plan_order import targets
from easyssl.config.expressions import indexed_item


def joint_calls(plan: Plan, row_by_row: Callable[[str, str], bool]) -> Mapping[str, tuple[InputPlan, ...]]:
    """Returns the inputs of blocks of the main graph whose calls can be one, by package.

    Args:
        plan: The plan.
        row_by_row: Whether the layers of a block, given by package and name, work on each row by itself.
    """
    found = {}
    for name, package in plan.packages.items():
        if not _only_reads_its_input(package) or not all(row_by_row(name, b.name) for b in package.blocks):
            continue
        calls = tuple(
            source
            for block in plan.main.blocks
            for source in block.inputs
            if source.kind == "package" and source.name == name and source.reset_input is None
        )
        # What a call is given must not come from another call.
        if len(calls) > 1 and not any(name in _packages_behind(plan, call) for call in calls):
            found[name] = calls
    return MappingProxyType(found)


def takes_list(package: GraphPlan) -> bool:
    """Returns whether a package reads parts of its input, which therefore has to be a list."""
    sources = (source for block in package.blocks for source in block.inputs)
    return any(source.kind == "package_input" and source.slice is not None for source in sources)


def _only_reads_its_input(package: GraphPlan) -> bool:
    return all(
        block.group is None
        and block.extra_input_fn is None
        and all(_plain(layer) for layer in block.layers)
        and all(_from_within(source, package.name) for source in block.inputs)
        for block in package.blocks
    )


def _plain(layer: LayerPlan) -> bool:
    return layer.kind == "keras_layer"


def _from_within(source: InputPlan, package: str) -> bool:
    if source.kind == "package_input":
        part = source.slice is None or indexed_item(source.slice) is not None
    else:
        part = source.kind == "block" and source.scope == package and source.slice is None
    return part and source.fn is None


def _packages_behind(plan: Plan, call: InputPlan) -> set[str]:
    """Returns the packages that what a call is given is computed with."""
    graphs = {MAIN: plan.main, **plan.packages}
    pending = [node for node in targets(call) if node != (call.name, None)]
    seen = set()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        scope, name = node
        blocks = graphs[scope].blocks if name is None else (graphs[scope].block(name),)
        pending += [target for block in blocks for source in block.inputs for target in targets(source)]
    return {scope for scope, name in seen if name is None}


def join_rows(values: Sequence[Any]) -> Any | None:
    """Puts the rows of several values of one structure below each other.

    Args:
        values: Tensors, or lists or tuples of them, equal in structure but for a None at the end, which is
            left out. Sequences `[batch, seq_len, dim]` are padded to the longest.

    Returns:
        One value of that structure; None if they differ in more than rows and `seq_len`.

    Example:
        >>> joined = join_rows([(tf.ones([2, 3, 1]), tf.ones([2])), [tf.ones([1, 2, 1]), tf.ones([1]), None]])
        >>> [tuple(part.shape) for part in joined]
        [(3, 3, 1), (3,)]
    """
    if all(isinstance(value, list | tuple) for value in values):
        parts = [_without_none(value) for value in values]
        if len({len(each) for each in parts}) > 1:
            return None
        joined = [join_rows(part) for part in zip(*parts, strict=True)]
        return None if any(part is None for part in joined) else joined
    if not all(isinstance(value, tf.Tensor) and value.shape.rank for value in values):
        return None
    shapes = [value.shape.as_list() for value in values]
    fixed = {(len(shape), *shape[2 if len(shape) == 3 else 1 :]) for shape in shapes}
    if len(fixed) > 1 or None in next(iter(fixed)) or len({value.dtype for value in values}) > 1:
        return None
    if len(shapes[0]) == 3 and (len({shape[1] for shape in shapes}) > 1 or shapes[0][1] is None):
        longest = tf.reduce_max([tf.shape(value)[1] for value in values])
        values = [tf.pad(v, [[0, 0], [0, longest - tf.shape(v)[1]], [0, 0]]) for v in values]
    return tf.concat(values, axis=0)


def split_rows(value: Any, like: Sequence[Any]) -> list[Any]:
    """Undoes `join_rows` for what was computed from the joined rows.

    Args:
        value: A tensor whose first axis is the joined rows, or a list or tuple of such.
        like: The values that were joined.

    Returns:
        One value for each of `like`. Sequences that were padded to the longest are as long as before.
    """
    first = [tf.nest.flatten(each)[0] for each in like]
    rows = tf.stack([tf.shape(tensor)[0] for tensor in first])
    longest = max((tensor.shape[1] or 0 for tensor in first if tensor.shape.rank == 3), default=0)
    split = []
    for tensor in tf.nest.flatten(value):
        parts = tf.split(tensor, rows, num=len(like))
        for number, given in enumerate(first):
            parts[number].set_shape(given.shape[:1].concatenate(tensor.shape[1:]))
            if given.shape.rank == tensor.shape.rank == 3 and tensor.shape[1] in (None, longest):
                parts[number] = parts[number][:, : tf.shape(given)[1]]
        split.append(parts)
    return [tf.nest.pack_sequence_as(value, parts) for parts in zip(*split, strict=True)]


def _without_none(value: Sequence[Any]) -> list[Any]:
    kept = list(value)
    while kept and kept[-1] is None:
        kept.pop()
    return kept
