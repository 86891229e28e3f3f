"""Against scikit-learn, and against sums over a dense table for fields with several values."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mutual_info_score, normalized_mutual_info_score

from easyssl.functional.mutual_information import MutualInformation, mutual_information

fast = settings(deadline=None, max_examples=60)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([0, 0, 1, 1], [0, 0, 1, 1], 0.6931472),
        ([0, 0, 1, 1], [0, 1, 0, 1], 0.0),
        ([0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 1, 0], 0.4620981),
    ],
)
def test_golden_numbers(x, y, expected):
    assert mutual_information([np.array(x), np.array(y)])[0, 1] == pytest.approx(expected, abs=1e-7)


columns = st.integers(1, 40).flatmap(
    lambda rows: st.lists(
        st.lists(st.sampled_from([0, 1, 2, 3, 2**40, 2**62]), min_size=rows, max_size=rows),
        min_size=1,
        max_size=4,
    )
)


@fast
@given(columns)
def test_single_values_agree_with_scikit_learn(columns):
    fields = [np.array(column) for column in columns]
    matrix = mutual_information(fields)
    normalized = mutual_information(fields, normalized=True)
    for i, x in enumerate(columns):
        for j, y in enumerate(columns):
            assert matrix[i, j] == pytest.approx(mutual_info_score(x, y), abs=1e-12)
            if len(set(x)) > 1 and len(set(y)) > 1:
                told = normalized_mutual_info_score(x, y, average_method="geometric")
                assert normalized[i, j] == pytest.approx(told, abs=1e-12)
            else:
                assert normalized[i, j] == 0


def dense(fields):
    """Mutual information by the definition: a table of all pairs of values, one row of data at a time."""
    bags = [[[v for v in np.atleast_1d(cell) if v >= 0] or [-1] for cell in field] for field in fields]
    values = [sorted({v for bag in field for v in bag}) for field in bags]
    result = np.zeros([len(fields)] * 2)
    for i, f in enumerate(bags):
        for j, g in enumerate(bags):
            table = np.zeros([len(values[i]), len(values[j])])
            for a, b in zip(f, g, strict=True):
                for x in a:
                    for y in b:
                        if i != j:
                            table[values[i].index(x), values[j].index(y)] += 1 / len(a) / len(b)
                    if i == j:
                        table[values[i].index(x), values[i].index(x)] += 1 / len(a)
            p = table / len(f)
            q = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
            result[i, j] = np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0]))
    return result


several = st.integers(1, 12).flatmap(
    lambda rows: st.lists(
        st.lists(st.lists(st.integers(-1, 4), min_size=3, max_size=3), min_size=rows, max_size=rows),
        min_size=2,
        max_size=3,
    )
)


@fast
@given(several, st.integers(1, 5))
def test_several_values_follow_the_definition_in_any_chunks(columns, step):
    fields = [np.array(column) for column in columns]
    fields[-1] = fields[-1][:, 0]
    counts = MutualInformation(len(fields))
    for start in range(0, len(fields[0]), step):
        counts.add([field[start : start + step] for field in fields])
    matrix = counts.matrix()
    np.testing.assert_allclose(matrix, dense(fields), atol=1e-12)
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (matrix >= 0).all() and counts.rows == len(fields[0])
    entropies = np.diag(matrix)
    np.testing.assert_allclose(entropies, counts.entropies())
    assert (matrix <= np.minimum.outer(entropies, entropies) + 1e-12).all()


def test_an_id_tells_all_about_a_field():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 1000)
    matrix = mutual_information([np.arange(1000), x])
    assert matrix[0, 1] == pytest.approx(matrix[1, 1]) and matrix[0, 0] == pytest.approx(np.log(1000))


def test_chunks_of_a_large_vocabulary_are_merged(monkeypatch):
    from easyssl.functional import mutual_information as module

    monkeypatch.setattr(module, "_MIN_WAITING", 8)
    monkeypatch.setattr(module, "_MAX_EXPANDED", 64)
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 300, 3000), rng.integers(0, 300, 3000)
    counts = MutualInformation(2)
    for start in range(0, 3000, 50):
        counts.add([x[start : start + 50], y[start : start + 50]])
    assert counts.matrix()[0, 1] == pytest.approx(mutual_info_score(x, y), abs=1e-12)
    keys, sums = counts._pairs[0, 1].items()
    assert len(keys) == len(set(zip(x, y, strict=True))) and sums.sum() == 3000


def test_rows_without_a_value_are_a_value_of_their_own():
    x = np.array([-1, -1, 0, 0])
    bags = np.array([[-1, -1], [-5, -1], [7, -1], [-1, 7]])
    assert mutual_information([x, bags])[0, 1] == pytest.approx(np.log(2))
    assert mutual_information([x, np.zeros([4, 0], int)])[0, 1] == 0


def test_nothing_counted_is_nothing_told():
    np.testing.assert_array_equal(MutualInformation(2).matrix(), np.zeros([2, 2]))
    counts = MutualInformation(1)
    counts.add([np.zeros([0], int)])
    assert counts.rows == 0 and counts.matrix().tolist() == [[0.0]]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="num_fields"):
        MutualInformation(0)
    counts = MutualInformation(2)
    with pytest.raises(ValueError, match="expected 2 fields"):
        counts.add([np.zeros(3, int)])
    with pytest.raises(ValueError, match="different numbers of rows"):
        counts.add([np.zeros(3, int), np.zeros(2, int)])
    with pytest.raises(ValueError, match="whole numbers"):
        counts.add([np.zeros(3, int), np.zeros(3)])
