import interaction_oracle as oracle
import numpy as np
import pytest
from tensorflow import keras

from easyssl.layers import MaskNet
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")
BLOCKS = [{"aggregation_size": 3, "output_size": 5}, {"reduction_factor": 0.5}]
PARAMETERS = (4 * 3 + 3 + 3 * 4 + 4 + 4 * 5 + 2 * 5, 4 * 2 + 2 + 2 * 4 + 4)


def reference(layer, x):
    """The blocks have tests of their own."""
    x = x.astype("float64")
    if layer.norm is not None:
        x = oracle.norm(layer.norm, x)
    x = x.astype("float32")
    if layer.use_parallel:
        output = np.concatenate([block([x, x]) for block in layer.blocks], axis=1)
    else:
        output = x
        for block in layer.blocks:
            output = block([output, x]).numpy()
    return output if layer.mlp is None else oracle.mlp(layer.mlp, output.astype("float64"))


@pytest.mark.parametrize(
    ("kwargs", "width", "trainable"),
    [({"mlp": {"hidden_units": [6, 2]}}, 2, 2 + 7 + 4 + 6), ({"use_parallel": False}, 5, 2 + 7 + 4)],
)
def test_gate(kwargs, width, trainable):
    run_layer_test(
        MaskNet,
        {"mask_blocks": BLOCKS, **kwargs},
        X,
        expected_output_shape=(3, width),
        expected_num_trainable_weights=trainable,
        policies=("mixed_bfloat16",),
        tolerance=1e-4,
    )


@pytest.mark.parametrize(
    ("kwargs", "parameters"),
    [
        ({}, 2 * 4 + sum(PARAMETERS)),
        ({"input_layer_norm": False}, sum(PARAMETERS)),
        # In a row, the mask of the second block is as wide as the output of the first.
        ({"use_parallel": False}, 2 * 4 + PARAMETERS[0] + 4 * 2 + 2 + 2 * 5 + 5),
        ({"mlp": {"hidden_units": [6]}}, 2 * 4 + sum(PARAMETERS) + (5 + 4) * 6 + 2 * 6),
    ],
)
def test_values_and_number_of_parameters(kwargs, parameters):
    layer = oracle.built(MaskNet(BLOCKS, **kwargs), X)
    np.testing.assert_allclose(layer(X), reference(layer, X), rtol=1e-3, atol=1e-4)
    assert oracle.count(layer) == parameters


def test_one_block_is_the_same_side_by_side_and_in_a_row():
    left, right = (oracle.built(MaskNet(BLOCKS[:1], use_parallel=p), X) for p in (True, False))
    np.testing.assert_array_equal(left(X), right(X))


def test_the_regularizer_reaches_blocks_and_mlp():
    layer = MaskNet(BLOCKS, mlp={"hidden_units": [6]}, kernel_regularizer=keras.regularizers.L2(0.5))
    oracle.built(layer, X)
    oracle.l2(layer, *(block.aggregation for block in layer.blocks), layer.mlp.blocks[0].dense)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"mask_blocks": []}, "at least one block"),
        (
            {"mask_blocks": [{"aggregation_size": 2}, {"size": 2}]},
            r"`mask_blocks\[1\]` has no parameter 'size'",
        ),
        ({"mask_blocks": [{}]}, "set `reduction_factor` or"),
    ],
)
def test_bad_arguments_are_refused(kwargs, message):
    with pytest.raises(ValueError, match=message):
        MaskNet(**kwargs)
