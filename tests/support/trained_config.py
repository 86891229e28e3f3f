"""A model whose config consists of a head and a `model_config`, trained for two steps on generated rows."""

import pathlib

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from easyssl import registry
from easyssl.config import parse_config
from easyssl.data.build import dataset_from_config
from easyssl.data.from_config import columns_from_config
from easyssl.export.exporter import export_model
from easyssl.training.labels import Labels
from easyssl.training.optimizers.build import update_rule_from_config
from easyssl.training.pipeline import Preparation
from easyssl.training.setup import build_model
from easyssl.training.step import TrainStep

COMPONENTS = pathlib.Path(__file__).parents[1] / "components"
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
        head = (COMPONENTS / "head.config").read_text()
        self.config = parse_config(folders + head + path.read_text(), str(path))
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

    def export(self):
        """Exports the model and returns the folder."""
        columns = {column.name: column for column in columns_from_config(self.config, "predict")}
        return export_model(self.model, self.config, columns, self.rows, step=STEPS).path

    def changed(self, weight):
        return not np.array_equal(weight.numpy(), self.before[id(weight)])


def served_function(path):
    """Returns the function that a SavedModel serves columns by."""
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString((path / "saved_model.pb").read_bytes())
    (serve,) = (
        function
        for function in saved.meta_graphs[0].graph_def.library.function
        if function.signature.name.startswith("__inference_serve_") and "ex" not in function.signature.name
    )
    return serve
