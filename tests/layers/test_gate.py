import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf

from easyssl.layers import Gate
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
WEIGHTS = RNG.normal(size=(4, 3)).astype("float32")
VECTORS = [RNG.normal(size=(4, 5)).astype("float32") for _ in range(3)]


def reference(weights, vectors):
    return sum(weights[:, j : j + 1].astype("float64") * x for j, x in enumerate(vectors))


@pytest.mark.parametrize(
    ("kwargs", "shape", "trainable"), [({}, (4, 5), 0), ({"mlp": {"hidden_units": [6, 2]}}, (4, 2), 6)]
)
def test_gate(kwargs, shape, trainable):
    run_layer_test(
        Gate,
        kwargs,
        [WEIGHTS, *VECTORS],
        expected_output_shape=shape,
        expected_num_trainable_weights=trainable,
        policies=("mixed_bfloat16",),
    )


@pytest.mark.parametrize("index", [0, 1, 3])
def test_values(index):
    inputs = [*VECTORS[:index], WEIGHTS, *VECTORS[index:]]
    output = Gate(weight_index=index)(inputs)
    np.testing.assert_allclose(output, reference(WEIGHTS, VECTORS), rtol=1e-5, atol=1e-5)


def test_values_with_an_mlp():
    inputs = [WEIGHTS, *VECTORS]
    layer = oracle.built(Gate(mlp={"hidden_units": [6, 2], "final_activation": "linear"}), inputs)
    expected = oracle.mlp(layer.mlp, reference(WEIGHTS, VECTORS))
    np.testing.assert_allclose(layer(inputs), expected, rtol=1e-4, atol=1e-4)
    assert oracle.count(layer) == 5 * 6 + 6 * 2 + 2 * (6 + 2)


def test_one_vector():
    np.testing.assert_allclose(Gate()([WEIGHTS[:, :1], VECTORS[0]]), WEIGHTS[:, :1] * VECTORS[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (tf.zeros([4, 5]), r"takes a list of weights \[batch, n\], at index 0"),
        ([WEIGHTS], r"takes a list of weights"),
        ([WEIGHTS, *VECTORS[:2]], "has 3 weights for 2 vectors"),
        ([WEIGHTS, *VECTORS[:2], VECTORS[2][:, :4]], "of one width"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, message):
    with pytest.raises(ValueError, match=message):
        Gate(name="gate")(inputs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"weight_index": -1}, "weight_index=-1"),
        ({"weight_index": 4}, "at index 4"),
        ({"mlp": {}}, "`mlp` needs the parameter 'hidden_units'"),
        (
            {"mlp": {"hidden_units": [2], "use_bnn": False}},
            "`mlp` has no parameter 'use_bnn'; did you mean 'use_bn'",
        ),
        ({"mlp": {"hidden_units": []}}, "at least one layer"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        Gate(**kwargs)([WEIGHTS, *VECTORS])
