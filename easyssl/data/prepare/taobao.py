"""A made-up shop whose click probabilities are known, in the columns of the Taobao display-ad samples.

Real display-ad data may not be redistributed, so the project trains by default on rows it makes itself. The
rows look like the real ones (19 columns, no header line, histories of up to 50 steps), and because every
click is drawn from a known probability, the best AUC that any model can reach is known too.

How a click comes about: items belong to categories, categories to topics, brands to topics. Users have a
segment (gender, age) and a few topics they care for; their histories wander through those topics. The logit
of a click is a sum of terms that a model can read from the columns: how often the history meets the item's
topic, category and brand, what the user's segment thinks of the topic, the price against the user's
spending level, the general appeal of category and brand, the place on the page. Nothing else but the
coin toss is random, and the user and item ids themselves carry next to no signal.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from easyssl.data.prepare.files import Prepared, make_folder, write_about, write_lines
from easyssl.errors import DataError
from easyssl.metrics import AUC

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
HISTORY = 50
CLICK_RATE = 0.4  # the public samples are resampled to about as many clicks

_TOPICS = 6
_CATEGORIES_PER_TOPIC = 5
_BRANDS_PER_TOPIC = 6
_BRANDS_PER_CATEGORY = 3
_ITEMS = 200
_ROWS_PER_USER = 100
_LONGEST_STREAM = 75
_ROWS_AT_ONCE = 10_000


def generate_taobao(
    out: str | os.PathLike[str], *, rows: int = 50_000, test_rows: int | None = None, seed: int = 2020
) -> Prepared:
    """Writes `train.csv`, `test.csv` (the rows that come last in time) and `about.json`.

    Args:
        out: Folder; created if absent. Files of the same names are replaced.
        rows: Rows of `train.csv`, at least 1.
        test_rows: Rows of `test.csv`, at least 1; a fifth of `rows` if None.
        seed: The same arguments give the same files.

    Returns:
        What was written; `facts["best_reachable_auc"]` is the AUC of the true click probabilities on the
        test rows, which no model can beat but by luck.

    Raises:
        DataError: If a number of rows is below 1 or the folder cannot be written.
    """
    test_rows = max(1, rows // 5) if test_rows is None else test_rows
    for name, value in (("rows", rows), ("test_rows", test_rows)):
        if value < 1:
            raise DataError(f"taobao: {name} is {value}; expected at least 1")
    if seed < 0:
        raise DataError(f"taobao: seed is {seed}; expected 0 or more")
    folder = make_folder(out)
    total = rows + test_rows
    table = simulate(total, seed)
    written = {
        "train.csv": write_lines(folder / "train.csv", table.lines(0, rows)),
        "test.csv": write_lines(folder / "test.csv", table.lines(rows, total)),
    }
    best = AUC()
    best.update(table.click[rows:], {"probs": table.probability[rows:]})
    prepared = Prepared(
        folder,
        written,
        {
            "seed": seed,
            "click_rate": round(float(table.click.mean()), 6),
            "best_reachable_auc": round(best.result(), 6),
            "columns": list(COLUMNS),
        },
    )
    write_about(prepared)
    return prepared


@dataclass(frozen=True)
class Catalogue:
    """The items and what their ids mean; every array is indexed by the small number of what it describes."""

    category_topic: np.ndarray  # [categories]
    category_popularity: np.ndarray  # [categories], sums to 1 within a topic
    category_brands: np.ndarray  # [categories, brands per category]
    item_category: np.ndarray  # [items]
    item_brand: np.ndarray  # [items]
    item_customer: np.ndarray
    item_campaign: np.ndarray
    item_price: np.ndarray  # [items] in yuan
    item_expensive: np.ndarray  # [items] log price against the usual of its topic, in standard deviations
    item_popularity: np.ndarray  # [items], sums to 1
    item_appeal: np.ndarray  # [items] part of the logit: category, brand, the ad itself
    taste: np.ndarray  # [genders, ages, topics] part of the logit
    ids: dict[str, np.ndarray]  # column -> public id of each number


@dataclass(frozen=True)
class Users:
    """Who they are and the stream of things they looked at, oldest first."""

    fields: dict[str, np.ndarray]  # column -> [users]
    topic_share: np.ndarray  # [users, topics] how much they care for each topic
    stream_category: np.ndarray  # [users, longest stream]
    stream_brand: np.ndarray
    stream_length: np.ndarray  # [users]


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


def simulate(rows: int, seed: int = 2020) -> Impressions:
    """Draws `rows` impressions in the order of time.

    Args:
        rows: At least 1.
        seed: The same seed and number of rows give the same impressions.

    Returns:
        The rows, with the probability of each click.
    """
    rng = np.random.default_rng(seed)
    catalogue = _make_catalogue(rng)
    users = _make_users(rng, max(1, rows // _ROWS_PER_USER), catalogue)
    return _make_impressions(rng, rows, catalogue, users)


def _make_catalogue(rng: np.random.Generator) -> Catalogue:
    categories = _TOPICS * _CATEGORIES_PER_TOPIC
    topic = np.repeat(np.arange(_TOPICS), _CATEGORIES_PER_TOPIC)
    popularity = np.tile(_zipf(_CATEGORIES_PER_TOPIC, 0.8), _TOPICS)
    # The brands of a topic are shared out to its categories; the first ones are sold in most of them.
    pool = rng.permuted(np.tile(np.arange(_BRANDS_PER_TOPIC), (categories, 1)), axis=1)
    brands = topic[:, None] * _BRANDS_PER_TOPIC + pool[:, :_BRANDS_PER_CATEGORY]
    brand_count = _TOPICS * _BRANDS_PER_TOPIC

    topic_popularity = rng.permuted(_zipf(_TOPICS, 0.3))
    item_category = rng.choice(categories, _ITEMS, p=topic_popularity[topic] * popularity)
    slot = rng.choice(_BRANDS_PER_CATEGORY, _ITEMS, p=_zipf(_BRANDS_PER_CATEGORY, 0.7))
    item_brand = brands[item_category, slot]
    item_customer = 2 * item_brand + rng.integers(0, 2, _ITEMS)
    item_campaign = 2 * item_customer + rng.integers(0, 2, _ITEMS)

    premium = rng.normal(0, 0.6, brand_count)[item_brand] + rng.normal(0, 0.4, _ITEMS)
    premium += rng.normal(0, 0.3, categories)[item_category]
    log_price = rng.uniform(np.log(20), np.log(300), _TOPICS)[topic[item_category]] + premium
    appeal = rng.normal(0, 0.4, categories)[item_category] + rng.normal(0, 0.25, brand_count)[item_brand]
    appeal += rng.normal(0, 0.05, _ITEMS)
    return Catalogue(
        category_topic=topic,
        category_popularity=popularity,
        category_brands=brands,
        item_category=item_category,
        item_brand=item_brand,
        item_customer=item_customer,
        item_campaign=item_campaign,
        item_price=np.maximum(np.round(np.exp(log_price), 2), 0.01),
        item_expensive=premium / premium.std(),
        item_popularity=rng.permuted(_zipf(_ITEMS, 0.7)),
        item_appeal=appeal,
        taste=_tastes(rng),
        ids={
            "cate_id": _public_ids(rng, categories, 13_000),
            "brand": _public_ids(rng, brand_count, 460_000),
            "customer": _public_ids(rng, 2 * brand_count, 255_000),
            "campaign_id": _public_ids(rng, 4 * brand_count, 420_000),
            "adgroup_id": _public_ids(rng, _ITEMS, 846_000),
        },
    )


def _tastes(rng: np.random.Generator) -> np.ndarray:
    """Returns `[genders, ages, topics]`: each topic leans towards one gender and towards the young or the old."""
    gender = rng.permuted(np.linspace(-0.5, 0.5, _TOPICS))[None, None, :] * np.array([-1, 1])[:, None, None]
    age = rng.permuted(np.linspace(-0.5, 0.5, _TOPICS))[None, None, :] * np.linspace(-1.5, 1.5, 7)[None, :, None]
    return gender + age


def _make_users(rng: np.random.Generator, count: int, catalogue: Catalogue) -> Users:
    gender = rng.choice(2, count, p=[0.35, 0.65])
    age = rng.choice(7, count, p=[0.02, 0.13, 0.27, 0.26, 0.18, 0.10, 0.04])
    spending = rng.choice(4, count, p=[0.3, 0.2, 0.35, 0.15])  # 0: not known
    shopping = rng.choice([1, 2, 3], count, p=[0.1, 0.2, 0.7])
    group = gender * 7 + age
    segment = 1 + 6 * group + rng.integers(0, 6, count)
    fields = {
        "user_id": _public_ids(rng, count, max(1_140_000, 4 * count)),
        "cms_segid": np.where(rng.random(count) < 0.4, 0, segment),
        "cms_group_id": group,
        "final_gender_code": gender + 1,
        "age_level": age,
        "pvalue_level": spending,
        "shopping_level": shopping,
        "occupation": (rng.random(count) < 0.07).astype(int),
        "new_user_class_level": rng.choice(5, count, p=[0.25, 0.1, 0.35, 0.15, 0.15]),
    }

    # A user cares for a few topics, more likely for those that the segment likes.
    care = rng.gamma(0.2, 1.0, (count, _TOPICS)) * np.exp(2 * catalogue.taste[gender, age])
    share = care / care.sum(axis=1, keepdims=True)

    # Each step either stays with the last thing looked at or moves on to a new draw.
    shape = (count, _LONGEST_STREAM)
    moves = rng.random(shape) < 0.4
    moves[:, 0] = True
    last_move = np.maximum.accumulate(np.where(moves, np.arange(_LONGEST_STREAM), 0), axis=1)
    topic = _choose(share, rng.random(shape))
    within = _choose(_zipf(_CATEGORIES_PER_TOPIC, 0.8)[None], rng.random(shape).reshape(1, -1)).reshape(shape)
    category = topic * _CATEGORIES_PER_TOPIC + within
    habit = rng.integers(0, _BRANDS_PER_CATEGORY, (count, len(catalogue.category_topic)), dtype=np.int8)
    slot = np.take_along_axis(habit, category, axis=1)
    slot = np.where(rng.random(shape) < 0.5, slot, rng.integers(0, _BRANDS_PER_CATEGORY, shape))
    brand = catalogue.category_brands[category, slot]

    kind = rng.random(count)
    length = np.where(kind < 0.2, rng.integers(1, 16, count), rng.integers(25, _LONGEST_STREAM, count))
    return Users(
        fields=fields,
        topic_share=share,
        stream_category=np.take_along_axis(category, last_move, axis=1),
        stream_brand=np.take_along_axis(brand, last_move, axis=1),
        stream_length=np.where(kind < 0.05, 0, length),
    )


def _make_impressions(rng: np.random.Generator, rows: int, catalogue: Catalogue, users: Users) -> Impressions:
    activity = rng.gamma(1.0, 1.0, len(users.stream_length)) + 0.05
    user = rng.choice(len(activity), rows, p=activity / activity.sum())
    time = np.sort(rng.random(rows))

    # Half of the ads are targeted at a topic the user cares for; within a topic popular items come first.
    by_topic = np.bincount(
        catalogue.category_topic[catalogue.item_category], catalogue.item_popularity, _TOPICS
    )
    wish = 0.5 * by_topic + 0.5 * users.topic_share
    topic = _choose(wish[user], rng.random((rows, 1)))[:, 0]
    item = _choose_items(rng, topic, catalogue)
    category, brand = catalogue.item_category[item], catalogue.item_brand[item]

    # The history is the last HISTORY steps of the stream at that time; a later row of a user sees more.
    stop = np.floor(users.stream_length[user] * (0.4 + 0.6 * time)).astype(int)
    length = np.minimum(stop, HISTORY)
    steps = np.minimum((stop - length)[:, None] + np.arange(HISTORY), _LONGEST_STREAM - 1)
    valid = np.arange(HISTORY) < length[:, None]
    seen_category = users.stream_category[user[:, None], steps]
    seen_brand = users.stream_brand[user[:, None], steps]

    logit = catalogue.item_appeal[item]
    field = {name: values[user] for name, values in users.fields.items()}
    logit += catalogue.taste[field["final_gender_code"] - 1, field["age_level"], topic]
    logit += _interest(topic, category, brand, seen_category, seen_brand, valid, catalogue)
    logit += np.array([-0.3, -0.5, -0.25, 0.05])[field["pvalue_level"]] * catalogue.item_expensive[item]
    place = rng.integers(0, 2, rows)
    logit += 0.6 * place + 0.3 * (field["shopping_level"] - 2) + 0.4 * field["occupation"]
    logit += np.array([-0.1, 0.6, 0.3, -0.2, -0.6])[field["new_user_class_level"]]
    logit *= 1.2
    probability = _sigmoid(logit + _intercept(logit, CLICK_RATE))

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
    value = 0.9 * np.sqrt(share) - 0.35
    value += 0.15 * same_category.any(axis=1) + 0.15 * same_brand.any(axis=1)
    return np.where(valid.any(axis=1), value, 0.0)


def _choose(weights: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Returns choices `[rows, n]` from row-wise weights `[rows, k]` by inverting their cumulative sum."""
    edges = np.cumsum(weights, axis=1)
    edges /= edges[:, -1:]
    chosen = np.zeros(uniform.shape, dtype=np.int64)
    for k in range(edges.shape[1] - 1):
        chosen += uniform > edges[:, k : k + 1]
    return chosen


def _choose_items(rng: np.random.Generator, topic: np.ndarray, catalogue: Catalogue) -> np.ndarray:
    item_topic = catalogue.category_topic[catalogue.item_category]
    item = np.zeros(len(topic), dtype=np.int64)
    for t in range(_TOPICS):
        own, wanted = np.flatnonzero(item_topic == t), topic == t
        weights = catalogue.item_popularity[own]
        item[wanted] = rng.choice(own, int(wanted.sum()), p=weights / weights.sum())
    return item


def _intercept(logit: np.ndarray, rate: float) -> float:
    """Returns the shift of the logits at which the mean probability is `rate`, by bisection."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        if _sigmoid(logit + middle).mean() < rate:
            low = middle
        else:
            high = middle
    return middle


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _zipf(count: int, power: float) -> np.ndarray:
    weights = np.arange(1, count + 1, dtype=np.float64) ** -power
    return weights / weights.sum()


def _public_ids(rng: np.random.Generator, count: int, largest: int) -> np.ndarray:
    """Returns `count` different ids between 1 and `largest`, in no order."""
    return rng.choice(largest, count, replace=False) + 1
