"""Parts of a plan in a few words, for tables and drawings."""

from __future__ import annotations

from easyssl.backbone.plan_types import MAIN, BlockPlan, InputLayerPlan, InputPlan, LayerPlan
from easyssl.config.expressions import Expression

_FORMATS = {
    "sequence": "sequences",
    "list": "feature list",
    "3d": "3-D",
    "2d_and_list": "2-D and list",
    "2d": "2-D",
}


def block_key(scope: str, name: str) -> str:
    """Returns the name of a block among those of all graphs: `block`, or `package/block`."""
    return name if scope == MAIN else f"{scope}/{name}"


def body(expression: Expression) -> str:
    """Returns an expression without the word lambda and its parameters."""
    return expression.text.partition(":")[2].strip() if _has_head(expression) else expression.text


def mapping(source: InputPlan) -> str:
    """Returns what an input does to its value: `[0]`, `tf.add_n(x)`, both with an arrow, or nothing."""
    parts = []
    if source.slice is not None:
        parts.append(body(source.slice).removeprefix("x"))
    if source.fn is not None:
        parts.append(body(source.fn))
    return " -> ".join(parts)


def reads(source: InputPlan, scope: str) -> str:
    """Returns an input as a block of the graph `scope` sees it, such as `tower(user)[0]`."""
    if source.kind == "package_input":
        name = "package input"
    elif source.kind == "target_item":
        name = "target item"
    elif source.kind == "package":
        name = f"{source.name}({_given(source, scope)})"
    else:
        name = source.name if source.scope == scope else f"{source.name} of the main graph"
    if source.slice is not None:
        name += body(source.slice).removeprefix("x")
    if source.fn is not None:
        name += f" -> {body(source.fn)}"
    return f"({name}, ignored)" if source.ignore else name


def block(plan: BlockPlan) -> str:
    """Returns what a block does to its merged inputs."""
    if plan.input_layer is not None:
        return f"group {plan.group}: {input_layer(plan.input_layer)}"
    if plan.embedding is not None:
        return f"group {plan.group}: embedding {plan.embedding.embedding_dim}, {plan.embedding.combiner}"
    if plan.group is not None:
        return f"group {plan.group}: raw"
    steps = [] if plan.extra_input_fn is None else [body(plan.extra_input_fn)]
    steps += [layer(each) for each in plan.layers]
    return ", then ".join(steps) or "identity"


def layer(plan: LayerPlan) -> str:
    """Returns a layer with its parameters, such as `3 x Cross(projection_dim=8)`."""
    if plan.expression is not None:
        return plan.expression.text
    text = plan.class_name
    if plan.kwargs:
        text += "(" + ", ".join(f"{name}={_value(value)}" for name, value in plan.kwargs.items()) + ")"
    if plan.kind == "recurrent":
        return f"{plan.num_steps} steps of {text}"
    return f"{plan.num_repeat} x {text}" if plan.kind == "repeat" else text


def input_layer(plan: InputLayerPlan) -> str:
    """Returns the output format of an input layer and its processing."""
    parts = [_FORMATS[plan.output_format]]
    if plan.do_batch_norm:
        parts.append("batch norm")
    if plan.do_layer_norm:
        parts.append("layer norm")
    if plan.dropout_rate:
        parts.append(f"dropout {plan.dropout_rate:g}")
    if plan.feature_dropout_rate:
        parts.append(f"feature dropout {plan.feature_dropout_rate:g}")
    return ", ".join(parts)


def shorten(text: str, width: int) -> str:
    """Returns `text`, cut to `width` characters with an ellipsis."""
    return text if len(text) <= width else text[: width - 1].rstrip() + "…"


def _given(source: InputPlan, scope: str) -> str:
    given = source.package_input or ""
    if source.package_input_kind == "package":
        given += "()"
    elif source.package_input_kind == "block" and source.package_input_scope != scope:
        given += " of the main graph"
    if source.package_input_fn is not None:
        given += f" -> {body(source.package_input_fn)}"
    if source.reset_input is not None:
        given += f"{', ' if given else ''}reset: {input_layer(source.reset_input)}"
    return given


def _has_head(expression: Expression) -> bool:
    return expression.text.startswith("lambda")


def _value(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else repr(value)
