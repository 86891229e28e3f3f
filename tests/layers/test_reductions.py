"""Losses that are means by default can be sums: the same terms, not divided by how many there are."""

import numpy as np
import pytest

from easyssl.layers import (
    BatchSoftmax,
    IntentContrast,
    PrototypeContrast,
    ReAttend,
    ReConstruct,
    ReContrast,
)
from easyssl.losses import collect_losses

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.normal(size=(2, 5, 6)).astype("float32")
ROW_LENGTHS = np.array([3, 1, 0, 2, 4], "int32")
ASSIGNMENTS, PROTOTYPES = RNG.uniform(size=(5, 3)), RNG.normal(size=(3, 6)).astype("float32")
WEIGHTS = np.array([2.0, 1.0, 0.0, 0.5, 1.0], "float32")
CLUSTERS = [LEFT, RIGHT, ASSIGNMENTS.astype("float32"), PROTOTYPES, ROW_LENGTHS]

Z, X = RNG.normal(size=(5, 3, 6)).astype("float32"), RNG.normal(size=(5, 4, 6)).astype("float32")
LENGTHS = np.array([4, 2, 0, 1, 3], "int32")
VALID = np.arange(4) < LENGTHS[:, None]
RAW = RNG.uniform(size=(5, 3, 4)) * VALID[:, None]
ATTENTION = (RAW / np.maximum(RAW.sum(axis=-1, keepdims=True), 1e-9)).astype("float32")
INTERESTS = [Z, ATTENTION, X, LENGTHS]
POSITIVES = int(np.sum(ATTENTION > 1 / np.maximum(LENGTHS, 1)[:, None, None]))
PAIRS = 3 * int(VALID.sum())

# Layer, its options, its inputs, and how many terms the mean divides by.
CASES = {
    "prototype_contrast": (PrototypeContrast, {}, CLUSTERS, 4),
    "intent_contrast": (IntentContrast, {}, CLUSTERS, 2 * 4),  # two rows each, a view and a centroid
    "batch_softmax": (BatchSoftmax, {"side_inputs": ["weights"]}, [LEFT, RIGHT, WEIGHTS], 4.5),
    "re_contrast": (ReContrast, {}, INTERESTS, POSITIVES),
    "re_contrast_official": (ReContrast, {"preset": "official"}, INTERESTS, PAIRS),
    "re_attend": (ReAttend, {}, INTERESTS, 3 * 4),
    "re_construct": (ReConstruct, {"max_seq_len": 4}, INTERESTS, 6 * POSITIVES),
    "re_construct_official": (ReConstruct, {"max_seq_len": 4, "preset": "official"}, INTERESTS, 6 * PAIRS),
}


@pytest.mark.parametrize("case", CASES)
def test_a_sum_is_the_mean_times_its_terms(case):
    kind, options, inputs, terms = CASES[case]
    mean, total = (kind(**options, loss_weight=0.5, reduction=reduction) for reduction in ("mean", "sum"))
    assert kind.from_config(total.get_config()).reduction == "sum"
    expected = mean(inputs)
    total.build([x.shape for x in inputs])
    total.set_weights(mean.get_weights())
    with collect_losses() as collected:
        got = total(inputs, training=True)
    assert float(expected) > 0
    np.testing.assert_allclose(got, terms * expected, rtol=1e-4)
    np.testing.assert_allclose(collected.total(), got, rtol=1e-6)
    with pytest.raises(ValueError, match="unknown reduction 'means'; did you mean 'mean'"):
        kind(**options, reduction="means")
