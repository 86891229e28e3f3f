"""The made-up shop behind the generated clicks: what it sells and who comes.

Items belong to categories, categories to topics, brands to topics; campaigns belong to sellers, sellers to
brands. Users have a segment (gender, age) and a few topics they care for; what they look at
wanders through those.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from easyssl.data.prepare.draws import choose, public_ids, zipf

TOPICS = 6
_CATEGORIES_PER_TOPIC = 5
_BRANDS_PER_TOPIC = 6
_BRANDS_PER_CATEGORY = 3
_ITEMS = 120
LONGEST_STREAM = 75


@dataclass(frozen=True)
class Catalogue:
    """The items and what their ids mean; every array is indexed by the small number of what it describes."""

    category_topic: np.ndarray  # [categories]
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


def make_catalogue(rng: np.random.Generator) -> Catalogue:
    """Draws what is on sale."""
    categories = TOPICS * _CATEGORIES_PER_TOPIC
    topic = np.repeat(np.arange(TOPICS), _CATEGORIES_PER_TOPIC)
    popularity = np.tile(zipf(_CATEGORIES_PER_TOPIC, 0.8), TOPICS)
    # The brands of a topic are shared out to its categories; the first ones are sold in most of them.
    pool = rng.permuted(np.tile(np.arange(_BRANDS_PER_TOPIC), (categories, 1)), axis=1)
    brands = topic[:, None] * _BRANDS_PER_TOPIC + pool[:, :_BRANDS_PER_CATEGORY]
    brand_count = TOPICS * _BRANDS_PER_TOPIC

    topic_popularity = rng.permuted(zipf(TOPICS, 0.3))
    item_category = rng.choice(categories, _ITEMS, p=topic_popularity[topic] * popularity)
    slot = rng.choice(_BRANDS_PER_CATEGORY, _ITEMS, p=zipf(_BRANDS_PER_CATEGORY, 0.7))
    item_brand = brands[item_category, slot]
    item_customer = 2 * item_brand + rng.integers(0, 2, _ITEMS)
    item_campaign = 2 * item_customer + rng.integers(0, 2, _ITEMS)

    premium = rng.normal(0, 0.6, brand_count)[item_brand] + rng.normal(0, 0.4, _ITEMS)
    premium += rng.normal(0, 0.3, categories)[item_category]
    log_price = rng.uniform(np.log(20), np.log(300), TOPICS)[topic[item_category]] + premium
    appeal = rng.normal(0, 0.35, categories)[item_category] + rng.normal(0, 0.15, brand_count)[item_brand]
    appeal += rng.normal(0, 0.05, _ITEMS)
    return Catalogue(
        category_topic=topic,
        category_brands=brands,
        item_category=item_category,
        item_brand=item_brand,
        item_customer=item_customer,
        item_campaign=item_campaign,
        item_price=np.maximum(np.round(np.exp(log_price), 2), 0.01),
        item_expensive=premium / premium.std(),
        item_popularity=rng.permuted(zipf(_ITEMS, 0.7)),
        item_appeal=appeal,
        taste=_tastes(rng),
        ids={
            "cate_id": public_ids(rng, categories, 13_000),
            "brand": public_ids(rng, brand_count, 460_000),
            "customer": public_ids(rng, 2 * brand_count, 255_000),
            "campaign_id": public_ids(rng, 4 * brand_count, 420_000),
            "adgroup_id": public_ids(rng, _ITEMS, 846_000),
        },
    )


def _tastes(rng: np.random.Generator) -> np.ndarray:
    """Returns `[genders, ages, topics]`: how a topic suits a gender and the young or the old."""
    gender = rng.permuted(np.linspace(-0.4, 0.4, TOPICS))[None, None, :] * np.array([-1, 1])[:, None, None]
    age = (
        rng.permuted(np.linspace(-0.4, 0.4, TOPICS))[None, None, :] * np.linspace(-1.5, 1.5, 7)[None, :, None]
    )
    return gender + age


def make_users(rng: np.random.Generator, count: int, catalogue: Catalogue) -> Users:
    """Draws `count` users and the stream of things each of them looked at."""
    gender = rng.choice(2, count, p=[0.35, 0.65])
    age = rng.choice(7, count, p=[0.02, 0.13, 0.27, 0.26, 0.18, 0.10, 0.04])
    spending = rng.choice(4, count, p=[0.3, 0.2, 0.35, 0.15])  # 0: not known
    shopping = rng.choice([1, 2, 3], count, p=[0.1, 0.2, 0.7])
    group = gender * 7 + age
    segment = 1 + 6 * group + rng.integers(0, 6, count)
    fields = {
        "user_id": public_ids(rng, count, max(1_140_000, 4 * count)),
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
    care = rng.gamma(0.2, 1.0, (count, TOPICS)) * np.exp(2.5 * catalogue.taste[gender, age])
    share = care / care.sum(axis=1, keepdims=True)

    # Each step either stays with the last thing looked at or moves on to a new draw.
    shape = (count, LONGEST_STREAM)
    moves = rng.random(shape) < 0.4
    moves[:, 0] = True
    last_move = np.maximum.accumulate(np.where(moves, np.arange(LONGEST_STREAM), 0), axis=1)
    topic = choose(share, rng.random(shape))
    within = choose(zipf(_CATEGORIES_PER_TOPIC, 0.8)[None], rng.random(shape).reshape(1, -1)).reshape(shape)
    category = topic * _CATEGORIES_PER_TOPIC + within
    habit = rng.integers(0, _BRANDS_PER_CATEGORY, (count, len(catalogue.category_topic)), dtype=np.int8)
    slot = np.take_along_axis(habit, category, axis=1)
    slot = np.where(rng.random(shape) < 0.5, slot, rng.integers(0, _BRANDS_PER_CATEGORY, shape))
    brand = catalogue.category_brands[category, slot]

    kind = rng.random(count)
    length = np.where(kind < 0.2, rng.integers(1, 16, count), rng.integers(25, LONGEST_STREAM, count))
    return Users(
        fields=fields,
        topic_share=share,
        stream_category=np.take_along_axis(category, last_move, axis=1),
        stream_brand=np.take_along_axis(brand, last_move, axis=1),
        stream_length=np.where(kind < 0.05, 0, length),
    )


def choose_items(rng: np.random.Generator, topic: np.ndarray, catalogue: Catalogue) -> np.ndarray:
    """Draws one item for each entry of `topic` `[rows]`, popular ones more often."""
    item_topic = catalogue.category_topic[catalogue.item_category]
    item = np.zeros(len(topic), dtype=np.int64)
    for t in range(TOPICS):
        own, wanted = np.flatnonzero(item_topic == t), topic == t
        weights = catalogue.item_popularity[own]
        item[wanted] = rng.choice(own, int(wanted.sum()), p=weights / weights.sum())
    return item
