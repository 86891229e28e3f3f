"""One evaluation of a compiled backbone.

A block is computed when something asks for it, at most once a call of its graph, so order never matters.
While training every block of the main graph runs, whether or not an output needs it: that is how a dangling
auxiliary loss takes effect. Otherwise only what the outputs need runs, so that no contrastive branch is part
of an export.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from easyssl.backbone import instantiate
from easyssl.backbone.joint_calls import join_rows, split_rows, takes_list
from easyssl.backbone.merge import MergeError, describe, merge_inputs
from easyssl.backbone.plan import BlockPlan, GraphPlan, InputLayerPlan, InputPlan, LayerPlan
from easyssl.backbone.plan_types import TARGET_ITEM

if TYPE_CHECKING:
    from easyssl.backbone.compile import Backbone


class BlockError(ValueError):
    """A block that failed; `path` is the place in the config that is to blame."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass
class Frame:
    """One call of a graph: of the main graph, or of a package by one of its callers."""

    graph: GraphPlan
    package_input: Any = None
    reset_input: InputLayerPlan | None = None
    values: dict[str, Any] = field(default_factory=dict)
    pending: list[str] = field(default_factory=list)


class Evaluation:
    """Evaluates a backbone on one batch.

    Args:
        backbone: Holds the plan and the layers.
        features: Transformed features by name.
        training: Whether every block runs, and layers behave as in training.
    """

    def __init__(self, backbone: Backbone, features: Mapping[str, tf.Tensor], training: bool) -> None:
        self._backbone = backbone
        self._plan = backbone.plan
        self._features = features
        self._training = training
        self._groups: dict[tuple[str, str], Any] = {}
        self._fused: dict[tuple[str, str], list[tf.Tensor]] = {}
        self._joint: dict[str, list[Any]] = {}
        self.main = Frame(self._plan.main)
        self.values: dict[str, Any] = {}
        """Value of every block that was computed, by `block` or `package/block` (the last call's)."""

    def output(self) -> Any:
        """Returns the value of the main graph's outputs."""
        return self._graph_output(self.main)

    def value(self, block: str) -> Any:
        """Returns the value of a block of the main graph."""
        return self._value(self.main, block)

    def _graph_output(self, frame: Frame) -> Any:
        if self._training:
            for block in frame.graph.blocks:
                self._value(frame, block.name)
        outputs = [self._value(frame, name) for name in frame.graph.outputs]
        if frame.graph.output_as_list:
            return outputs
        try:
            return merge_inputs(outputs, frame.graph.outputs)
        except MergeError as e:
            raise self._blame(frame.graph.path, "the output", e, None) from e

    def _value(self, frame: Frame, name: str) -> Any:
        if name not in frame.values:
            block = frame.graph.block(name)
            if name in frame.pending:
                raise BlockError(block.path, f"block '{name}' needs its own output")
            frame.pending.append(name)
            frame.values[name] = self._compute(frame, block)
            frame.pending.pop()
            scope = frame.graph.name
            self.values[f"{scope}/{name}" if scope else name] = frame.values[name]
        return frame.values[name]

    def _compute(self, frame: Frame, block: BlockPlan) -> Any:
        if block.group is not None:
            return self._input_block(frame, block, block.group)
        values, names = [], []
        for plan in block.inputs:
            value = self._input(frame, plan)
            if not plan.ignore:
                values.append(value)
                names.append(plan.name or plan.kind.replace("_", " "))
        try:
            value = merge_inputs(values, names, block.concat_axis, block.merge_into_list)
            if block.extra_input_fn is not None:
                value = block.extra_input_fn(value)
        except Exception as e:
            raise self._blame(block.path, f"block '{block.name}'", e, None) from e
        for layer_plan, layers in zip(
            block.layers, self._backbone.layers_of(frame.graph.name, block.name), strict=True
        ):
            value = self._layer(layer_plan, layers, value)
        return value

    def _layer(self, plan: LayerPlan, layers: list[Any], value: Any) -> Any:
        try:
            if plan.expression is not None:
                return plan.expression(value)
            if plan.kind == "recurrent":
                return instantiate.call_recurrent(layers, value, plan.fixed_input_index, self._training)
            if plan.kind == "repeat":
                return instantiate.call_repeated(layers, value, plan, self._training)
            return instantiate.call_layer(layers[0], value, self._training)
        except Exception as e:
            what = f"layer '{plan.name}'" + (f" ({plan.class_name})" if plan.class_name else "")
            raise self._blame(plan.path, what, e, value) from e

    def _input(self, frame: Frame, plan: InputPlan) -> Any:
        if plan.kind == "package_input":
            value = frame.package_input
        elif plan.kind == "target_item":
            value = self._features[TARGET_ITEM]
        elif plan.kind == "package":
            value = self._call_package(frame, plan)
        else:
            value = self._value(frame if plan.scope == frame.graph.name else self.main, plan.name)
        if plan.ignore:
            return None
        try:
            if plan.slice is not None:
                value = plan.slice(value)
            return value if plan.fn is None else plan.fn(value)
        except Exception as e:
            raise self._blame(plan.path, f"input '{plan.name}'", e, value) from e

    def _call_package(self, frame: Frame, plan: InputPlan) -> Any:
        # Without training only what is asked for is computed, so calls stay apart.
        calls = self._backbone.joint_calls.get(plan.name, ()) if self._training else ()
        index = next((i for i, call in enumerate(calls) if call is plan), None)
        if index is None:
            return self._call(plan, self._package_input(frame, plan))
        if plan.name not in self._joint:
            given = [self._package_input(self.main, call) for call in calls]
            lists = all(isinstance(each, list | tuple) for each in given)
            joined = join_rows(given) if lists or not takes_list(self._plan.packages[plan.name]) else None
            if joined is None:
                self._joint[plan.name] = [self._call(*each) for each in zip(calls, given, strict=True)]
            else:
                self._joint[plan.name] = split_rows(self._call(plan, joined), given)
        return self._joint[plan.name][index]

    def _call(self, plan: InputPlan, package_input: Any) -> Any:
        return self._graph_output(Frame(self._plan.packages[plan.name], package_input, plan.reset_input))

    def _package_input(self, frame: Frame, plan: InputPlan) -> Any:
        package_input = None
        given = plan.package_input or ""
        if plan.package_input_kind == "block":
            owner = frame if plan.package_input_scope == frame.graph.name else self.main
            package_input = self._value(owner, given)
        elif plan.package_input_kind == "package":
            package_input = self._graph_output(Frame(self._plan.packages[given]))
        if plan.package_input_fn is not None:
            try:
                package_input = plan.package_input_fn(package_input)
            except Exception as e:
                raise self._blame(plan.path, f"package_input_fn of '{plan.name}'", e, package_input) from e
        return package_input

    def _input_block(self, frame: Frame, block: BlockPlan, group: str) -> Any:
        scope = frame.graph.name
        try:
            if block.kind == "raw_input":
                return self._backbone.lookups.raw(group, self._features)
            if block.kind == "embedding_layer":
                layer = self._backbone.input_layer_of(scope, block, None)
                value = layer(self._features)
                self._fused[scope, block.name] = tf.nest.flatten(value)
                return value
            key = (scope, group)
            if key not in self._groups:
                self._groups[key] = self._backbone.lookups.look_up(
                    scope, group, self._features, self._training, self._backbone.checking
                )
            layer = self._backbone.input_layer_of(scope, block, frame.reset_input)
            return layer(self._groups[key], training=self._training)
        except Exception as e:
            raise self._blame(block.path, f"feature group '{group}'", e, None) from e

    @property
    def embeddings(self) -> list[tf.Tensor]:
        """Every embedding that was looked up, each once."""
        looked_up = [group.embeddings for group in self._groups.values()]
        return [tensor for tensors in (*looked_up, *self._fused.values()) for tensor in tensors]

    def _blame(self, path: str, what: str, error: Exception, value: Any) -> Exception:
        """Says which part of the config an error belongs to; an error that says so already stays as it is."""
        if not self._backbone.checking:
            return error
        received = "" if value is None else f"; its input is {describe(value)}"
        return self._backbone.blame(path, f"{what} fails: {instantiate.first_line(error)}{received}")
