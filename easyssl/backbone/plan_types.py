"""The plan: what a backbone computes, as immutable values.

A plan is made from a config by `easyssl.backbone.plan.build_plan`, printed by `easyssl.backbone.render` and
turned into Keras layers by `easyssl.backbone.compile`. Nothing here knows protobuf or TensorFlow. Every name
has been resolved, every expression parsed and every constructor argument bound; `path` fields hold the place
in the config that a part came from, for `Config.error`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from easyssl.config.expressions import Expression

MAIN = ""
"""The scope of blocks of the backbone itself; the scope of a block in a package is the package's name."""

TARGET_ITEM = "@target_item"
"""Name among the features of what an input of the kind `"target_item"` reads."""


@dataclass(frozen=True)
class InputLayerPlan:
    """How the features of a group become the output of an input block.

    The output formats exclude each other; the first one set wins, in the order of `output_format`.

    Attributes:
        do_batch_norm: Normalise over the batch.
        do_layer_norm: Normalise over the last axis.
        dropout_rate: Element-wise dropout rate while training.
        feature_dropout_rate: Rate at which whole features are dropped while training.
        only_output_feature_list: Output a list of `[batch, width]`, one per feature.
        only_output_3d_tensor: Output `[batch, num_features, width]`.
        output_2d_tensor_and_feature_list: Output a tuple of `[batch, total width]` and the list.
        output_seq_and_normal_feature: Output a tuple of sequences, lengths and plain features.
        wide_output_dim: Width of the embeddings of a WIDE group, if this block sets it.
        concat_seq_feature: In sequence mode, concatenate the sequences on the last axis; otherwise keep
            lists.
    """

    do_batch_norm: bool = False
    do_layer_norm: bool = False
    dropout_rate: float = 0.0
    feature_dropout_rate: float = 0.0
    only_output_feature_list: bool = False
    only_output_3d_tensor: bool = False
    output_2d_tensor_and_feature_list: bool = False
    output_seq_and_normal_feature: bool = False
    wide_output_dim: int | None = None
    concat_seq_feature: bool = True

    @property
    def output_format(self) -> str:
        """One of `"sequence"`, `"list"`, `"3d"`, `"2d_and_list"` and `"2d"`."""
        if self.output_seq_and_normal_feature:
            return "sequence"
        if self.only_output_feature_list:
            return "list"
        if self.only_output_3d_tensor:
            return "3d"
        if self.output_2d_tensor_and_feature_list:
            return "2d_and_list"
        return "2d"


@dataclass(frozen=True)
class EmbeddingLayerPlan:
    """One table for all features of a group: its width, how values are pooled, and the output format."""

    embedding_dim: int
    combiner: str = "weight"
    concat: bool = True


