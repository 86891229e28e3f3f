"""Runs a training until it ends or is killed. Run by `runpy` in a child process, with its arguments as globals.

Globals:
    config_path, model_dir: What to train.
    lines: File that gets the progress lines.
    stop_at: Name of a file of a checkpoint before which the writer waits for its end, or None.
"""

import os

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def run(config_path, model_dir, lines, stop_at):
    import time

    from easyssl.config import load_config
    from easyssl.training import train

    with open(lines, "w", buffering=1) as stream:

        def on_write(name):
            if stop_at is not None and name.startswith(stop_at):
                stream.write(f"waiting before {name}\n")
                time.sleep(600)

        config = load_config(config_path, overrides=[f"model_dir={model_dir}"])
        train(config, stream=stream, on_write=on_write)


if __name__ == "__main__":
    run(config_path, model_dir, lines, stop_at)  # noqa: F821
