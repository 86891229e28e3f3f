"""Every component in a model made from a config: it trains, and it is exported without what only trains.

`configs/` holds one file for each component, with nothing but a `model_config`; `head.config` says which
columns there are.
"""

import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from easyssl import registry
from easyssl.config import parse_config
from easyssl.data.dataset import dataset_from_config
from easyssl.data.from_config import columns_from_config
from easyssl.export import versions
from easyssl.export.exporter import export_model
from easyssl.training.labels import Labels
from easyssl.training.optimizers.build import update_rule_from_config
from easyssl.training.pipeline import Preparation
from easyssl.training.setup import build_model
from easyssl.training.step import TrainStep

HERE = pathlib.Path(__file__).parent
CONFIGS = sorted((HERE / "configs").glob("*.config"))
STEPS = 2


def write_rows(path, number):
    """Writes rows with histories of 0 to 14 steps, more than are kept."""
    rng = np.random.default_rng(0)
    lines = []
    for row in range(number):
        length = row % 15
        items = rng.integers(0, 40, length)
        tags = "|".join(f"t{t}" for t in rng.integers(0, 9, row % 3))
        cells = [rng.integers(0, 2), f"u{rng.integers(0, 20)}", f"i{rng.integers(0, 40)}"]
        cells += [f"c{rng.integers(0, 5)}", f"{rng.uniform(0, 5):.3f}", tags]
        cells += ["|".join(f"i{i}" for i in items), "|".join(f"c{i % 5}" for i in items)]
        lines.append(",".join(map(str, cells)) + "\n")
    path.write_text("".join(lines))


class Trained:
    """The model of a config after two steps."""

    def __init__(self, path, folder):
        write_rows(folder / "train.csv", 16 * STEPS)
        folders = f"model_dir: '{folder}/run'\ntrain_input_path: '{folder}/train.csv'\n"
        self.config = parse_config(folders + (HERE / "head.config").read_text() + path.read_text(), str(path))
        tf.keras.utils.set_random_seed(1)
        self.model = build_model(self.config)
        self.before = {id(v): v.numpy() for v in self.model.weights}
        labels = Labels.from_config(self.config, self.model.label_names, self.model.label_limits)
        preparation = Preparation(self.model.transform, labels)
        step = TrainStep(
            self.model, update_rule_from_config(self.config, self.model), preparation.signature()
        )
        batches = list(dataset_from_config(self.config, "train").batches())
        self.results = [step(preparation(batch)) for batch in batches]
        self.rows = batches[0].columns

    def components(self):
        """Returns our layers that the config names."""
        wanted = {registry.get(name) for name in self.class_names() if name in registry.registered()}
        return [layer for layer in self.model.submodules if type(layer) in wanted]

    def class_names(self):
        backbone = self.config.message.model_config.backbone
        blocks = [*backbone.blocks, *(block for package in backbone.packages for block in package.blocks)]
        layers = [block.keras_layer for block in blocks] + [x.keras_layer for b in blocks for x in b.layers]
        return {layer.class_name for layer in layers if layer.class_name}

    def changed(self, weight):
        return not np.array_equal(weight.numpy(), self.before[id(weight)])


@pytest.fixture(scope="module", autouse=True)
def unoptimized_graphs():
    """Optimizing a graph takes longer than running it twice."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module", params=CONFIGS, ids=lambda path: path.stem)
def trained(request, tmp_path_factory):
    return Trained(request.param, tmp_path_factory.mktemp(request.param.stem))


def test_it_trains(trained):
    assert len(trained.results) == STEPS
    for result in trained.results:
        assert result.finite and np.all(np.isfinite([*result.unweighted.values(), result.norm]))
    components = trained.components()
    assert {type(layer) for layer in components}, "the config uses none of our layers"
    for layer in components:
        weights = layer.trainable_weights or layer.weights
        assert not weights or any(trained.changed(w) for w in weights), f"nothing of {layer.name} changed"


def test_it_is_exported_without_what_only_trains(trained):
    config, model = trained.config, trained.model
    columns = {column.name: column for column in columns_from_config(config, "predict")}
    path = export_model(model, config, columns, trained.rows, step=STEPS).path
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
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    (serve,) = (
        function
        for function in saved.meta_graphs[0].graph_def.library.function
        if function.signature.name.startswith("__inference_serve_") and "ex" not in function.signature.name
    )
    nodes = {node.name: node for node in serve.node_def}
    todo = [name.split(":")[0] for name in (*serve.ret.values(), *serve.control_ret.values())]
    reached = set()
    while todo:
        name = todo.pop()
        if name in nodes and name not in reached:
            reached.add(name)
            todo += [i.lstrip("^").split(":")[0] for i in nodes[name].input]
    return sorted(name for name in set(nodes) - reached if nodes[name].op in COSTLY)
