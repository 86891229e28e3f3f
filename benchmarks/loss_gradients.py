"""How strongly each loss of a trained model pulls at its weights, and which way.

    python benchmarks/loss_gradients.py samples/next_item/s4rec_on_beauty.config --data-root samples
        --runs half=experiments/s4rec/ckpt/step-00000880 end=experiments/s4rec --against next_item_loss

Goes through some batches of the training data and prints, for the embedding tables and for the other weights,
the norm of each weighted loss's gradient relative to that of the loss `--against`, and the cosine between the
two: below 0 the losses work against each other. Means over the batches. Dropout and augmentation act as in
training.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

Gradients = Mapping[str, Mapping[str, np.ndarray]]


def main() -> None:
    """Measures the runs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--data-root")
    parser.add_argument("--set", action="append", default=[], help="override of the config")
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME=FOLDER", help="runs or checkpoints")
    parser.add_argument("--against", required=True, help="name of a loss")
    parser.add_argument("--batches", type=int, default=10)
    options = parser.parse_args()
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    for run in options.runs:
        name, _, folder = run.partition("=")
        found = [relative(g, options.against) for g in batches_of(options, folder)]
        for part, losses in found[0].items():
            for loss in losses:
                norm, cosine = np.mean([each[part][loss] for each in found], axis=0)
                print(f"{name:10} {part:8} {loss:36} norm {norm:7.4f}  cosine {cosine:+.3f}")


def relative(gradients: Gradients, against: str) -> dict[str, dict[str, tuple[float, float]]]:
    """Compares gradients.

    Args:
        gradients: By part of the model and loss, flat vectors.
        against: The loss to compare with.

    Returns:
        By part and loss: the norm divided by that of `against`, and the cosine, 0 for a gradient of zeros.
    """
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for part, losses in gradients.items():
        if against not in losses:
            raise SystemExit(f"--against: no loss '{against}'; there are {', '.join(losses)}")
        main_vector = losses[against]
        length = float(np.linalg.norm(main_vector))
        found[part] = {}
        for name, vector in losses.items():
            norm = float(np.linalg.norm(vector))
            cosine = float(vector @ main_vector) / (norm * length) if norm and length else 0.0
            found[part][name] = (norm / length if length else float("nan"), cosine)
    return found


def batches_of(options: argparse.Namespace, folder: str) -> Iterator[Gradients]:
    """Yields the gradients of each weighted loss, for a batch of the training data at a time."""
    import tensorflow as tf

    from easyssl.config import load_config
    from easyssl.data.build import dataset_from_config
    from easyssl.training.labels import Labels
    from easyssl.training.optimizers.build import embedding_variables
    from easyssl.training.pipeline import Preparation
    from easyssl.training.step import graph_function, inputs_of, open_inputs
    from easyssl.training.trained import load_trained

    config = load_config(options.config, options.set, data_root=options.data_root)
    model = load_trained(config, folder, allow_config_change=True).model
    tables = {id(variable) for variable in embedding_variables(model)}
    parts = {"tables": [v for v in model.trainable_variables if id(v) in tables]}
    parts["others"] = [v for v in model.trainable_variables if id(v) not in tables]
    labels = Labels.from_config(config, model.label_names, model.label_limits, model.loss_columns)
    dataset = dataset_from_config(config, "train")
    prepare = Preparation.for_model(model, labels, dataset.bad_rows)

    def gradients(inputs: Any) -> dict[str, dict[str, Any]]:
        with tf.GradientTape(persistent=True) as tape:
            losses = model.compute_losses(
                inputs["features"], inputs["labels"], inputs.get("weights"), training=True
            )
        return {
            part: {
                name: tape.gradient(loss, variables, unconnected_gradients="zero")
                for name, loss in losses.weighted.items()
            }
            for part, variables in parts.items()
            if variables
        }

    compute = None
    for raw in itertools.islice(dataset.batches(None), options.batches):
        batch = prepare(raw)
        if compute is None:
            compute = graph_function(gradients, open_inputs(batch, prepare.signature()))
        found = compute(inputs_of(batch))
        yield {part: {name: _flat(each) for name, each in losses.items()} for part, losses in found.items()}


def _flat(gradients: list[Any]) -> np.ndarray:
    import tensorflow as tf

    return np.concatenate([tf.convert_to_tensor(gradient).numpy().ravel() for gradient in gradients])


if __name__ == "__main__":
    main()
