"""Exactly once: what a unit made becomes real by one small object that is created last (law 3).

    units/{pairs,chunks,removed,rejects}/UNIT-ATTEMPT.parquet    an attempt's files, under names of its own
    units/commits/UNIT.json                                      names the files of the attempt that won

The loser of a race leaves its files; nothing names them, so they do not exist.
"""

from __future__ import annotations

import hashlib
import io
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from itertools import groupby
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from selfstudy.store.filesystem import Folder

COMMITS = "units/commits"
UNIT_TABLES = ("pairs", "chunks", "removed", "rejects")
_SUFFIX = ".json"
_LAST = "-last"
_UNIT_NAME = re.compile(r"(.+)-(\d+)(-last)?\.json")
_READ_THREADS = 16
ROWS_PER_GROUP = 2_000


@dataclass(frozen=True, slots=True)
class Commit:
    """The content of a commit. `files` maps a table to {name, rows, bytes, sha256}; empty tables have none."""

    unit_id: str
    split_id: str
    attempt: str
    recipe: str
    created_at: str
    seconds: float
    versions: dict[str, str]
    counts: dict[str, Any]
    files: dict[str, dict[str, Any]]

    @classmethod
    def parse(cls, data: bytes) -> Commit:
        return cls(**orjson.loads(data))

    def dump(self) -> bytes:
        return orjson.dumps(self, option=orjson.OPT_INDENT_2)


@dataclass(frozen=True, slots=True)
class CommittedUnits:
    """Which units are committed, from the names of the commits alone: O(units) time, O(splits) memory.

    `numbers` maps the prefix of a split to the numbers of its units, in order; `ended` holds the prefixes whose last
    unit is there, which says how many there are.
    """

    numbers: Mapping[str, Sequence[int]]
    ended: frozenset[str]

    @classmethod
    def find(cls, output: Folder) -> CommittedUnits:
        return cls.of_names(output.names(COMMITS))

    @classmethod
    def of_names(cls, names: Iterable[str]) -> CommittedUnits:
        numbers: dict[str, Sequence[int]] = {}
        ended: set[str] = set()
        # In order of the names the units of a split are neighbours.
        matches = filter(None, map(_UNIT_NAME.fullmatch, sorted(names)))
        for prefix, units in groupby(matches, key=lambda match: match[1]):
            found = [(int(unit[2]), unit[3] is not None) for unit in units]
            numbers[prefix] = _compact(sorted(number for number, _ in found))
            if any(is_last for _, is_last in found):
                ended.add(prefix)
        return cls(numbers, frozenset(ended))

    def __contains__(self, unit_id: str) -> bool:
        prefix, number = unit_id.removesuffix(_LAST).rsplit("-", 1)
        return int(number) in self.numbers.get(prefix, ())

    def is_complete(self, prefix: str) -> bool:
        """Whether every unit of the split with this prefix is there: as many as the last one's number says."""
        return prefix in self.ended and len(self.numbers[prefix]) == self.numbers[prefix][-1] + 1

    def unit_ids(self, prefix: str) -> list[str]:
        """Return the ids of the committed units of a split, in order."""
        unit_ids = [f"{prefix}-{number:06d}" for number in self.numbers.get(prefix, ())]
        if prefix in self.ended:
            unit_ids[-1] += _LAST
        return unit_ids


def _compact(numbers: list[int]) -> Sequence[int]:
    """Most splits have all of their first units: a range that they share, not a list of their own."""
    return _first(len(numbers)) if numbers[-1] == len(numbers) - 1 else tuple(numbers)


@cache
def _first(number: int) -> range:
    return range(number)


def commit_unit(
    output: Folder,
    tables: Mapping[str, pa.Table],
    *,
    unit_id: str,
    split_id: str,
    recipe: str,
    created_at: str,
    seconds: float,
    versions: dict[str, str],
    counts: dict[str, Any],
) -> bool:
    """Write a unit's tables and commit them. Returns False if another attempt was committed first."""
    attempt = secrets.token_hex(8)
    files: dict[str, dict[str, Any]] = {}
    for table_name, table in tables.items():
        if table.num_rows == 0:
            continue
        data = to_parquet(table)
        name = f"units/{table_name}/{unit_id}-{attempt}.parquet"
        output.write(name, data)
        files[table_name] = {
            "name": name,
            "rows": table.num_rows,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    commit = Commit(
        unit_id=unit_id,
        split_id=split_id,
        attempt=attempt,
        recipe=recipe,
        created_at=created_at,
        seconds=seconds,
        versions=versions,
        counts=counts,
        files=files,
    )
    return output.create(commit_name(unit_id), commit.dump())


def read_commit(output: Folder, unit_id: str) -> Commit:
    return Commit.parse(output.read(commit_name(unit_id)))


def read_commits(output: Folder, unit_ids: Sequence[str]) -> list[Commit]:
    """Read the commits of some units, in their order."""
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        return list(pool.map(partial(read_commit, output), unit_ids))


def commit_name(unit_id: str) -> str:
    return f"{COMMITS}/{unit_id}{_SUFFIX}"


def to_parquet(table: pa.Table) -> bytes:
    """Small row groups: a reader that wants some of the rows finds them by their statistics."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", row_group_size=ROWS_PER_GROUP)
    return buffer.getvalue()


def from_parquet(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a small table in this thread alone: `pq.read_table` leaves threads that still let go of the content while
    Python shuts down, and about one process in a hundred that ends right after it aborts."""
    parquet = pq.ParquetFile(pa.BufferReader(content))
    return parquet.read(list(columns) if columns else None, use_threads=False)
