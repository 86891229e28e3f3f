"""A made-up shop whose click probabilities are known, in the columns of the Taobao display-ad samples.

Real display-ad data may not be redistributed, so the project trains by default on rows it makes itself. The
rows look like the real ones (19 columns, no header line, histories of up to 50 steps), and because every
click is drawn from a known probability, the best AUC that any model can reach is known too.

A click's logit is a sum of terms that a model can read from the columns: how often the history meets the
item's topic, category and brand, how the topic suits the user's gender and age, the price against the user's
spending level, the general appeal of category and brand, who the user is and where on the page the ad stands.
All else is the toss of a coin. The ids of users and single ads carry next to no signal of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from easyssl.data.prepare.draws import choose, intercept, sigmoid
from easyssl.data.prepare.files import Prepared, make_folder, write_about, write_lines
from easyssl.data.prepare.generated import check_options, known_facts
from easyssl.data.prepare.shop import (
    LONGEST_STREAM,
    TOPICS,
    Catalogue,
    Users,
    choose_items,
    make_catalogue,
    make_users,
)
from easyssl.errors import DataError

COLUMNS = (
    "clk",
    "pid",
    "adgroup_id",
    "cate_id",
    "campaign_id",
    "customer",
    "brand",
    "user_id",
    "cms_segid",
    "cms_group_id",
    "final_gender_code",
    "age_level",
    "pvalue_level",
    "shopping_level",
    "occupation",
    "new_user_class_level",
    "tag_category_list",
    "tag_brand_list",
    "price",
)
ITEM_COLUMNS = ("adgroup_id", "cate_id", "campaign_id", "customer", "brand", "price")
HISTORY = 50
CLICK_RATE = 0.4  # the public samples are resampled to about as many clicks

_FEWEST_USERS = 100
_ROWS_AT_ONCE = 10_000


def generate_taobao(
    out: str | os.PathLike[str],
    *,
    rows: int = 50_000,
    test_rows: int | None = None,
    seed: int = 2020,
    rows_per_user: int = 250,
    history_weight: float = 1.0,
) -> Prepared:
    """Writes `train.csv`, `test.csv` (the rows that come last in time), `items.tsv` and `about.json`.

    `items.tsv` is an item file for negative samplers: every ad, weighted by its number of training rows.

    Args:
        out: Folder; created if absent. Files of the same names are replaced.
        rows: Rows of `train.csv`, at least 1.
        test_rows: Rows of `test.csv`, at least 1; a fifth of `rows` if None.
        seed: The same arguments give the same files.
        rows_per_user: Rows of a user on average, at least 1; there are at least 100 users. With many, the
            user's id tells a model what the history tells; with few, only the history does.
        history_weight: Factor of what the history says about the item, at least 0.

    Returns:
        What was written; `facts["best_reachable_auc"]` is the AUC of the true click probabilities on the
        test rows, which no model can beat but by luck.

    Raises:
        DataError: If a number of rows is below 1, the weight is negative or not finite, or the folder cannot
            be written.
    """
    test_rows = check_options("taobao", rows, test_rows, seed)
    if rows_per_user < 1:
        raise DataError(f"taobao: rows_per_user is {rows_per_user}; expected at least 1")
    if not 0 <= history_weight < np.inf:
        raise DataError(f"taobao: history_weight is {history_weight}; expected a number of at least 0")
    folder = make_folder(out)
    total = rows + test_rows
    table = simulate(total, seed, rows_per_user=rows_per_user, history_weight=history_weight)
    written = {
        "train.csv": write_lines(folder / "train.csv", table.lines(0, rows)),
        "test.csv": write_lines(folder / "test.csv", table.lines(rows, total)),
        "items.tsv": write_lines(folder / "items.tsv", table.items(rows)) - 1,
    }
    facts = known_facts(table.click, table.probability, slice(rows, total), seed, COLUMNS)
    facts |= {"rows_per_user": rows_per_user, "history_weight": history_weight}
    prepared = Prepared(folder, written, facts)
    write_about(prepared)
    return prepared


@dataclass(frozen=True)
class Impressions:
    """Rows in the order of time."""

    columns: dict[str, np.ndarray]  # all but clk and the two histories, as public ids
    history_category: np.ndarray  # [rows, HISTORY] public ids, oldest first; valid up to `history_length`
    history_brand: np.ndarray
    history_length: np.ndarray  # [rows]
    probability: np.ndarray  # [rows] of a click
    click: np.ndarray  # [rows] 0 or 1

    def lines(self, start: int, stop: int) -> Iterator[str]:
        """Yields the rows `start` to `stop` as lines of the file."""
        for first in range(start, stop, _ROWS_AT_ONCE):
            yield from self._lines(first, min(first + _ROWS_AT_ONCE, stop))

    def items(self, rows: int) -> Iterator[str]:
        """Yields the lines of an item file of all ads, weighted by how many of the first `rows` they have."""
        _, first, place = np.unique(self.columns["adgroup_id"], return_index=True, return_inverse=True)
        counts = np.bincount(place[:rows], minlength=len(first))
        yield "id:int64\tweight:float\tfeature:string\n"
        cells = [self.columns[name][first].tolist() for name in ITEM_COLUMNS[:-1]]
        prices = self.columns["price"][first].tolist()
        for count, price, plain in zip(counts, prices, zip(*cells, strict=True), strict=True):
            yield f"{plain[0]}\t{count}\t{':'.join(map(str, plain))}:{price:.2f}\n"

    def _lines(self, start: int, stop: int) -> Iterator[str]:
        cells = [self.columns[name][start:stop].tolist() for name in COLUMNS[1:16]]
        categories = self.history_category[start:stop].astype(str).tolist()
        brands = self.history_brand[start:stop].astype(str).tolist()
        prices = self.columns["price"][start:stop].tolist()
        lengths = self.history_length[start:stop].tolist()
        clicks = self.click[start:stop].tolist()
        for i, plain in enumerate(zip(clicks, *cells, strict=True)):
            seen = "|".join(categories[i][: lengths[i]]) + "," + "|".join(brands[i][: lengths[i]])
            yield ",".join(map(str, plain)) + f",{seen},{prices[i]:.2f}\n"


def simulate(
    rows: int, seed: int = 2020, *, rows_per_user: int = 250, history_weight: float = 1.0
) -> Impressions:
    """Draws `rows` impressions in the order of time.

    Args:
        rows: At least 1.
        seed: The same arguments give the same impressions.
        rows_per_user: Rows of a user on average.
        history_weight: Factor of what the history says about the item.

    Returns:
        The rows, with the probability of each click.
    """
    rng = np.random.default_rng(seed)
    catalogue = make_catalogue(rng)
    users = make_users(rng, max(_FEWEST_USERS, rows // rows_per_user), catalogue)
    return _make_impressions(rng, rows, catalogue, users, history_weight)


def _make_impressions(
    rng: np.random.Generator, rows: int, catalogue: Catalogue, users: Users, history_weight: float
) -> Impressions:
    activity = rng.gamma(1.0, 1.0, len(users.stream_length)) + 0.05
    user = rng.choice(len(activity), rows, p=activity / activity.sum())
    time = np.sort(rng.random(rows))

    # Half of the ads are targeted at a topic the user cares for; within a topic popular items come first.
    by_topic = np.bincount(
        catalogue.category_topic[catalogue.item_category], catalogue.item_popularity, TOPICS
    )
    wish = 0.5 * by_topic + 0.5 * users.topic_share
    topic = choose(wish[user], rng.random((rows, 1)))[:, 0]
    item = choose_items(rng, topic, catalogue)
    category, brand = catalogue.item_category[item], catalogue.item_brand[item]

    # The history is the last HISTORY steps of the stream at that time; a later row of a user sees more.
    stop = np.floor(users.stream_length[user] * (0.4 + 0.6 * time)).astype(int)
    length = np.minimum(stop, HISTORY)
    steps = np.minimum((stop - length)[:, None] + np.arange(HISTORY), LONGEST_STREAM - 1)
    valid = np.arange(HISTORY) < length[:, None]
    seen_category = users.stream_category[user[:, None], steps]
    seen_brand = users.stream_brand[user[:, None], steps]

    logit = catalogue.item_appeal[item]
    field = {name: values[user] for name, values in users.fields.items()}
    logit += catalogue.taste[field["final_gender_code"] - 1, field["age_level"], topic]
    interest = _interest(topic, category, brand, seen_category, seen_brand, valid, catalogue)
    logit += history_weight * interest
    logit += np.array([-0.2, -0.35, -0.2, 0.0])[field["pvalue_level"]] * catalogue.item_expensive[item]
    place = rng.integers(0, 2, rows)
    logit += 0.8 * place + 0.3 * (field["shopping_level"] - 2) + 0.4 * field["occupation"]
    logit += np.array([-0.2, -0.5, 0.1, 0.6])[field["pvalue_level"]]
    logit += np.array([-0.1, 0.9, 0.5, -0.3, -0.9])[field["new_user_class_level"]]
    logit *= 1.15
    probability = sigmoid(logit + intercept(logit, CLICK_RATE))

    ids = catalogue.ids
    columns = {
        "pid": place,
        "adgroup_id": ids["adgroup_id"][item],
        "cate_id": ids["cate_id"][category],
        "campaign_id": ids["campaign_id"][catalogue.item_campaign[item]],
        "customer": ids["customer"][catalogue.item_customer[item]],
        "brand": ids["brand"][brand],
        **field,
        "price": catalogue.item_price[item],
    }
    return Impressions(
        columns=columns,
        history_category=ids["cate_id"][seen_category],
        history_brand=ids["brand"][seen_brand],
        history_length=length,
        probability=probability,
        click=(rng.random(rows) < probability).astype(int),
    )


def _interest(
    topic: np.ndarray,
    category: np.ndarray,
    brand: np.ndarray,
    seen_category: np.ndarray,
    seen_brand: np.ndarray,
    valid: np.ndarray,
    catalogue: Catalogue,
) -> np.ndarray:
    """Returns `[rows]` what the history says about the item; 0 for an empty history."""
    length = np.maximum(valid.sum(axis=1), 1)
    same_topic = valid & (catalogue.category_topic[seen_category] == topic[:, None])
    same_category = valid & (seen_category == category[:, None])
    same_brand = valid & (seen_brand == brand[:, None])
    share = same_topic.sum(axis=1) / length
    value = 0.6 * np.sqrt(share) - 0.2
    value += 0.15 * same_category.any(axis=1) + 0.1 * same_brand.any(axis=1)
    return np.where(valid.any(axis=1), value, 0.0)
