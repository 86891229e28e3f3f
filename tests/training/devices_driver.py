"""Trains on several devices in a process of its own, and stores what the first device holds in the end.

    python devices_driver.py '{"config": "my.config", "runs": {"a": ["model_dir=..."]}, "out": "folder", "cpus": 2}'

Each of `runs` is a list of overrides, trained in turn; `out` gets an `.npz` for each.
"""

import json
import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def main(job):
    import numpy as np
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    if job.get("cpus"):
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration() for _ in range(job["cpus"])]
        )
    from easyssl.config import load_config
    from easyssl.errors import InputError
    from easyssl.training import Preempted, loop, train

    kept = []

    class Trainer(loop.Trainer):
        def run(self, stop):
            kept.append(self)
            return super().run(stop)

    loop.Trainer = Trainer
    for name, overrides in job["runs"].items():
        try:
            result = train(load_config(job["config"], overrides=overrides))
        except Preempted:
            sys.exit(143)
        except InputError as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            sys.exit(2)
        if not kept:  # a trainer of another kind
            continue
        trainer = kept[-1]
        values = {}
        for variable_name, variable in trainer.variables.items():
            first, *others = trainer.devices.copies(variable)
            for other in others:
                np.testing.assert_array_equal(first.numpy(), other.numpy(), err_msg=variable_name)
            values[variable_name] = first.numpy()
        np.savez(os.path.join(job["out"], f"{name}.npz"), step=result.step, chief=result.chief, **values)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
