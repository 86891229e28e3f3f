"""How large the clusters of trained S4Rec models are, and how active users mix in them.

    python benchmarks/clusters.py samples/next_item/s4rec_on_beauty.config --data-root samples
        --out mix.svg --runs before=experiments/s4rec_without_adversary after=experiments/s4rec_on_beauty

Assigns each user of the training file, by the whole history, to a prototype of the block `clusters`. Prints
how evenly prototypes are used and how much the cluster of a user tells about the block `activity`; draws
histograms of cluster sizes and of the share of active users in clusters. If the share is the same everywhere,
there is one bar, at the share of active users among all.
"""

from __future__ import annotations

import argparse
import pathlib
from typing import Any

import numpy as np


def main() -> None:
    """Measures the runs and draws them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--data-root")
    parser.add_argument("--runs", nargs="+", required=True, metavar="NAME=FOLDER")
    parser.add_argument("--out", required=True, help="an .svg file")
    options = parser.parse_args()
    found = {}
    for run in options.runs:
        name, _, folder = run.partition("=")
        clusters, active = assignments(options.config, folder, options.data_root)
        found[name] = mix = mix_of(clusters, active)
        used, most = f"{len(mix['sizes'])} of {mix['prototypes']}", np.log(mix["prototypes"])
        print(f"{name}: {used} prototypes used, entropy {mix['entropy']:.3f} of {most:.3f}")
        print(f"{name}: clusters tell {mix['information']:.4f} nats about activity")
    draw(found, pathlib.Path(options.out))


def assignments(path: str, folder: str, data_root: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Returns the assignments `[users, prototypes]` of a model, and who is active `[users]`."""
    from easyssl.config import load_config
    from easyssl.data.build import dataset_from_config
    from easyssl.training.pipeline import Preparation
    from easyssl.training.trained import load_trained

    config = load_config(path, [f"model_dir={pathlib.Path(folder).resolve()}"], data_root=data_root)
    # A run without the adversary has another config, and the same weights.
    model = load_trained(config, None, best=True, allow_config_change=True).model
    files = config.resolve_path(config.message.train_input_path, "train_input_path")
    dataset = dataset_from_config(config, "predict", paths=files, needed=model.transform.columns)
    prepare = Preparation(model.transform, None, dataset.bad_rows)
    clusters, active = [], []
    for raw in dataset.batches():
        features = prepare(raw).features
        output = model.backbone(features, training=False, only_blocks=("clusters", "activity"))
        clusters.append(output[0][0].numpy())
        active.append(output[1][0].numpy().reshape(-1))
    return np.concatenate(clusters), np.concatenate(active)


def mix_of(assigned: np.ndarray, active: np.ndarray) -> dict[str, Any]:
    """Describes clusters.

    Args:
        assigned: `[users, prototypes]`; a user's cluster is the largest.
        active: 1 for active users, else 0, `[users]`.

    Returns:
        `sizes` and `shares` (of active users) of the clusters that have users; `prototypes`; `share` of
        active users among all; in nats `entropy` of the sizes and `information`, the mutual information of
        cluster and activity.
    """
    prototypes = assigned.shape[1]
    cluster = assigned.argmax(axis=1)
    counts = np.stack([np.bincount(cluster[active == kind], minlength=prototypes) for kind in (0, 1)])
    sizes = counts.sum(axis=0)
    used = sizes > 0
    joint, each = counts / counts.sum(), sizes / sizes.sum()
    kinds = joint.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(joint > 0, joint * np.log(joint / (kinds * each)), 0.0)
    return {
        "prototypes": prototypes,
        "sizes": sizes[used],
        "shares": counts[1, used] / sizes[used],
        "share": float(active.mean()),
        "entropy": float(-np.sum(each[used] * np.log(each[used]))),
        "information": float(terms.sum()),
    }


def draw(found: dict[str, dict[str, Any]], path: pathlib.Path) -> None:
    """Draws both histograms of each run, with common scales."""
    from easyssl.cli.heat_map import load_matplotlib

    matplotlib = load_matplotlib()
    with matplotlib.rc_context({"svg.hashsalt": "easyssl", "svg.fonttype": "none", "backend": "svg"}):
        size = (4.5 * len(found), 6)
        figure = matplotlib.figure.Figure(figsize=size, layout="constrained")
        axes = figure.subplots(2, len(found), squeeze=False, sharex="row", sharey="row")
        largest = max(mix["sizes"].max() for mix in found.values())
        for column, (name, mix) in enumerate(found.items()):
            axes[0, column].hist(mix["sizes"], bins=20, range=(0, largest))
            axes[0, column].set(title=name, xlabel="users in a cluster", ylabel="clusters")
            axes[1, column].hist(mix["shares"], bins=20, range=(0, 1))
            axes[1, column].axvline(mix["share"], color="black", linestyle="--", label="all users")
            axes[1, column].set(xlabel="share of active users in a cluster", ylabel="clusters")
            axes[1, column].legend()
        figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
