"""From a plan to one Keras layer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import tensorflow as tf
from tensorflow import keras

from easyssl.backbone import instantiate
from easyssl.backbone.evaluate import BlockError, Evaluation
from easyssl.backbone.groups import GroupLookups
from easyssl.backbone.joint_calls import joint_calls
from easyssl.backbone.merge import concat, describe
from easyssl.backbone.names import instance_suffixes, name_layers, resets
from easyssl.backbone.plan import BlockPlan, GraphPlan, InputLayerPlan, LayerPlan, Plan
from easyssl.config import Config
from easyssl.data.features.spec import FeatureSpec
from easyssl.layers.input_layer import InputLayer
from easyssl.losses import report_loss


class Backbone(keras.layers.Layer):
    """A directed acyclic graph of layers, made from a plan.

    Args:
        plan: The checked plan of the config's backbone.
        specs: The features by name.
        config: The config that the plan was made from; used to say where an error is.
        kernel_l2: Adds `kernel_l2 / 2 * sum(kernel ** 2)` for layers of ours with a `kernel_regularizer`.
        embedding_l2: Adds `embedding_l2 / 2 * sum(e ** 2)` over the embeddings looked up in the batch.
        variational_dropout: Arguments of a `VariationalDropout` for each feature group, or None for none.
        **kwargs: `name` and `dtype` of the layer.

    Call arguments:
        features: Transformed features by name (see `easyssl.data.transform.FeatureTransform`).
        training: Whether dropout, augmentation and auxiliary losses act. If not, only blocks that the outputs
            need are computed.
        return_blocks: Names of blocks of the main graph whose values are wanted too.
        only_blocks: Names of blocks of the main graph whose values are wanted instead of the outputs;
            features that these do not read may be missing.

    Returns:
        The value of the plan's outputs: usually `[batch, dim]`, a list with `output_blocks`; with
        `only_blocks`, the list of their values. With
        `return_blocks`, a tuple of that and a dict with the value of every block that was computed, by
        `block` or `package/block`.

    Example:
        >>> backbone = Backbone(plan, specs, config)  # doctest: +SKIP
        >>> backbone(transform(rows), training=False).shape  # doctest: +SKIP
        TensorShape([32, 128])
    """

    def __init__(
        self,
        plan: Plan,
        specs: Mapping[str, FeatureSpec],
        config: Config,
        kernel_l2: float = 0.0,
        embedding_l2: float = 0.0,
        variational_dropout: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.plan = plan
        self.checking = False
        """Whether a config is being checked, in a graph that is not run: errors name the block they come
        from, and of features that are alike only one is looked up."""
        self.blamed: BlockError | None = None
        """The innermost block that failed. Kept here because Keras wraps what leaves a layer's `call`."""
        self.block_shapes: Mapping[str, str] = MappingProxyType({})
        """Output shape of every block, by `block` or `package/block`, once the config was checked."""
        self._error = config.error
        self._resolve = config.resolve_path
        self._kernel_l2 = kernel_l2
        self._embedding_l2 = embedding_l2
        self.lookups = GroupLookups(
            plan,
            specs,
            kernel_regularizer=keras.regularizers.L2(kernel_l2 / 2) if kernel_l2 > 0 else None,
            variational_dropout=variational_dropout,
            error=config.error,
            dtype=self._policy,
            name="groups",
        )
        names = name_layers(plan, reserved=[self.lookups.name])
        blocks: dict[tuple[str, str], list[list[keras.layers.Layer]]] = {}
        input_layers: dict[tuple[str, str], list[keras.layers.Layer]] = {}
        for graph in plan.graphs:
            for block in graph.blocks:
                at = (graph.name, block.name)
                if block.group is not None:
                    input_layers[at] = self._make_input_layers(graph, block, names[at])
                elif block.layers:
                    free = iter(names[at])
                    blocks[at] = [
                        [] if layer.kind == "lambda" else self._make(layer, next(free))
                        for layer in block.layers
                    ]
        # Keras finds layers in lists, and refuses to save dicts whose keys are not texts.
        self.block_layers = [layer for made in blocks.values() for each in made for layer in each]
        self.input_layers = [layer for made in input_layers.values() for layer in made]
        self._blocks = MappingProxyType(blocks)
        self._input_layers = MappingProxyType(input_layers)
        self.joint_calls = joint_calls(plan, self._row_by_row)
        """Calls of packages that are one call while training, by package."""
        self.top_mlp = self._make(plan.top_mlp, plan.top_mlp.name)[0] if plan.top_mlp is not None else None

    def build(self, input_shape: Any = None) -> None:
        """Marks the layer as built; each block's layers are built when their input is known, in `call`."""
        self.built = True

    def call(
        self,
        features: Mapping[str, tf.Tensor],
        training: bool | None = None,
        return_blocks: Sequence[str] | None = None,
        only_blocks: Sequence[str] | None = None,
    ) -> Any:
        """Evaluates the graph; see the class."""
        run = Evaluation(self, features, bool(training))
        if only_blocks is not None:
            return [run.value(name) for name in only_blocks]
        output = run.output()
        if self.top_mlp is not None and self.plan.top_mlp is not None:
            try:
                if isinstance(output, (list, tuple)):
                    output = concat(list(output), [f"output {i}" for i in range(len(output))])
                output = instantiate.call_layer(self.top_mlp, output, bool(training))
            except Exception as e:
                raise self.blame(self.plan.top_mlp.path, f"top_mlp fails: {instantiate.first_line(e)}") from e
        if training and self._embedding_l2 > 0 and run.embeddings:
            squares = [tf.reduce_sum(tf.square(tf.cast(e, tf.float32))) for e in run.embeddings]
            report_loss(
                self, "embedding_regularization_loss", tf.add_n(squares) / 2, weight=self._embedding_l2
            )
        if self.checking:
            shapes = {name: describe(value) for name, value in run.values.items()}
            self.block_shapes = MappingProxyType(shapes)
        if return_blocks is None:
            return output
        for name in return_blocks:
            run.value(name)
        return output, run.values

    def blame(self, path: str, text: str) -> BlockError:
        """Returns an error that says which part of the config is at fault: the first one that was blamed."""
        if self.blamed is None:
            self.blamed = BlockError(path, text)
        return self.blamed

    def layers_of(self, scope: str, block: str) -> list[list[keras.layers.Layer]]:
        """Returns the layer objects of each planned layer of a block; an empty list for a `lambda`."""
        return self._blocks.get((scope, block), [])

    def input_layer_of(
        self, scope: str, block: BlockPlan, reset: InputLayerPlan | None
    ) -> keras.layers.Layer:
        """Returns the layer that turns looked-up features into the output of an input block."""
        number = 0
        if reset is not None and block.takes_reset:
            number = 1 + resets(self.plan, scope).index(reset)
        return self._input_layers[scope, block.name][number]

    def parameters_of(self, scope: str, block: str) -> int:
        """Returns how many numbers a block's layers hold, embedding tables and random states not counted."""
        layers = [layer for made in self.layers_of(scope, block) for layer in made]
        layers += self._input_layers.get((scope, block), [])
        weights = [w for layer in layers for w in layer.weights if "float" in str(w.dtype)]
        return sum(math.prod(int(dim) for dim in w.shape) for w in weights)

    def _row_by_row(self, scope: str, block: str) -> bool:
        layers = [layer for made in self.layers_of(scope, block) for layer in made]
        return all(getattr(layer, "row_by_row", False) for layer in layers)

    @property
    def _policy(self) -> Any:
        return getattr(self, "dtype_policy", None) or getattr(self, "_dtype_policy", None)

    def _make_input_layers(
        self, graph: GraphPlan, block: BlockPlan, names: Sequence[str]
    ) -> list[keras.layers.Layer]:
        """Makes the layers of an input block: its own, then one for each of `resets` if it takes them."""
        if block.embedding is not None and block.group is not None:
            table = self.lookups.fused_table(block.group, block.embedding, name=names[0], dtype=self._policy)
            return [table]
        if block.kind != "input_layer":
            return []
        own = block.input_layer or InputLayerPlan()
        others = resets(self.plan, graph.name) if block.takes_reset else []
        return [
            InputLayer(**_settings(settings), name=name, dtype=self._policy)
            for settings, name in zip([own, *others], names, strict=True)
        ]

    def _make(self, plan: LayerPlan, name: str) -> list[keras.layers.Layer]:
        plan = dataclasses.replace(plan, name=name)
        return [
            instantiate.make_layer(plan, self._kernel_l2, self._policy, self._error, suffix, self._resolve)
            for suffix in instance_suffixes(plan)
        ]


def _settings(plan: InputLayerPlan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in plan.__dataclass_fields__ if name != "wide_output_dim"}


__all__ = ["Backbone", "BlockError"]
