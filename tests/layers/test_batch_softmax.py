import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorflow import keras

from easyssl.layers import BatchSoftmax
from easyssl.losses import collect_losses
from easyssl.testing import run_layer_test

pytestmark = pytest.mark.both_keras

RNG = np.random.default_rng(0)
Q, X = RNG.normal(size=(2, 6, 4)).astype("float32")
IDS = np.array([3, 5, 3, 8, 9, 5])
P = np.array([0.5, 0.1, 0.5, 0.01, 0.2, 0.1], "float32")
W = np.array([1.0, 2.0, 0.0, 1.0, 0.5, 1.5], "float32")


def reference(q, x, *, tau, similarity="cosine", ids=None, p=None, w=None):
    n = len(q)
    q, x = q.astype("float64"), x.astype("float64")
    if similarity == "cosine":
        q, x = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (q, x))
    ids = np.arange(n) if ids is None else ids
    w = np.ones(n) if w is None else w
    log_p = np.zeros(n) if p is None else np.log(p)
    total = 0.0
    for i in range(n):
        scores = {
            j: q[i] @ x[j] / tau - log_p[j] for j in range(n) if j == i or (ids[j] != ids[i] and w[j] > 0)
        }
        top = max(scores.values())
        total += w[i] * (top + np.log(sum(np.exp(s - top) for s in scores.values())) - scores[i])
    return total / max(w.sum(), 1.0)


def test_gate():
    run_layer_test(
        BatchSoftmax,
        {"correction": "streaming", "side_inputs": ["ids", "weights"], "num_buckets": 50, "num_hashes": 2},
        [Q, X, IDS, W],
        expected_output_shape=(),
        expected_num_trainable_weights=0,
        expected_num_non_trainable_weights=3,
        float32_output=True,
    )


def test_gate_with_given_probabilities():
    run_layer_test(
        BatchSoftmax,
        {"correction": "given", "side_inputs": ["probabilities"], "similarity": "dot", "cross_replica": True},
        [Q, X, P],
        expected_output_shape=(),
        expected_num_non_trainable_weights=0,
        float32_output=True,
        policies=("mixed_bfloat16",),
    )


@settings(deadline=None, max_examples=25)
@given(
    st.integers(1, 6),
    st.sampled_from(["cosine", "dot"]),
    st.sets(st.sampled_from(["ids", "probabilities", "weights"])),
    st.booleans(),
    st.integers(0, 99),
)
def test_it_is_the_definition(batch, similarity, sides, column, seed):
    rng = np.random.default_rng(seed)
    q, x = rng.normal(size=(2, batch, 3)).astype("float32")
    values = {
        "ids": rng.integers(0, 3, batch),
        "probabilities": rng.uniform(0.01, 1.0, batch).astype("float32"),
        "weights": rng.integers(0, 3, batch).astype("float32"),
    }
    order = sorted(sides)
    layer = BatchSoftmax(
        temperature=0.5,
        similarity=similarity,
        correction="given" if "probabilities" in sides else "none",
        side_inputs=order,
    )
    arguments = {name[0]: values[name] for name in sides}
    expected = reference(
        q,
        x,
        tau=0.5,
        similarity=similarity,
        ids=arguments.get("i"),
        p=arguments.get("p"),
        w=arguments.get("w"),
    )
    got = layer([q, x, *(values[name][:, None] if column else values[name] for name in order)])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(hasattr(keras, "ops"), reason="TensorFlow Recommenders imports under tf_keras only")
@pytest.mark.parametrize("sides", [[], ["ids"], ["probabilities"], ["weights"], ["ids", "probabilities"]])
def test_it_agrees_with_tensorflow_recommenders(sides):
    tfrs = pytest.importorskip("tensorflow_recommenders")
    task = tfrs.tasks.Retrieval(temperature=0.3, remove_accidental_hits="ids" in sides)
    weights = np.array([1.0, 2.0, 0.5, 1.0, 0.5, 1.5], "float32")  # there, rows of weight 0 are negatives
    theirs = task(
        tf.constant(Q),
        tf.constant(X),
        sample_weight=tf.constant(weights) if "weights" in sides else None,
        candidate_sampling_probability=tf.constant(P) if "probabilities" in sides else None,
        candidate_ids=tf.constant(IDS) if "ids" in sides else None,
        compute_metrics=False,
        compute_batch_metrics=False,
    )
    layer = BatchSoftmax(
        temperature=0.3,
        similarity="dot",
        correction="given" if "probabilities" in sides else "none",
        side_inputs=sides,
    )
    values = {"ids": IDS, "probabilities": P, "weights": weights}
    ours = layer([Q, X, *(values[name] for name in sides)])
    total = weights.sum() if "weights" in sides else 6
    np.testing.assert_allclose(ours * total, theirs, rtol=1e-4)


