"""The layered layout: order, distances and a least-squares fit checked against scikit-learn."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from easyssl.backbone.layout import fit, layered


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_fit_is_isotonic_regression_of_shifted_positions(data):
    wanted = data.draw(st.lists(st.floats(-50, 50), min_size=1, max_size=12))
    gaps = data.draw(st.lists(st.floats(0, 20), min_size=len(wanted) - 1, max_size=len(wanted) - 1))
    found = np.array(fit(wanted, gaps))
    shifts = np.concatenate([[0], np.cumsum(gaps)])
    expected = IsotonicRegression().fit_transform(np.arange(len(wanted)), np.array(wanted) - shifts) + shifts
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.all(np.diff(found) >= np.array(gaps) - 1e-9)


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_arrows_point_down_and_boxes_keep_apart(data):
    count = data.draw(st.integers(1, 12))
    pairs = list(itertools.combinations(range(count), 2))
    edges = data.draw(st.lists(st.sampled_from(pairs), unique=True, max_size=20)) if pairs else []
    widths = data.draw(st.lists(st.floats(20, 200), min_size=count, max_size=count))
    layout = layered(widths, edges)
    assert all(layout.layers[source] < layout.layers[target] for source, target in edges)
    for (source, target), route in zip(edges, layout.routes, strict=True):
        assert len(route) == layout.layers[target] - layout.layers[source] - 1
    spans = [(c - w / 2, c + w / 2) for c, w in zip(layout.centers, widths, strict=True)]
    assert min(start for start, _ in spans) >= -1e-6
    assert max(end for _, end in spans) <= layout.width + 1e-6
    for a, b in pairs:
        if layout.layers[a] == layout.layers[b]:
            (left, right) = sorted([spans[a], spans[b]])
            assert left[1] < right[0]


def test_a_chain_is_straight():
    layout = layered([40, 90, 60], [(0, 1), (1, 2)])
    assert layout.layers == (0, 1, 2)
    np.testing.assert_allclose(layout.centers, 45)


def test_crossings_are_removed():
    layout = layered([40] * 4, [(0, 3), (1, 2)])
    assert (layout.centers[0] < layout.centers[1]) == (layout.centers[3] < layout.centers[2])


def test_a_source_stays_near_its_reader():
    assert layered([10] * 4, [(0, 1), (1, 2), (2, 3)]).layers == (0, 1, 2, 3)
    assert layered([10] * 4, [(0, 1), (1, 3), (2, 3)]).layers == (0, 1, 1, 2)


def test_nothing():
    assert layered([], []).width == 0
