"""A run's state on its way into a checkpoint and back."""

from __future__ import annotations

import importlib.metadata
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

import easyssl
from easyssl.training.checkpoint import Checkpoint, CheckpointFolder
from easyssl.training.fingerprint import fingerprint
from easyssl.training.loss_scale import LossScale
from easyssl.training.optimizers.rule import UpdateRule
from easyssl.training.parts import joined
from easyssl.training.restore import restore_exactly
from easyssl.training.state import RunState


class RunSaver:
    """Saves and restores everything that the rest of a run depends on.

    That is: weights, moving statistics and the states of random layers; optimizer slots, step counts, moving
    averages and the loss scale; the position in the data, the best evaluation, counters and half-done means.

    Args:
        folder: The checkpoints of the run.
        variables: The model's variables by name.
        rules: The update rule; on several devices, one for the copies on each.
        loss_scale: The loss scale, None without.
        flat_config: The config as `fingerprint.flatten` gives it.
        copies: Returns the copies of a variable that several devices hold. The first is saved, all are
            restored. By default there is only the variable.
    """

    def __init__(
        self,
        folder: CheckpointFolder,
        variables: Mapping[str, tf.Variable],
        rules: Sequence[UpdateRule],
        loss_scale: LossScale | None,
        flat_config: dict[str, Any],
        copies: Callable[[tf.Variable], Sequence[tf.Variable]] = lambda variable: (variable,),
    ) -> None:
        self.folder = folder
        self.flat_config = flat_config
        self.last: Checkpoint | None = None
        self._averages = rules[0].averages
        self._replicas: list[dict[str, dict[str, Any]]] = []
        for index, rule in enumerate(rules):
            own = {name: copies(variable)[index] for name, variable in variables.items()}
            update = rule.state({id(variable): name for name, variable in own.items()})
            if loss_scale is not None:
                update |= {f"loss_scale/{name}": variable for name, variable in loss_scale.state().items()}
            self._replicas.append({"weights": joined(own), "optimizer": joined(update)})

    def restore(self, checkpoint: Checkpoint, state: RunState) -> None:
        """Sets the variables and the state to what a checkpoint holds.

        Raises:
            CheckpointError: If the checkpoint is of another model or update rule.
        """
        for groups in self._replicas:
            for group, variables in groups.items():
                with checkpoint.arrays(group) as stored:
                    restore_exactly(variables, stored, checkpoint.path / f"{group}.npz")
        state.load(checkpoint.document("state")["run"])
        self.last = checkpoint

    def save(self, state: RunState) -> pathlib.Path:
        """Writes a checkpoint, unless this step has one already; then removes what need not be kept.

        Returns:
            The checkpoint of this step.

        Raises:
            CheckpointError: If a variable is not finite, or the disk refuses.
        """
        if self.last is not None and self.last.step == state.step:
            return self.last.path
        self.last = self.folder.save(
            state.step,
            arrays={
                group: {name: np.asarray(variable) for name, variable in variables.items()}
                for group, variables in self._replicas[0].items()
            },
            documents={
                "state": {
                    "run": state.as_dict(),
                    "average_decay": None if self._averages is None else self._averages.decay,
                },
                "config": self.flat_config,
            },
            facts={
                "epoch": state.epoch,
                "config_sha256": fingerprint(self.flat_config),
                "versions": versions(),
            },
        )
        self.folder.retain(state.best.step)
        return self.last.path


def versions() -> dict[str, str]:
    """Returns the versions of what computed the weights."""
    return {
        "easyssl": easyssl.__version__,
        "tensorflow": tf.__version__,
        "tf_keras": importlib.metadata.version("tf_keras"),
        "numpy": np.__version__,
    }
