"""The gate for a layer: everything that a trained, saved, resumed and exported model does with it."""

from __future__ import annotations

import json
import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras

from easyssl.losses.collect import collect_losses
from easyssl.testing.comparing import (
    check_close,
    check_equal,
    check_finite,
    check_near,
    check_same_form,
    json_text,
    same,
)
from easyssl.testing.one_step import fit_once, loss_of, unoptimized_graphs

_SEED = 2020
_TOLERANCE = 1e-5
_XLA_GRADIENTS = 1e-3  # relative; XLA adds up in another order
# Relative, of gradients of mixed precision: some hundred roundings. A wrong gradient is off by about 1.
_HALF_GRADIENTS = {"mixed_float16": 0.05, "mixed_bfloat16": 0.25}
MIXED_POLICIES = ("mixed_float16", "mixed_bfloat16")


def run_layer_test(
    layer_cls: type,
    init_kwargs: dict[str, Any],
    inputs: Any,
    *,
    expected_output_shape: Any = None,
    expected_num_trainable_weights: int | None = None,
    expected_num_non_trainable_weights: int | None = None,
    is_random: bool = False,
    keeps_mask: bool | None = None,
    float32_output: bool = False,
    policies: tuple[str, ...] = MIXED_POLICIES,
    draws_alike_under_xla: bool = True,
    tolerance: float = _TOLERANCE,
) -> Any:
    """Checks that a layer behaves in all the places a model may put it.

    The checks: `get_config` round trip, also through JSON and Keras's serialization; weights counted and
    created once; eager and symbolic call agree; the output has the expected shapes and is finite; without
    training it is deterministic, and with training it differs from call to call if the layer is random; one
    training step in `fit` changes weights to finite ones; a `.keras` file restores outputs and all weights;
    XLA gives the outputs and gradients of eager execution; mixed precision keeps variables in float32,
    outputs and gradients finite, and gradients near those of float32; masks pass on or end.

    Gradients are those of a function of the outputs plus all reported losses, in training, for all inputs of
    floating point numbers and all weights. Random seeds are set, so that weights are the same every time.

    Args:
        layer_cls: The layer's class.
        init_kwargs: Arguments of its constructor, without `dtype`.
        inputs: An array, or a list or tuple of arrays, as `call` takes them. The first axis is the batch.
        expected_output_shape: Shape of the output, or a list of shapes. Defaults to None, which is not
            checked.
        expected_num_trainable_weights: Count after build. Defaults to None, which is not checked.
        expected_num_non_trainable_weights: Count after build. Defaults to None, which is not checked.
        is_random: Whether two training calls must differ. Defaults to False.
        keeps_mask: Whether a mask of the (only) input must come out again; False: whether it must not.
            Defaults to None, which is not checked.
        float32_output: Whether outputs are float32 under mixed precision, too. Defaults to False.
        policies: Mixed precision policies to try. Defaults to ("mixed_float16", "mixed_bfloat16").
        draws_alike_under_xla: Whether XLA draws the same random numbers for the same places, as it does with
            `easyssl.functional.random`, unless it computes other places, such as padding. If False, gradients
            without training are compared. Defaults to True.
        tolerance: Allowed difference between eager and compiled outputs. Defaults to 1e-05.

    Returns:
        The built layer, for checks of your own.

    Raises:
        AssertionError: If a check fails; the message says which one.

    Example:
        >>> layer = run_layer_test(keras.layers.Dense, {"units": 3}, np.ones([2, 4], "float32"),
        ...                        expected_output_shape=(2, 3), expected_num_trainable_weights=2)
    """
    keras.utils.set_random_seed(_SEED)
    gate = _Gate(layer_cls, init_kwargs, inputs, tolerance)
    gate.check_config()
    layer = gate.check_eager(expected_output_shape, is_random)
    if expected_num_trainable_weights is not None:
        check_equal(
            "number of trainable weights", len(layer.trainable_weights), expected_num_trainable_weights
        )
    if expected_num_non_trainable_weights is not None:
        count = len(layer.non_trainable_weights)
        check_equal("number of non-trainable weights", count, expected_num_non_trainable_weights)
    with unoptimized_graphs():
        # tf_keras has AutoGraph rewrite all functions of a layer, which takes longer than tracing them.
        tf.autograph.experimental.do_not_convert(gate.check_model)()
    gate.check_xla(layer, draws_alike_under_xla)
    if keeps_mask is not None:
        gate.check_mask(keeps_mask)
    for policy in policies:
        gate.check_policy(policy, float32_output)
    return layer


