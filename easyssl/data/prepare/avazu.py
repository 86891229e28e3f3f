"""Made-up rows in the columns of Avazu's click-through rate challenge, whose click probabilities are known.

A row is an ad that was shown on a site or in an app, in the order of time, commas between cells, no header
line. As in the public set an impression in an app has one fixed id for its site, and the other way round; a
site has one domain and one category, as an app has; most devices have no id of their own; and the columns
C14 to C21 belong to the ad, which comes from a campaign (C17) of an advertiser (C21).

A click's logit is a sum of terms: the site or the app and its category, the ad, its campaign and advertiser,
how the advertiser suits the category, the hour of the day, the device and its connection, and the place on
the page. Single devices say nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from easyssl.data.prepare.draws import intercept, sigmoid, zipf
from easyssl.data.prepare.files import Prepared, make_folder, write_about, write_lines
from easyssl.data.prepare.generated import check_options, known_facts, text_lines
from easyssl.data.prepare.hashed_ids import HashedIds, distinct, make_ids, together

COLUMNS = (
    "id",
    "click",
    "hour",
    "C1",
    "banner_pos",
    "site_id",
    "site_domain",
    "site_category",
    "app_id",
    "app_domain",
    "app_category",
    "device_id",
    "device_ip",
    "device_model",
    "device_type",
    "device_conn_type",
    *(f"C{i}" for i in range(14, 22)),
)
CLICK_RATE = 0.17
DAYS = 10

_FIRST_DAY = 141021  # YYMMDD; the public set begins there
_SIZES = np.array([[320, 50], [300, 250], [216, 36], [728, 90]])


def generate_avazu(
    out: str | os.PathLike[str], *, rows: int = 50_000, test_rows: int | None = None, seed: int = 2020
) -> Prepared:
    """Writes `train.csv`, `test.csv` (the rows that come last in time) and `about.json`.

    Args:
        out: Folder; created if absent. Files of the same names are replaced.
        rows: Rows to train on, at least 1.
        test_rows: Rows to test with, at least 1; a fifth of `rows` if None.
        seed: The same arguments give the same files.

    Returns:
        What was written; `facts["best_reachable_auc"]` is the AUC of the true click probabilities on the
        test rows, which no model can beat but by luck.

    Raises:
        DataError: If an option is out of range or the folder cannot be written.
    """
    test_rows = check_options("avazu", rows, test_rows, seed)
    folder = make_folder(out)
    total = rows + test_rows
    table = simulate(total, seed)
    written = {
        "train.csv": write_lines(folder / "train.csv", table.lines(0, rows)),
        "test.csv": write_lines(folder / "test.csv", table.lines(rows, total)),
    }
    click = table.columns["click"]
    facts = known_facts(click, table.probability, slice(rows, total), seed, COLUMNS)
    prepared = Prepared(folder, written, facts)
    write_about(prepared)
    return prepared


@dataclass(frozen=True)
class Displays:
    """Rows in the order of time."""

    columns: dict[str, np.ndarray]  # column -> [rows]
    probability: np.ndarray  # [rows] of a click

    def lines(self, start: int, stop: int) -> Iterator[str]:
        """Yields the rows `start` to `stop` as lines of the file."""
        cells = {
            name: lambda rows, name=name: self.columns[name][rows].astype(str).tolist() for name in COLUMNS
        }
        return text_lines(cells, ",", start, stop)


def simulate(rows: int, seed: int = 2020) -> Displays:
    """Draws rows.

    Args:
        rows: At least 1.
        seed: The same seed and number of rows give the same rows.

    Returns:
        The rows, with the probability of each click.
    """
    rng = np.random.default_rng(seed)
    columns: dict[str, np.ndarray] = {"id": distinct(rng, rows, 1 << 63).astype(np.uint64)}
    in_app = rng.random(rows) < 0.4
    pages = {"site": _pages(rng, rows, 1500), "app": _pages(rng, rows, 800)}
    hour = np.sort(rng.integers(0, 24 * DAYS, rows))
    columns["hour"] = (_FIRST_DAY + hour // 24) * 100 + hour % 24
    logit = 0.25 * np.cos((hour % 24 - 3) * np.pi / 12)

    # The ad: advertiser, campaign, ad, each part of the one before it.
    advertisers = make_ids(rng, 60, power=0.8, weight=0.35)
    campaign_of = rng.choice(60, 300, p=zipf(60, 0.8))
    ad_of = rng.choice(300, 1200, p=zipf(300, 0.8))
    ad = rng.choice(1200, rows, p=zipf(1200, 0.9))
    campaign = ad_of[ad]
    advertiser = campaign_of[campaign]
    logit += advertisers.effect[advertiser] + rng.normal(0, 0.25, 300)[campaign]
    size = rng.choice(4, 300, p=[0.85, 0.1, 0.03, 0.02])[campaign]
    logit += np.array([-0.1, 0.8, 0.1, -0.5])[size]
    columns |= {"C14": ad + 15_000, "C15": _SIZES[size, 0], "C16": _SIZES[size, 1], "C17": campaign + 1_700}
    columns |= {
        "C18": rng.integers(0, 4, 300)[campaign],
        "C19": rng.choice([35, 39, 47, 167, 297, 1063], 300)[campaign],
        "C20": np.where(rng.random(rows) < 0.47, -1, 100_000 + rng.integers(0, 160, rows)),
        "C21": advertiser + 13,
    }

    for kind, elsewhere in (("site", in_app), ("app", ~in_app)):
        value = np.zeros(rows)
        for part, (known, drawn) in pages[kind].items():
            columns[f"{kind}_{part}"] = np.where(elsewhere, known.text[0], known.text[drawn])
            value += known.effect[drawn]
        category, of_page = pages[kind]["category"]
        value += together(category, advertisers, of_page, advertiser)
        logit += np.where(elsewhere, 0.0, value)

    place = rng.choice([0, 1, 2, 7], rows, p=[0.72, 0.26, 0.01, 0.01])
    columns["banner_pos"] = place
    logit += np.where(place == 1, 0.3, np.where(place == 7, 0.6, 0.0))
    columns["C1"] = rng.choice([1005, 1002, 1010, 1012], rows, p=[0.92, 0.05, 0.02, 0.01])
    logit += np.where(columns["C1"] == 1002, 0.3, 0.0)
    named = rng.random(rows) < 0.2
    for name, count in (("device_id", max(10, rows // 4)), ("device_ip", max(10, rows // 3))):
        device = make_ids(rng, count, power=0.5, weight=0.0)
        drawn = device.draw(rng, rows)
        columns[name] = device.text[np.where(named | (name == "device_ip"), drawn, 0)]
    models = make_ids(rng, 800, power=1.0, weight=0.2)
    model = models.draw(rng, rows)
    columns["device_model"] = models.text[model]
    logit += models.effect[model]
    columns["device_type"] = rng.choice([1, 0, 4, 5], rows, p=[0.92, 0.05, 0.02, 0.01])
    columns["device_conn_type"] = rng.choice([0, 2, 3, 5], rows, p=[0.86, 0.08, 0.05, 0.01])
    logit += np.where(columns["device_conn_type"] == 3, -0.5, 0.0)
    probability = sigmoid(logit + intercept(logit, CLICK_RATE))
    columns["click"] = (rng.random(rows) < probability).astype(int)
    return Displays(columns, probability)


def _pages(rng: np.random.Generator, rows: int, count: int) -> dict[str, tuple[HashedIds, np.ndarray]]:
    """Draws `count` sites or apps; returns part -> (its ids, number of the id in each row), 0 being none."""
    page = rng.choice(count - 1, rows, p=zipf(count - 1, 1.0)) + 1
    domain = rng.integers(1, count // 2, count)
    category = rng.choice(19, count, p=zipf(19, 0.8)) + 1
    return {
        "id": (make_ids(rng, count, weight=0.25), page),
        "domain": (make_ids(rng, count // 2, weight=0.0), domain[page]),
        "category": (make_ids(rng, 20, weight=0.35), category[page]),
    }
