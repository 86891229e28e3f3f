import interaction_oracle as oracle
import numpy as np
import pytest
from tensorflow import keras

from easyssl.layers import MaskBlock
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
NET = RNG.normal(size=(3, 4)).astype("float32")
MASK = RNG.normal(size=(3, 7)).astype("float32")
ALL = {
    "reduction_factor": 0.5,
    "aggregation_size": 99,
    "output_size": 5,
    "input_layer_norm": True,
    "projection_dim": 2,
}


def reference(layer, net, mask):
    net, hidden = net.astype("float64"), mask.astype("float64")
    if layer.projection is not None:
        hidden = oracle.dense(layer.projection, hidden)
    if layer.input_norm is not None:
        net = oracle.norm(layer.input_norm, net)
    value = net * oracle.dense(layer.mask_dense, np.maximum(oracle.dense(layer.aggregation, hidden), 0))
    if layer.output_dense is None:
        return value
    return np.maximum(oracle.norm(layer.output_norm, oracle.dense(layer.output_dense, value)), 0)


@pytest.mark.parametrize(
    ("kwargs", "inputs", "width", "trainable"),
    [(ALL, [NET, MASK], 5, 2 + 1 + 2 + 2 + 1 + 2), ({"aggregation_size": 3}, NET, 4, 4)],
)
def test_gate(kwargs, inputs, width, trainable):
    run_layer_test(
        MaskBlock,
        kwargs,
        inputs,
        expected_output_shape=(3, width),
        expected_num_trainable_weights=trainable,
        expected_num_non_trainable_weights=0,
        policies=("mixed_float16",),
        tolerance=1e-4,
    )


@pytest.mark.parametrize(
    ("kwargs", "parameters"),
    [
        ({"aggregation_size": 3}, 7 * 3 + 3 + 3 * 4 + 4),
        ({"reduction_factor": 1.5}, 7 * 10 + 10 + 10 * 4 + 4),
        ({"aggregation_size": 3, "output_size": 5}, 7 * 3 + 3 + 3 * 4 + 4 + 4 * 5 + 2 * 5),
        ({"aggregation_size": 3, "input_layer_norm": True}, 7 * 3 + 3 + 3 * 4 + 4 + 2 * 4),
        (ALL, 7 * 2 + 2 * 3 + 3 + 3 * 4 + 4 + 2 * 4 + 4 * 5 + 2 * 5),
    ],
)
def test_values_and_number_of_parameters(kwargs, parameters):
    layer = oracle.built(MaskBlock(**kwargs), [NET, MASK])
    np.testing.assert_allclose(layer([NET, MASK]), reference(layer, NET, MASK), rtol=1e-3, atol=1e-4)
    assert oracle.count(layer) == parameters


def test_one_tensor_is_multiplied_with_a_mask_of_itself():
    layer = oracle.built(MaskBlock(aggregation_size=2), MASK)
    np.testing.assert_allclose(layer(MASK), layer([MASK, MASK]))
    np.testing.assert_allclose(layer(MASK), reference(layer, MASK, MASK), rtol=1e-4, atol=1e-4)


def test_the_regularizer_reaches_the_first_kernels():
    layer = oracle.built(MaskBlock(**ALL, kernel_regularizer=keras.regularizers.L2(0.5)), [NET, MASK])
    oracle.l2(layer, layer.projection, layer.aggregation)


def test_first_kernels_start_as_he_uniform():
    layer = MaskBlock(aggregation_size=64)
    layer([NET, MASK])
    limit = np.sqrt(6 / 7)
    assert 0.9 * limit < np.abs(oracle.array(layer.aggregation.kernel)).max() <= limit


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({}, [NET, MASK], "set `reduction_factor` or `aggregation_size`"),
        ({"aggregation_size": 0}, [NET, MASK], "aggregation_size=0"),
        ({"reduction_factor": 0.0}, [NET, MASK], "reduction_factor=0.0"),
        ({"reduction_factor": 0.1}, [NET, MASK], "reduction_factor=0.1 leaves no hidden unit.*width 7"),
        ({"aggregation_size": 2}, [NET, MASK, MASK], "takes one input, or"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        MaskBlock(**kwargs)(inputs)