class _Gate:
    """The checks of `run_layer_test` for one layer and one set of inputs."""

    def __init__(self, layer_cls: Any, init_kwargs: dict[str, Any], inputs: Any, tolerance: float) -> None:
        self.layer_cls = layer_cls
        self.init_kwargs = init_kwargs
        self.inputs = tf.nest.map_structure(np.asarray, inputs)
        self.tolerance = tolerance

    def layer(self, **kwargs: Any) -> Any:
        return self.layer_cls(**self.init_kwargs, **kwargs)

    def tensors(self) -> Any:
        return tf.nest.map_structure(tf.constant, self.inputs)

    def check_config(self) -> None:
        layer = self.layer(name="gated")
        config = layer.get_config()
        text = json_text("get_config", config)
        again = self.layer_cls.from_config(config).get_config()
        check_equal("config after from_config", json_text("get_config", again), text)
        from_json = self.layer_cls.from_config(json.loads(text)).get_config()
        check_equal("config after a round trip through JSON", json_text("get_config", from_json), text)
        revived = keras.layers.deserialize(keras.layers.serialize(layer))
        if not isinstance(revived, self.layer_cls):
            raise AssertionError(f"deserialization gave a {type(revived).__name__}")
        check_equal("config after serialization", json_text("get_config", revived.get_config()), text)

    def check_eager(self, expected_output_shape: Any, is_random: bool) -> Any:
        layer = self.layer()
        first = layer(self.tensors(), training=False)
        weights = [id(weight) for weight in layer.weights]
        second = layer(self.tensors(), training=False)
        check_close("second call without training", second, first, 0.0)
        check_finite("output without training", first)
        if expected_output_shape is not None:
            shapes = [tuple(x.shape) for x in tf.nest.flatten(first)]
            several = expected_output_shape and isinstance(expected_output_shape[0], list | tuple)
            wanted = expected_output_shape if several else [expected_output_shape]
            check_equal("output shape", shapes, [tuple(shape) for shape in wanted])
        trained = [layer(self.tensors(), training=True) for _ in range(4)]
        for output in trained:
            check_finite("output in training", output)
            check_same_form("output in training", output, first)
        if is_random and all(same(trained[0], other) for other in trained[1:]):
            raise AssertionError("four calls in training gave the same output")
        check_equal("weights after more calls", [id(weight) for weight in layer.weights], weights)
        return layer

    def model(self, layer: Any) -> Any:
        symbolic = tf.nest.map_structure(lambda x: keras.Input(x.shape[1:], dtype=x.dtype.name), self.inputs)
        return keras.Model(tf.nest.flatten(symbolic), layer(symbolic))

    def check_model(self) -> None:
        layer = self.layer(name="gated")
        model = self.model(layer)
        arrays = tf.nest.flatten(self.inputs)
        check_close(
            "symbolic call", model(arrays, training=False), layer(self.tensors(), training=False), 1e-6
        )
        for got, want in zip(
            tf.nest.flatten(model.outputs), tf.nest.flatten(layer(self.tensors())), strict=True
        ):
            check_equal("dtype of the symbolic output", tf.as_dtype(got.dtype), want.dtype)
        self._fit(model)
        with tempfile.TemporaryDirectory() as folder:
            path = str(pathlib.Path(folder) / "model.keras")
            model.save(path)
            restored = keras.models.load_model(path)
        pairs = zip(model.weights, restored.weights, strict=True)
        for index, (kept, read) in enumerate(pairs):
            check_close(
                f"weight {index} after loading", tf.convert_to_tensor(read), tf.convert_to_tensor(kept), 0.0
            )
        check_close(
            "output after loading", restored(arrays, training=False), model(arrays, training=False), 1e-6
        )

    def _fit(self, model: Any) -> None:
        unreached = fit_once(model, self.inputs)
        check_finite("weights after one training step", [tf.convert_to_tensor(w) for w in model.weights])
        if unreached:
            raise AssertionError(f"no gradient reaches {', '.join(unreached)}")

    def check_xla(self, layer: Any, draws_alike: bool) -> None:
        """Compares XLA with eager execution, whose gradients are kept for `check_policy`."""

        def all_of_it(x: Any) -> Any:
            outputs = layer(x, training=False)
            trained, gradients = self._differentiated(layer, x, training=True)
            # What differs by what is drawn cannot be compared.
            return outputs, trained, gradients if draws_alike else self._differentiated(layer, x, False)[1]

        self.weights = layer.get_weights()
        eager = layer(self.tensors(), training=False)
        trained, self.gradients = self._differentiated(layer, self.tensors(), training=True)
        check_finite("gradients", self.gradients)
        layer.set_weights(self.weights)  # so that the same is drawn again, from the same statistics
        compiled = tf.function(all_of_it, jit_compile=True, autograph=False)
        outputs, xla_trained, gradients = compiled(self.tensors())
        check_close("output under XLA", outputs, eager, self.tolerance)
        check_finite("output in training under XLA", xla_trained)
        wanted = self.gradients
        if draws_alike:
            check_close("output in training under XLA", xla_trained, trained, self.tolerance)
        else:
            wanted = self._differentiated(layer, self.tensors(), False)[1]
        check_near("gradients under XLA", gradients, wanted, _XLA_GRADIENTS)

    def _differentiated(self, layer: Any, inputs: Any, training: bool) -> tuple[Any, list[tf.Tensor]]:
        """Returns the outputs, and the gradients of inputs and trained weights."""
        floats = [x for x in tf.nest.flatten(inputs) if x.dtype.is_floating]
        with tf.GradientTape() as tape, collect_losses() as collected:
            tape.watch(floats)
            outputs = layer(inputs, training=training)
            loss = tf.add_n([loss_of(outputs), collected.total(), *layer.losses])
        # Keras 3 has variables of its own around those of TensorFlow.
        weights = [v if isinstance(v, tf.Variable) else v.value for v in layer.trainable_variables]
        sources = [*floats, *weights]
        gradients = tape.gradient(loss, sources, unconnected_gradients="zero")
        return outputs, [tf.convert_to_tensor(gradient) for gradient in gradients]

    def check_mask(self, keeps_mask: bool) -> None:
        (array,) = tf.nest.flatten(self.inputs)
        # Masking masks steps that are all zero; nothing else in the input is.
        x = keras.layers.Masking()(tf.constant(np.concatenate([array, 0 * array[:, :1]], axis=1)))
        output = self.layer()(x)
        mask = getattr(output, "_keras_mask", None)
        if keeps_mask and (mask is None or not same(mask, x._keras_mask)):
            raise AssertionError("the mask of the input does not come out again")
        if not keeps_mask and mask is not None:
            raise AssertionError("a mask comes out")

    def check_policy(self, policy: str, float32_output: bool) -> None:
        layer = self.layer(dtype=policy)
        untrained = layer(self.tensors(), training=False)
        layer.set_weights(self.weights)
        trained, gradients = self._differentiated(layer, self.tensors(), training=True)
        for outputs in (untrained, trained):
            check_finite(f"output under {policy}", outputs)
            wanted = tf.float32 if float32_output else tf.as_dtype(layer.compute_dtype)
            for x in tf.nest.flatten(outputs):
                if x.dtype.is_floating:
                    check_equal(f"output dtype under {policy}", x.dtype, wanted)
        check_finite(f"gradients under {policy}", gradients)
        check_near(f"gradients under {policy}", gradients, self.gradients, _HALF_GRADIENTS[policy])
        for weight in layer.weights:
            dtype = tf.as_dtype(weight.dtype)
            if dtype.is_floating:
                check_equal(f"dtype of {weight.name} under {policy}", dtype, tf.float32)
