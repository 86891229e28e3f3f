"""The step has a GPU kernel for everything it does, and nothing that ties it to the CPU."""

import pathlib

import pytest
import tensorflow as tf
from tensorflow import keras
from tensorflow.python.framework.kernels import get_registered_kernels_for_op

from easyssl.config import load_config, parse_config
from easyssl.training.labels import Labels
from easyssl.training.loss_scale import LossScale
from easyssl.training.optimizers.averages import MovingAverages
from easyssl.training.optimizers.build import OPTIMIZERS, update_rule_from_config
from easyssl.training.optimizers.rule import UpdateRule
from easyssl.training.pipeline import Batch, Preparation
from easyssl.training.setup import build_model
from easyssl.training.step import TrainStep

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("samples/**/*.config"))
FIRST = "samples/cl4srec_on_taobao.config"
COMPONENTS = sorted((ROOT / "tests" / "components" / "configs").glob("*.config"))


# A GPU build of TensorFlow and the plain one both register their GPU kernels.
_ON_GPU = ("GPU", "DEFAULT")
# What a function gets and returns, and calls of other functions, are no operations of their own.
_FRAME = {"Placeholder", "_Arg", "_Retval", "NoOp"}
_PYTHON = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}


def unfit_for_gpu(concrete):
    """Returns a line for each kind of operation in a concrete function that keeps it from running on a GPU.

    That is an operation without a GPU kernel for its types, one that makes strings or calls Python, or one
    that is tied to a device.
    """
    graph = concrete.graph.as_graph_def()
    functions = {function.signature.name for function in graph.library.function}
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    found = set()
    for node in nodes:
        if node.device:
            found.add(f"{node.op} is tied to {node.device}")
        if node.op in _FRAME or node.op in functions:
            continue
        if node.op in _PYTHON:
            found.add(f"{node.op} calls Python")
        elif not any(_fits(kernel, node) for kernel in get_registered_kernels_for_op(node.op).kernel):
            types = {
                name: [tf.dtypes.as_dtype(t).name for t in _types(value)] for name, value in node.attr.items()
            }
            found.add(f"{node.op} has no GPU kernel for { ({k: v for k, v in types.items() if v}) }")
        if any(tf.string.as_datatype_enum in _types(value) for value in node.attr.values()):
            found.add(f"{node.op} handles strings")
    return sorted(found)


def _types(value):
    if value.WhichOneof("value") == "type":
        return [value.type]
    return list(value.list.type)


def _fits(kernel, node):
    return kernel.device_type in _ON_GPU and all(
        set(_types(node.attr[rule.name])) <= set(rule.allowed_values.list.type)
        for rule in kernel.constraint
        if node.attr[rule.name].WhichOneof("value")
    )


def traced(config, **options):
    """Returns the concrete training step of a config, without reading data."""
    model = build_model(config)
    labels = Labels.from_config(config, model.label_names, model.label_limits)
    columns = {
        name: tf.zeros([2], tf.int64 if model.label_limits.get(name, (0, 0, False))[2] else tf.float32)
        for name in labels.names
    }
    weights = None if labels.weight is None else tf.ones([2])
    step = TrainStep(
        model,
        update_rule_from_config(config, model),
        Preparation(model.transform, None).signature(),
        **options,
    )
    return step.compiled(Batch(None, {}, columns, weights)).get_concrete_function()


def test_what_is_unfit_is_found():
    @tf.function(autograph=False)
    def unfit(x):
        with tf.device("/CPU:0"):
            y = x + 1.0
        text = tf.strings.as_string(y)
        tf.py_function(lambda value: value, [x], tf.float32)
        return tf.unique(x).y, tf.raw_ops.UniqueV2(x=x, axis=[0]).y, text

    found = "\n".join(unfit_for_gpu(unfit.get_concrete_function(tf.TensorSpec([None], tf.float32))))
    for expected in ("AddV2 is tied to", "AsString has no GPU kernel", "calls Python", "UniqueV2 has no GPU"):
        assert expected in found
    assert "Unique has no" not in found


@pytest.mark.parametrize(
    "name", [FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in SAMPLES if name != FIRST)]
)
def test_the_step_of_a_sample_runs_on_a_gpu(name):
    assert unfit_for_gpu(traced(load_config(ROOT / name))) == []


@pytest.mark.slow
@pytest.mark.parametrize("path", COMPONENTS, ids=[path.stem for path in COMPONENTS])
def test_the_step_of_a_component_runs_on_a_gpu(path):
    head = (path.parent.parent / "head.config").read_text()
    assert unfit_for_gpu(traced(parse_config(head + path.read_text(), str(path)))) == []


@pytest.mark.parametrize(
    "precision", [pytest.param("mixed_bfloat16", marks=pytest.mark.slow), "mixed_float16"]
)
def test_the_step_in_half_precision_runs_on_a_gpu(case, precision):
    config = case.config(
        f"train_config.mixed_precision={precision}",
        "train_config.gradient_clipping_by_norm=1",
        "data_config.sample_weight=price",
        text=case.tiny,
    )
    scale = LossScale() if precision == "mixed_float16" else None
    assert unfit_for_gpu(traced(config, loss_scale=scale)) == []


@pytest.mark.parametrize(
    "make", sorted({make for make, _ in OPTIMIZERS.values()}, key=str), ids=lambda m: m.__name__
)
def test_updates_run_on_a_gpu(make):
    table, kernel = tf.Variable(tf.ones([5, 2])), tf.Variable(tf.ones([3]))
    averages = MovingAverages([table, kernel], [table], 0.9)
    rule = UpdateRule([(make(0.1), [table, kernel])], multiplied=[table], multiplier=2.0, averages=averages)

    @tf.function(autograph=False)
    def update(rows, values, dense):
        gradients, norm = rule.prepare([tf.IndexedSlices(values, rows, [5, 2]), dense])
        rule.apply(gradients, norm)

    specs = [
        tf.TensorSpec(shape, dtype)
        for shape, dtype in (([None], tf.int64), ([None, 2], tf.float32), ([3], tf.float32))
    ]
    assert unfit_for_gpu(update.get_concrete_function(*specs)) == []


def test_a_schedule_runs_on_a_gpu(case):
    text = case.tiny  # its rate decays exponentially
    model = keras.Sequential([keras.layers.Dense(1)])
    model.build([None, 2])
    rule = update_rule_from_config(case.config(text=text), model)

    @tf.function(autograph=False)
    def update(kernel, bias):
        gradients, norm = rule.prepare([kernel, bias])
        rule.apply(gradients, norm)

    specs = [tf.TensorSpec(variable.shape, tf.float32) for variable in model.trainable_variables]
    assert unfit_for_gpu(update.get_concrete_function(*specs)) == []
