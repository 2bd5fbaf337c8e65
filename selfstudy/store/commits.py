"""Exactly once: what a unit made becomes real by one small object that is created last (law 3).

    units/{pairs,chunks,removed,rejects}/UNIT-ATTEMPT.parquet    an attempt's files, under names of its own
    units/commits/UNIT.json                                      names the files of the attempt that won

The loser of a race leaves its files; nothing names them, so they do not exist.
"""

from __future__ import annotations

import hashlib
import io
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from selfstudy.store.filesystem import Folder

COMMITS = "units/commits"
UNIT_TABLES = ("pairs", "chunks", "removed", "rejects")
_SUFFIX = ".json"
_LAST = "-last"
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


@dataclass(slots=True)
class CommittedUnits:
    """Which units are committed, from the names of the commits alone: O(units) numbers, no content."""

    numbers: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    last: dict[str, int] = field(default_factory=dict)

    @classmethod
    def find(cls, output: Folder) -> CommittedUnits:
        return cls.of_names(output.names(COMMITS))

    @classmethod
    def of_names(cls, names: Iterable[str]) -> CommittedUnits:
        committed = cls()
        for name in names:
            if name.endswith(_SUFFIX):
                committed.add(name.removesuffix(_SUFFIX))
        return committed

    def add(self, unit_id: str) -> None:
        prefix, number = unit_id.removesuffix(_LAST).rsplit("-", 1)
        self.numbers[prefix].add(int(number))
        if unit_id.endswith(_LAST):
            self.last[prefix] = int(number)

    def __contains__(self, unit_id: str) -> bool:
        prefix, number = unit_id.removesuffix(_LAST).rsplit("-", 1)
        return int(number) in self.numbers.get(prefix, ())

    def is_complete(self, prefix: str) -> bool:
        """Whether every unit of the split with this prefix is there: as many as the last one's number says."""
        return prefix in self.last and len(self.numbers[prefix]) == self.last[prefix] + 1

    def unit_ids(self, prefix: str) -> list[str]:
        """Return the ids of the committed units of a split, in order."""
        last = self.last.get(prefix)
        numbers = sorted(self.numbers[prefix]) if prefix in self.numbers else []
        return [f"{prefix}-{number:06d}" + (_LAST if number == last else "") for number in numbers]


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
