import interaction_oracle as oracle
import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from easyssl.layers import AITMTower
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
OWN, FIRST, SECOND = (RNG.normal(size=(4, 5)).astype("float32") for _ in range(3))
MLP = {"hidden_units": [3], "use_final_bn": False}


def reference(layer, towers):
    own, *earlier = (tower.astype("float64") for tower in towers)
    if layer.transfer_mlp is not None:
        earlier = [oracle.mlp(layer.transfer_mlp, tower) for tower in earlier]
    query = oracle.dense(layer.query, own)
    keys, values = (
        np.stack([oracle.dense(part, x) for part, x in zip(parts, [own, *earlier], strict=True)], axis=1)
        for parts in (layer.key_layers, layer.value_layers)
    )
    scores = np.exp((keys * query[:, None]).sum(axis=-1) / np.sqrt(query.shape[1]))
    return np.einsum("bi,bid->bd", scores / scores.sum(axis=1, keepdims=True), values)


@pytest.mark.parametrize(
    ("kwargs", "towers", "width", "trainable"),
    [
        ({}, [OWN, FIRST], 5, 2 * (1 + 2 * 2)),
        ({"project_dim": 2, "transfer_mlp": MLP}, [OWN, FIRST, SECOND], 2, 1 + 2 * (1 + 2 * 3)),
    ],
)
def test_gate(kwargs, towers, width, trainable):
    run_layer_test(
        AITMTower,
        kwargs,
        towers,
        expected_output_shape=(4, width),
        expected_num_trainable_weights=trainable,
        policies=("mixed_float16",),
    )


@pytest.mark.parametrize("kwargs", [{}, {"project_dim": 2, "transfer_mlp": MLP}])
def test_values(kwargs):
    towers = [OWN, FIRST, SECOND]
    layer = oracle.built(AITMTower(**kwargs), towers)
    np.testing.assert_allclose(layer(towers), reference(layer, towers), rtol=1e-4, atol=1e-4)
    width, seen = layer.query.units, 3 if kwargs else 5
    transfer = 5 * 3 if kwargs else 0
    assert oracle.count(layer) == transfer + 3 * (5 + 1) * width + 2 * 2 * (seen + 1) * width


def test_the_first_tower_is_handed_on():
    np.testing.assert_array_equal(AITMTower()(OWN), OWN)
    np.testing.assert_array_equal(AITMTower(transfer_mlp=MLP)([OWN]), OWN)


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_gradient_reaches_the_earlier_towers_only_if_it_may(stop_gradient):
    layer = AITMTower(transfer_mlp=MLP, stop_gradient=stop_gradient)
    towers = [tf.constant(OWN), tf.constant(FIRST)]
    with tf.GradientTape() as tape:
        tape.watch(towers)
        loss = tf.reduce_sum(tf.square(layer(towers, training=True)))
    own, earlier, *weights = tape.gradient(loss, [*towers, *layer.trainable_weights])
    assert np.any(own != 0) and all(gradient is not None for gradient in weights)
    assert earlier is None if stop_gradient else np.any(earlier != 0)


def test_large_scores_in_half_precision():
    layer = AITMTower(dtype="mixed_float16")
    output = layer([1e3 * OWN, 1e3 * FIRST])
    assert output.dtype == tf.float16 and np.all(np.isfinite(output))


def test_regularizer_reaches_the_transfer_only():
    layer = AITMTower(transfer_mlp=MLP, kernel_regularizer=keras.regularizers.L2(0.5))
    oracle.built(layer, [OWN, FIRST])
    oracle.l2(layer, layer.transfer_mlp.blocks[0].dense)


@pytest.mark.parametrize(
    ("kwargs", "inputs", "message"),
    [
        ({"project_dim": 0}, [OWN, FIRST], "project_dim=0"),
        ({"transfer_mlp": {}}, [OWN, FIRST], "`transfer_mlp` needs the parameter 'hidden_units'"),
        ({"transfer_mlp": MLP}, [OWN, FIRST, SECOND[:, :4]], "have one width"),
        ({}, [OWN, FIRST[:, :, None]], "takes a list of towers"),
    ],
)
def test_what_does_not_fit_is_refused(kwargs, inputs, message):
    with pytest.raises(ValueError, match=message):
        AITMTower(**kwargs)(inputs)
