"""The processes that train together, as the environment variable TF_CONFIG describes them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from typing import Any

from easyssl.errors import UsageError, nearest

VARIABLE = "TF_CONFIG"
_EXAMPLE = """{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}"""
_ADDRESS = re.compile(r"(?P<host>\[[0-9a-fA-F:.]+\]|[^\s:/\[\]]+):(?P<port>\d{1,5})$")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Who trains together.

    Attributes:
        addresses: `host:port` of each task, by kind: `worker`, `chief`, `ps`.
        kind: Kind of this process.
        index: Its number within its kind.
    """

    addresses: Mapping[str, tuple[str, ...]]
    kind: str
    index: int

    @property
    def name(self) -> str:
        """This process in messages."""
        return f"{self.kind} {self.index}"

    def tasks(self) -> list[str]:
        """Returns the names of all processes, the chief first."""
        kinds = sorted(self.addresses, key=["chief", "worker", "ps"].index)
        return [f"{kind} {index}" for kind in kinds for index in range(len(self.addresses[kind]))]

    def __str__(self) -> str:
        return f"{self.name} of a cluster with {', '.join(self.tasks())}"


def cluster_from_environment(kinds: tuple[str, ...], needed: tuple[str, ...]) -> Cluster:
    """Reads TF_CONFIG.

    Args:
        kinds: Kinds of tasks that the strategy knows.
        needed: Those of which there must be one at least.

    Returns:
        The cluster.

    Raises:
        UsageError: If the variable is absent or anything about it is wrong.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        raise UsageError(
            f"the environment variable {VARIABLE} is not set; it tells each process who trains together, "
            f"such as {VARIABLE}='{_EXAMPLE}'"
        )
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageError(f"{VARIABLE} is not JSON: {error}; expected such as '{_EXAMPLE}'") from None
    found = _object(_object(value, "").get("cluster"), "cluster")
    addresses = {kind: _addresses(kind, listed, kinds) for kind, listed in found.items()}
    for kind in needed:
        if not addresses.get(kind):
            raise UsageError(f"{VARIABLE}: cluster has no '{kind}', expected a list of host:port")
    every = [address for listed in addresses.values() for address in listed]
    twice = [address for address in every if every.count(address) > 1]
    if twice:
        raise UsageError(f"{VARIABLE}: the address '{twice[0]}' is there twice")
    task = _object(value.get("task"), "task")
    own, index = task.get("type"), task.get("index")
    if not isinstance(own, str) or own not in addresses:
        raise UsageError(f"{VARIABLE}: task.type is {own!r}{nearest(str(own), addresses)}")
    number = int(index) if isinstance(index, str) and index.isdecimal() else index
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < len(addresses[own]):
        last = len(addresses[own]) - 1
        raise UsageError(f"{VARIABLE}: task.index is {index!r}, expected a number from 0 to {last}")
    return Cluster(addresses, own, number)


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        where = f"{VARIABLE}: {name}" if name else VARIABLE
        raise UsageError(f"{where} is not an object; expected such as '{_EXAMPLE}'")
    return value


def _addresses(kind: str, listed: Any, kinds: tuple[str, ...]) -> tuple[str, ...]:
    if kind not in kinds:
        raise UsageError(f"{VARIABLE}: cluster: '{kind}' has no place in this strategy{nearest(kind, kinds)}")
    if not isinstance(listed, list):
        raise UsageError(f"{VARIABLE}: cluster.{kind} is not a list, expected a list of host:port")
    if kind == "chief" and len(listed) > 1:
        raise UsageError(f"{VARIABLE}: cluster.chief has {len(listed)} addresses, expected one")
    for address in listed:
        matched = _ADDRESS.match(address) if isinstance(address, str) else None
        if matched is None or not 0 < int(matched["port"]) < 65536:
            raise UsageError(f"{VARIABLE}: cluster.{kind}: {address!r} is not a host:port")
    return tuple(listed)
