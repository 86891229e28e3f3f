"""Every component in a model made from a config: it trains, and it is exported without what only trains.

`configs/` holds one file for each component, with nothing but a `model_config`; `head.config` says which
columns there are.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from trained_config import COMPONENTS, STEPS, Trained, served_function

from easyssl.export import versions

CONFIGS = sorted((COMPONENTS / "configs").glob("*.config"))
# Layers that report no loss and draw nothing; they are exported with the slow tests, the others every time.
PLAIN = {
    *("aitm_tower", "attention", "auto_dis_embedding", "bi_linear", "cin", "cross", "dot_interaction"),
    *("fi_bi_net", "fm", "gate", "highway", "mask_block", "mask_net", "mmoe", "multi_head_attention"),
    *("nary_dis_embedding", "periodic_embedding", "pp_net", "se_net", "text_cnn"),
}


@pytest.fixture(scope="module")
def trained(request, tmp_path_factory):
    return Trained(request.param, tmp_path_factory.mktemp(request.param.stem))


def for_each(plain=()):
    """Parametrizes a test by the config; `plain` are the marks of plain layers."""
    configs = [
        pytest.param(path, id=path.stem, marks=plain if path.stem in PLAIN else ()) for path in CONFIGS
    ]
    return pytest.mark.parametrize("trained", configs, indirect=True)


@for_each()
def test_it_trains(trained):
    assert len(trained.results) == STEPS
    for result in trained.results:
        assert result.finite and np.all(np.isfinite([*result.unweighted.values(), result.norm]))
    components = trained.components()
    assert {type(layer) for layer in components}, "the config uses none of our layers"
    for layer in components:
        weights = layer.trainable_weights or layer.weights
        assert not weights or any(trained.changed(w) for w in weights), f"nothing of {layer.name} changed"


@for_each(plain=pytest.mark.slow)
def test_it_is_exported_without_what_only_trains(trained):
    model, path = trained.model, trained.export()
    serve = tf.saved_model.load(str(path)).signatures["serving_default"]
    dtypes = {name: spec.dtype for name, spec in serve.structured_input_signature[1].items()}
    for count in (len(trained.rows["clk"]), 1):
        rows = {name: tf.constant(trained.rows[name][:count], dtype) for name, dtype in dtypes.items()}
        ours, theirs = model(model.transform(rows), training=False), serve(**rows)
        for name, value in theirs.items():
            np.testing.assert_allclose(value, ours[name], rtol=1e-4, atol=1e-5)
    manifest = json.loads((path / versions.MANIFEST).read_text())
    assert [op for op in manifest["operations"] if "Random" in op or "Shuffle" in op] == []
    assert useless_nodes(path) == []


# What reads weights or takes time; the odd subtraction that nobody reads does not matter.
COSTLY = {"ReadVariableOp", "ResourceGather", "MatMul", "BatchMatMulV2", "Einsum"}


def useless_nodes(path):
    """Returns the costly nodes of the served function that neither an output nor a check needs."""
    serve = served_function(path)
    nodes = {node.name: node for node in serve.node_def}
    todo = [name.split(":")[0] for name in (*serve.ret.values(), *serve.control_ret.values())]
    reached = set()
    while todo:
        name = todo.pop()
        if name in nodes and name not in reached:
            reached.add(name)
            todo += [i.lstrip("^").split(":")[0] for i in nodes[name].input]
    return sorted(name for name in set(nodes) - reached if nodes[name].op in COSTLY)
