import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from easyssl.functional.whitening import whiten, whitening_map, whitening_mixture

RNG = np.random.default_rng(0)
DATA = RNG.normal(size=(500, 6)) @ RNG.normal(size=(6, 6)) + 3.0 * np.arange(6)


def mixture_reference(x, gate, shifts, kernels):
    return sum(gate[:, k : k + 1] * ((x - shifts[k]) @ kernels[k]) for k in range(len(kernels)))


def arrays(rows, in_dim, units, experts, seed=0):
    rng = np.random.default_rng(seed)
    gate = rng.uniform(size=(rows, experts))
    gate /= gate.sum(axis=1, keepdims=True)
    shapes = [(experts, in_dim), (experts, in_dim, units)]
    return [rng.normal(size=(rows, in_dim)), gate, *(rng.normal(size=shape) for shape in shapes)]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 4), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(0, 99))
def test_mixture_equals_its_definition(rows, in_dim, units, experts, seed):
    values = arrays(rows, in_dim, units, experts, seed)
    got = whitening_mixture(*map(tf.constant, values))
    np.testing.assert_allclose(got, mixture_reference(*values), atol=1e-12)


def test_gradients_of_the_mixture_equal_finite_differences():
    values = arrays(3, 4, 2, 3)
    theoretical, numerical = tf.test.compute_gradient(
        lambda *v: tf.sin(whitening_mixture(*v)), [tf.constant(v) for v in values]
    )
    for got, expected in zip(theoretical, numerical, strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
        assert np.any(got)


def test_second_derivatives_of_the_mixture():
    values = [tf.constant(v) for v in arrays(2, 3, 2, 2)]

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(tf.square(whitening_mixture(x, *values[1:])))
        return tape.gradient(y, x)

    (got,), (expected,) = tf.test.compute_gradient(slope, values[:1])
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def test_mixture_compiles_and_keeps_half_precision():
    values = [tf.constant(v, tf.float32) for v in arrays(5, 4, 3, 2)]
    compiled = tf.function(whitening_mixture, jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(*values), whitening_mixture(*values), rtol=1e-4, atol=1e-5)
    x, gate, *weights = values
    half = [tf.cast(v, tf.bfloat16) for v in (x, *weights)]
    assert whitening_mixture(half[0], gate, *half[1:]).dtype == tf.bfloat16


@pytest.mark.parametrize("rows", [1, 2, 100_000])
def test_no_intermediate_of_rows_times_experts_times_units(rows):
    """What is alive between the passes are the arguments; what is made is at most as wide as they are."""
    experts, width = 7, 12
    specs = [(rows, width), (rows, experts), (experts, width), (experts, width, width)]

    @tf.function(autograph=False)
    def both(*values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            y = whitening_mixture(*values)
        return tape.gradient(y, values)

    graph = both.get_concrete_function(*(tf.TensorSpec(s, tf.float32) for s in specs)).graph
    sizes = [t.shape.num_elements() or 0 for op in graph.get_operations() for t in op.outputs]
    assert max(sizes) <= max(rows * width, experts * width * width)


@pytest.mark.parametrize("method", ["pca", "zca"])
def test_whitened_data_are_white(method):
    shift, kernel = whitening_map(tf.constant(DATA), 6, method)
    white = whiten(tf.constant(DATA), shift, kernel).numpy()
    np.testing.assert_allclose(white.mean(axis=0), 0.0, atol=1e-4)
    np.testing.assert_allclose(np.cov(white.T, bias=True), np.eye(6), atol=1e-2)
    if method == "zca":
        np.testing.assert_allclose(kernel, tf.transpose(kernel), atol=1e-10)


def test_pca_keeps_the_directions_of_most_variance():
    shift, kernel = whitening_map(tf.constant(DATA), 2)
    values, vectors = np.linalg.eigh(np.cov(DATA.T, bias=True))
    for column, (value, vector) in enumerate(zip(values[:3:-1], vectors.T[:3:-1], strict=True)):
        expected = vector / np.sqrt(value + 1e-5) * np.sign(vector[np.argmax(np.abs(vector))])
        np.testing.assert_allclose(kernel[:, column], expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(shift, DATA.mean(axis=0), rtol=1e-12)


def test_directions_without_variance_stay_finite():
    flat = np.concatenate([DATA, DATA[:, :1], np.full([len(DATA), 1], 4.0)], axis=1)
    shift, kernel = whitening_map(tf.constant(flat), 8)
    white = whiten(tf.constant(flat), shift, kernel).numpy()
    np.testing.assert_allclose(white[:, 6:], 0.0, atol=1e-3)
    assert np.all(np.isfinite(white))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((DATA, 6, "pcaa"), "unknown whitening method 'pcaa'; did you mean 'pca'"),
        ((DATA[:1], 2), "at least two rows"),
        ((DATA, 7), "units=7, columns=6"),
        ((DATA, 5, "zca"), "as many units as the data have columns"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        whitening_map(tf.constant(arguments[0]), *arguments[1:])
