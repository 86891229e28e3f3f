"""Run as a script by `verify`: loads a SavedModel with TensorFlow alone and answers with its outputs.

It must not import anything of easyssl; it makes sure of that itself. Request and reply are JSON on stdin and
stdout; text travels as Latin-1, which keeps every byte.
"""

from __future__ import annotations

import json
import sys
from typing import Any


class _Refuse:
    """Makes `import easyssl` fail."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Refuses our own package and leaves all others to the next finder."""
        del path, target
        if name.split(".")[0] == "easyssl":
            raise ImportError("an exported model must load without easyssl")


def answer(request: dict) -> dict:
    """Loads the model, runs its signatures and looks every operation up among TensorFlow's own.

    Args:
        request: `path`; `ops`, names of operations; `columns`, name -> {argument, dtype, values}; `batches`,
            a list of [first row, end] that the rows are sent in; `parts`, the columns of each further
            signature; `texts`, the rows as `serve_rows` takes them, or None.

    Returns:
        `unknown`, the operations that this TensorFlow lacks; for each signature a list of name -> nested list
        of numbers, one item a batch.
    """
    import numpy as np
    import tensorflow as tf

    unknown = [op for op in request["ops"] if not hasattr(tf.raw_ops, op)]
    model = tf.saved_model.load(request["path"])
    columns = {}
    for name, column in request["columns"].items():
        values = column["values"]
        if column["dtype"] == "string":
            columns[name] = np.array([v.encode("latin-1") for v in values], object)
        else:
            columns[name] = np.array(values, column["dtype"])
    argument_of = {name: column["argument"] for name, column in request["columns"].items()}
    reply: dict = {"unknown": unknown, "serving_default": [], "serve_examples": []}
    for first, end in request["batches"]:
        rows = {name: values[first:end] for name, values in columns.items()}
        tensors = {}
        for name, values in rows.items():
            dtype = tf.string if values.dtype == object else None
            tensors[request["columns"][name]["argument"]] = tf.constant(values, dtype)
        reply["serving_default"].append(_lists(model.signatures["serving_default"](**tensors)))
        examples = tf.constant([_example(tf, rows, i) for i in range(end - first)], tf.string)
        reply["serve_examples"].append(_lists(model.signatures["serve_examples"](examples=examples)))
        if request["texts"] is not None:
            texts = tf.constant([text.encode("latin-1") for text in request["texts"][first:end]], tf.string)
            answered = model.signatures["serve_rows"](features=texts)
            reply.setdefault("serve_rows", []).append(_lists(answered))
        for part, names in request["parts"].items():
            own = {argument: tensors[argument] for argument in (argument_of[name] for name in names)}
            reply.setdefault(part, []).append(_lists(model.signatures[part](**own)))
    return reply


def _example(tf: Any, rows: dict, index: int) -> bytes:
    features = {}
    for name, values in rows.items():
        value = values[index]
        if isinstance(value, bytes):
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        elif values.dtype.kind == "f":
            feature = tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
        else:
            feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value)]))
        features[name] = feature
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def _lists(outputs: dict) -> dict:
    return {name: _plain(value.numpy().tolist()) for name, value in outputs.items()}


def _plain(value: Any) -> Any:
    """Returns nested lists with text in place of bytes."""
    if isinstance(value, list):
        return [_plain(element) for element in value]
    return value.decode("latin-1") if isinstance(value, bytes) else value


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file, whose neighbours must not be importable by their bare names
    sys.meta_path.insert(0, _Refuse())
    print(json.dumps(answer(json.load(sys.stdin))))
