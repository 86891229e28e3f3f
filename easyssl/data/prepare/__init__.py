"""Data to train on: made by ourselves, or public sets turned from their own formats into our rows.

`easyssl data` calls these functions. No TensorFlow is imported.
"""

from __future__ import annotations

from collections.abc import Callable

from easyssl.data.prepare.avazu import generate_avazu
from easyssl.data.prepare.criteo import generate_criteo
from easyssl.data.prepare.domains import prepare_domains
from easyssl.data.prepare.files import Prepared
from easyssl.data.prepare.movielens import prepare_ml1m
from easyssl.data.prepare.movielens_sequences import prepare_ml1m_sequences
from easyssl.data.prepare.movies import generate_movielens
from easyssl.data.prepare.sequences import prepare_sequences
from easyssl.data.prepare.taobao import generate_taobao

__all__ = [
    "GENERATORS",
    "Prepared",
    "generate_avazu",
    "generate_criteo",
    "generate_movielens",
    "generate_taobao",
    "prepare_domains",
    "prepare_ml1m",
    "prepare_ml1m_sequences",
    "prepare_sequences",
]

GENERATORS: dict[str, Callable[..., Prepared]] = {
    "avazu": generate_avazu,
    "criteo": generate_criteo,
    "movielens": generate_movielens,
    "taobao": generate_taobao,
}
"""Data of our own, by name: functions of the folder to write to and of options such as `rows` and `seed`."""
