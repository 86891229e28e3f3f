"""What differs under XLA."""

from __future__ import annotations

import tensorflow as tf


def in_xla() -> bool:
    """Returns whether the graph that is being built is for XLA."""
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False
