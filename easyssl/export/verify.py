"""Checks a SavedModel before it is published: stock operations only, and the same answers without us."""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from easyssl.errors import UsageError

# Registered in every TensorFlow, but they call back into the Python process that made the graph.
_PYTHON_OPS = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc"})
_SCRIPT = pathlib.Path(__file__).with_name("fresh_process.py")
_TIMEOUT_SECONDS = 900


@dataclasses.dataclass(frozen=True)
class Verification:
    """What a check found.

    Attributes:
        rows: How many rows were compared.
        max_difference: The largest absolute difference between an output of ours and of the fresh process.
    """

    rows: int
    max_difference: float


def operations(path: pathlib.Path) -> dict[str, str]:
    """Returns every operation of a SavedModel, with the name of one node that has it.

    Args:
        path: Folder of the SavedModel.
    """
    model = saved_model_pb2.SavedModel()
    model.ParseFromString((path / "saved_model.pb").read_bytes())
    found: dict[str, str] = {}
    for meta_graph in model.meta_graphs:
        library = meta_graph.graph_def.library.function
        functions = {f.signature.name for f in library}
        for nodes in (meta_graph.graph_def.node, *(f.node_def for f in library)):
            for node in nodes:
                if node.op not in functions:
                    found.setdefault(node.op, node.name)
    return dict(sorted(found.items()))


def verify(
    path: pathlib.Path,
    rows: Mapping[str, np.ndarray],
    arguments: Mapping[str, str],
    expected: Mapping[str, np.ndarray],
    parts: Mapping[str, tuple[Sequence[str], Mapping[str, np.ndarray]]] = MappingProxyType({}),
    rtol: float = 1e-4,
    atol: float = 1e-5,
    texts: Sequence[bytes] | None = None,
) -> Verification:
    """Loads the SavedModel in a process in which easyssl cannot be imported and compares the outputs.

    All rows are sent at once, and then the first of them alone, through all signatures. Text is compared as
    numbers joined by commas, which is what vectors as text are.

    Args:
        path: Folder of the SavedModel.
        rows: Sample rows: column name -> `[n]`, text as `bytes`; at least one row.
        arguments: Column name -> name of the input of `serving_default`.
        expected: What the model of this process answers for them: name -> `[n]` or `[n, dim]`.
        parts: The columns of each further signature, and what is expected of it.
        rtol: Relative tolerance.
        atol: Absolute tolerance.
        texts: The rows as `serve_rows` takes them; None if there is no such signature.

    Returns:
        What was compared.

    Raises:
        UsageError: If the graph holds an operation that a stock TensorFlow server cannot run; only a plugin's
            layer can bring one in.
        RuntimeError: If the model does not load or computes something else. This is a defect.
    """
    ops = operations(path)
    for op in sorted(_PYTHON_OPS & ops.keys()):
        raise UsageError(_not_servable(op, ops[op], "runs Python code of this process"))
    count = len(next(iter(rows.values())))
    batches = [[0, count], [0, 1]]
    columns = {name: values | {"argument": arguments[name]} for name, values in _jsonable(rows).items()}
    reply = _ask(
        {
            "path": str(path),
            "ops": list(ops),
            "columns": columns,
            "batches": batches,
            "parts": {part: list(names) for part, (names, _) in parts.items()},
            "texts": None if texts is None else [text.decode("latin-1") for text in texts],
        }
    )
    for op in reply["unknown"]:
        raise UsageError(_not_servable(op, ops[op], "is not an operation of TensorFlow itself"))
    largest = 0.0
    answers = {"serving_default": expected, "serve_examples": expected}
    if texts is not None:
        answers["serve_rows"] = expected
    answers |= {part: own for part, (_, own) in parts.items()}
    for signature, wanted_outputs in answers.items():
        for (first, end), outputs in zip(batches, reply[signature], strict=True):
            if outputs.keys() != wanted_outputs.keys():
                raise RuntimeError(f"{signature} gives {sorted(outputs)}, expected {sorted(wanted_outputs)}")
            for name, ours in wanted_outputs.items():
                theirs, wanted = _numbers(outputs[name]), _numbers(ours[first:end].tolist())
                where = f"{signature}, output '{name}', batch of {end - first}"
                if theirs.shape != wanted.shape:
                    raise RuntimeError(f"{where}: shape {theirs.shape} instead of {wanted.shape}")
                if not np.allclose(theirs, wanted, rtol=rtol, atol=atol, equal_nan=True):
                    raise RuntimeError(f"{where}: the exported model gives {theirs}, this process {wanted}")
                largest = max(largest, float(np.nanmax(np.abs(theirs - wanted), initial=0.0)))
    return Verification(rows=count, max_difference=largest)


def _numbers(values: list) -> np.ndarray:
    """Returns nested lists as an array; of vectors as text, the numbers."""
    if values and isinstance(values[0], (str, bytes)):
        texts = [value.decode() if isinstance(value, bytes) else value for value in values]
        values = [[float(number) for number in text.split(",")] for text in texts]
    return np.asarray(values, np.float64)


def _not_servable(op: str, node: str, why: str) -> str:
    return (
        f"export: '{op}' (node '{node}') {why}, so TensorFlow Serving cannot run it; "
        "write that layer with TensorFlow operations only"
    )


def _jsonable(rows: Mapping[str, np.ndarray]) -> dict[str, dict]:
    columns = {}
    for name, values in rows.items():
        if values.dtype == object:
            columns[name] = {"dtype": "string", "values": [v.decode("latin-1") for v in values]}
        else:
            columns[name] = {"dtype": values.dtype.name, "values": values.tolist()}
    return columns


def _ask(request: dict) -> dict:
    # No accelerator: the check must not compete with training for its memory, nor inherit its rounding.
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [sys.executable, str(_SCRIPT)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        env=environment,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the exported model does not load in a fresh process:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def outputs_on_cpu(
    predict: Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]], rows: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Runs a traced function on sample rows on the CPU, which is where `verify` runs the exported one."""
    with tf.device("/CPU:0"):
        tensors = {n: tf.constant(v, tf.string if v.dtype == object else None) for n, v in rows.items()}
        return {name: value.numpy() for name, value in predict(tensors).items()}