@dataclass(frozen=True)
class InputPlan:
    """One `inputs {}` of a block that is not an input block.

    A `feature_group_name` has become the input block, explicit or implicit, that stands for the group.

    Attributes:
        kind: `"block"`, `"package"` (called here), `"package_input"` (what the caller of this package hands
            in) or `"target_item"` (the id of the item that a row has to find).
        name: Name of the block or of the package; empty for other kinds.
        scope: Where the named block lives: `MAIN` or the name of the package; `MAIN` for other kinds.
        path: Place in the config.
        slice: Subscript applied to the value first.
        fn: Function of one argument applied after `slice`.
        ignore: The value is evaluated and dropped; `slice` and `fn` are not applied.
        reset_input: Replaces the settings of every input layer of the called package during this call, but
            for those that give sequences.
        package_input: Name of the block or package whose value the called package reads as its package input.
        package_input_kind: `"block"`, `"package"` (called anew for this input) or None without
            `package_input`.
        package_input_scope: Where the block `package_input` lives.
        package_input_fn: Function applied to that value.
    """

    kind: str
    name: str
    scope: str
    path: str
    slice: Expression | None = None
    fn: Expression | None = None
    ignore: bool = False
    reset_input: InputLayerPlan | None = None
    package_input: str | None = None
    package_input_kind: str | None = None
    package_input_scope: str = MAIN
    package_input_fn: Expression | None = None


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a block.

    Attributes:
        kind: `"keras_layer"`, `"lambda"`, `"recurrent"` or `"repeat"`.
        name: The block's, `<block>_l<k>` in a sequence. Instances of recurrent and repeat layers are called
            `<name>_<i>`. Where that would give two layers one name, `names.name_layers` says what they get.
        path: Place in the config of the `keras_layer` or `lambda`.
        class_name: Name in the registry; empty for `"lambda"`.
        kwargs: Constructor arguments, only those that the config sets and, for a few classes,
            `config.bind.STRUCT_DEFAULTS`.
        bound: Whether `kwargs` were checked against the constructor. They were not for layers of Keras
            itself, whose signatures need TensorFlow.
        params_path: Place in the config of the parameters.
        expression: The function of a `"lambda"`.
        num_steps: Number of layers of a `"recurrent"`.
        fixed_input_index: Element of the input list that every step of a `"recurrent"` sees unchanged.
        num_repeat: Number of layers of a `"repeat"`.
        output_concat_axis: Axis on which the outputs of a `"repeat"` are concatenated; None gives a list.
        input_slice: Subscript of `(x, i)` for instance `i` of a `"repeat"`.
        input_fn: Function of `(x, i)`, applied after `input_slice`.
    """

    kind: str
    name: str
    path: str
    class_name: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    bound: bool = True
    params_path: str = ""
    expression: Expression | None = None
    num_steps: int = 1
    fixed_input_index: int | None = None
    num_repeat: int = 1
    output_concat_axis: int | None = None
    input_slice: Expression | None = None
    input_fn: Expression | None = None


@dataclass(frozen=True)
class BlockPlan:
    """One node of a graph.

    Attributes:
        name: Unique in its graph.
        path: Place in the config; for an implicit block, that of the input which made it necessary.
        kind: `"identity"`, `"layers"` (one or more, in sequence) or an input block: `"input_layer"`,
            `"raw_input"`, `"embedding_layer"`.
        inputs: What is merged; empty for input blocks.
        group: The feature group of an input block.
        input_layer: Settings of an `"input_layer"` block.
        embedding: Settings of an `"embedding_layer"` block.
        layers: The layers of a `"layers"` block.
        concat_axis: Axis on which several input tensors are concatenated.
        merge_into_list: The inputs become a list instead.
        extra_input_fn: Function applied to the merged input.
        implicit: Made for a feature group that has no input block of its own.
        reports_loss: Some layer of the block adds a loss to the training loss.
    """

    name: str
    path: str
    kind: str
    inputs: tuple[InputPlan, ...] = ()
    group: str | None = None
    input_layer: InputLayerPlan | None = None
    embedding: EmbeddingLayerPlan | None = None
    layers: tuple[LayerPlan, ...] = ()
    concat_axis: int = -1
    merge_into_list: bool = False
    extra_input_fn: Expression | None = None
    implicit: bool = False
    reports_loss: bool = False

    @property
    def takes_reset(self) -> bool:
        """Whether a `reset_input` replaces the settings of the block; what gives sequences keeps them."""
        given = self.input_layer
        return self.kind == "input_layer" and (given is None or given.output_format != "sequence")


@dataclass(frozen=True)
class GraphPlan:
    """The main graph or a package.

    Attributes:
        name: `MAIN`, or the package's name.
        path: Place in the config.
        blocks: In an order in which every block comes after what it reads; declaration order where that
            leaves a choice. For the main graph, this includes the blocks that called packages read.
        outputs: Names of blocks, in order.
        output_as_list: The output is a list even for one block; otherwise the outputs are merged like inputs.
        unused: Blocks that no output depends on. They are evaluated while training all the same: that is how
            the loss of an auxiliary block takes effect.
    """

    name: str
    path: str
    blocks: tuple[BlockPlan, ...]
    outputs: tuple[str, ...]
    output_as_list: bool = False
    unused: tuple[str, ...] = ()

    def block(self, name: str) -> BlockPlan:
        """Returns the block called `name`.

        Raises:
            KeyError: If there is none.
        """
        for block in self.blocks:
            if block.name == name:
                return block
        raise KeyError(name)


@dataclass(frozen=True)
class TargetAttentionPlan:
    """A target attention that a feature group appends to its output.

    Attributes:
        name: Unique in its group.
        keys: Names of the plain features that, concatenated, are the target.
        histories: Names of the sequence features that are concatenated step by step.
        auxiliary: Names of the sequence features that are summed up with the same weights.
        attention_dnn: Parameters of the MLP that scores a step.
        transform: Key and history are projected to one width.
        need_key: The key is part of the output.
    """

    name: str
    keys: tuple[str, ...]
    histories: tuple[str, ...]
    auxiliary: tuple[str, ...]
    attention_dnn: Mapping[str, Any]
    transform: bool = False
    need_key: bool = True

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all features that it reads."""
        return (*self.keys, *self.histories, *self.auxiliary)


@dataclass(frozen=True)
class GroupPlan:
    """A feature group with its features written out.

    Attributes:
        name: Unique.
        wide: The group looks features up in tables of their own with `Plan.wide_output_dim` columns.
        features: Feature names, in order.
        path: Place in the config.
        attentions: Target attentions over histories.
    """

    name: str
    wide: bool
    features: tuple[str, ...]
    path: str
    attentions: tuple[TargetAttentionPlan, ...] = ()

    @property
    def attention_features(self) -> tuple[str, ...]:
        """Names of the features that only the target attentions read."""
        read = dict.fromkeys(name for attention in self.attentions for name in attention.features)
        return tuple(name for name in read if name not in self.features)


@dataclass(frozen=True)
class Plan:
    """A backbone: the main graph, the packages it may call, and what feeds them.

    Attributes:
        main: The graph whose output is the backbone's.
        packages: By name, in an order in which every package comes after those that it calls.
        groups: All feature groups of the model by name.
        top_mlp: Applied to the output of the main graph; a list output is concatenated first.
        wide_output_dim: Width of the tables of WIDE groups; None when there is no such group.
        warnings: One line per setting that has no effect or hardly the one intended.
    """

    main: GraphPlan
    packages: Mapping[str, GraphPlan]
    groups: Mapping[str, GroupPlan]
    top_mlp: LayerPlan | None = None
    wide_output_dim: int | None = None
    warnings: tuple[str, ...] = ()

    @property
    def graphs(self) -> tuple[GraphPlan, ...]:
        """The packages, each after those that it calls, then the main graph."""
        return (*self.packages.values(), self.main)

    @property
    def used_groups(self) -> tuple[str, ...]:
        """Names of the feature groups that some block reads, in declaration order."""
        read = {block.group for graph in self.graphs for block in graph.blocks}
        return tuple(name for name in self.groups if name in read)
