"""Which splits are asked again, and for which reasons.

    units/retries/PREFIX-N.json     {"reasons": [...]}: the n-th retry of the split whose first units begin with PREFIX

Units are immutable, so the units of a retried split have names of their own, which the number is part of.
"""

from __future__ import annotations

import orjson

from selfstudy.recipe import retried_prefix
from selfstudy.records import Retry
from selfstudy.store.filesystem import Folder

RETRIES = "units/retries"


def find_retries(output: Folder) -> dict[str, int]:
    """Return {first prefix: number of its latest retry} from the names alone."""
    retries: dict[str, int] = {}
    for name in output.names(RETRIES):
        prefix, number = name.removesuffix(".json").split("-")
        retries[prefix] = max(int(number), retries.get(prefix, 0))
    return retries


def read_retry(output: Folder, prefix: str, number: int) -> Retry:
    """Return the n-th retry of a split. Raises FileNotFoundError."""
    reasons = orjson.loads(output.read(_name(prefix, number)))["reasons"]
    earlier = tuple(retried_prefix(prefix, before) for before in reversed(range(number)))
    return Retry(number=number, reasons=tuple(reasons), prefixes=earlier)


def write_retry(output: Folder, prefix: str, number: int, reasons: list[str]) -> None:
    output.write(_name(prefix, number), orjson.dumps({"reasons": sorted(reasons)}))


def _name(prefix: str, number: int) -> str:
    return f"{RETRIES}/{prefix}-{number}.json"