def test_report_and_weight():
    layer = BatchSoftmax(loss_weight=0.25, side_inputs=["weights"], name="retrieve")
    with collect_losses() as collected:
        output = layer([Q, X, W], training=True)
        layer([Q, X, W])
    ((name, term),) = collected.terms.items()
    assert name == "retrieve_batch_softmax_loss"
    expected = reference(Q, X, tau=0.07, w=W)
    np.testing.assert_allclose([term.value, 4 * term.weighted, 4 * output], [expected] * 3, rtol=1e-4)


def test_streaming_learns_from_batches_in_training():
    options = {"side_inputs": ["ids"], "mask_accidental_hits": False, "temperature": 1.0}
    layer = BatchSoftmax(correction="streaming", frequency_rate=1.0, num_buckets=1009, **options)
    popular, rare = np.array([1, 2, 3, 4, 5, 6]), np.array([1, 2, 3, 4, 5, 7])
    for ids in (popular, popular, popular):
        layer([Q, X, ids], training=True)
    got = layer([Q, X, rare], training=True)  # 7 after 4 steps, the others in each
    np.testing.assert_allclose(got, reference(Q, X, tau=1.0, p=np.array([1.0] * 5 + [0.25])), rtol=1e-4)
    np.testing.assert_allclose(layer([Q, X, rare]), got, rtol=1e-6)


def test_equal_probabilities_change_nothing():
    plain, corrected = BatchSoftmax(), BatchSoftmax(correction="given", side_inputs=["probabilities"])
    np.testing.assert_allclose(corrected([Q, X, np.full(6, 0.02, "float32")]), plain([Q, X]), rtol=1e-4)
    assert np.isfinite(corrected([Q, X, np.zeros(6, "float32")]))


def test_accidental_hits_may_stay():
    layer = BatchSoftmax(side_inputs=["ids"], mask_accidental_hits=False)
    np.testing.assert_allclose(layer([Q, X, IDS]), BatchSoftmax()([Q, X]), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_large_half_precision_inputs_stay_finite(dtype, similarity):
    q, x = (tf.cast(1e3 * np.sign(v), dtype) for v in (Q, X))
    layer = BatchSoftmax(temperature=0.02, similarity=similarity, dtype=f"mixed_{dtype}")
    with tf.GradientTape() as tape:
        tape.watch([q, x])
        loss = layer([q, x])
    assert np.isfinite(loss) and loss.dtype == tf.float32
    assert all(np.all(np.isfinite(tf.cast(g, tf.float32))) for g in tape.gradient(loss, [q, x]))


@pytest.mark.parametrize(("rows", "ids"), [(1, [4]), (3, [4, 4, 4])])
def test_nothing_to_compare_is_no_loss_and_no_gradient(rows, ids):
    q, x = tf.constant(Q[:rows]), tf.constant(X[:rows])
    with tf.GradientTape() as tape:
        tape.watch([q, x])
        loss = BatchSoftmax(side_inputs=["ids"])([q, x, np.array(ids)], training=True)
    assert float(loss) == 0.0
    assert not any(np.any(g) for g in tape.gradient(loss, [q, x]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"similarity": "cosin"}, "did you mean 'cosine'"),
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"correction": "stream"}, "unknown correction 'stream'; did you mean 'streaming'"),
        ({"correction": "streaming"}, "needs 'ids' in side_inputs"),
        ({"correction": "given", "side_inputs": ["ids"]}, "needs 'probabilities' in side_inputs"),
        ({"side_inputs": ["probabilities"]}, "only used with the correction 'given'"),
        ({"side_inputs": ["id"]}, "unknown side input 'id'; did you mean 'ids'"),
        ({"side_inputs": ["ids", "ids"]}, "comes twice"),
        ({"num_buckets": 0}, "num_buckets=0"),
        ({"frequency_rate": 0.0}, "`frequency_rate` must be in"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BatchSoftmax(**arguments)


@pytest.mark.parametrize("inputs", [[Q], [Q, X], [Q, X, X], [Q, X[:, :2], IDS], [Q, X, IDS, IDS]])
def test_other_inputs_are_refused(inputs):
    with pytest.raises(
        ValueError, match=r"takes queries and items \[batch, dim\] of one width, ids \[batch\]"
    ):
        BatchSoftmax(side_inputs=["ids"])(inputs)
