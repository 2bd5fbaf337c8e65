"""What is new, gone and still there between two snapshots: chunks by chunk_key, pairs by pair_id, and the figures.

Reads two columns of the chunks and pairs of both, a range of chunk_key at a time; shards are such ranges already.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from selfstudy.publish.executor import Executor
from selfstudy.store.filesystem import Folder
from selfstudy.store.snapshots import SNAPSHOTS

_SHARD = re.compile(r"-(\d+)-of-(\d+)\.parquet$")
_IDS = {"chunks": "chunk_key", "pairs": "pair_id"}
_FIGURES = ("documents", "pairs", "eligible", "asked", "coverage_sentences", "coverage_chars", "removed_spans")


@dataclass(frozen=True, slots=True)
class Compared:
    """A snapshot to compare: its folder and the names of its files by table."""

    folder: Folder
    files: dict[str, tuple[str, ...]]

    @classmethod
    def of(cls, output: Folder, manifest: dict[str, Any]) -> Compared:
        names = {table: tuple(file["name"] for file in manifest["files"] if file["table"] == table) for table in _IDS}
        return cls(output.child(f"{SNAPSHOTS}/{manifest['snapshot']}"), names)


def diff(output: Folder, before: dict[str, Any], after: dict[str, Any], executor: Executor) -> dict[str, Any]:
    """Compare the snapshots of two manifests; of the second, `snapshot`, `files`, `coverage` and `epoch` are read.

    Gives {before, after, chunks: {kept, added, dropped}, pairs: {...}, epoch: [before, after], figures: {name:
    [before, after]}}. Chunks are those that are published, equal ones counted once.
    """
    sides = Compared.of(output, before), Compared.of(output, after)
    num_ranges = max(len(side.files["chunks"]) for side in sides)
    ranges = [[place] for place in range(num_ranges)]
    counted = executor.combine(partial(_count_range, *sides, num_ranges), ranges)
    total: Counter[str] = Counter()
    for handle in counted:
        total.update(executor.fetch([handle])[0])
    return {
        "before": before["snapshot"],
        "after": after["snapshot"],
        **{table: {what: total[f"{table}.{what}"] for what in ("kept", "added", "dropped")} for table in _IDS},
        "epoch": [before["epoch"], after["epoch"]],
        "figures": {name: [before["coverage"][name], after["coverage"][name]] for name in _FIGURES},
    }


def _count_range(before: Compared, after: Compared, num_ranges: int, _index: int, places: list[int]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for table in _IDS:
        old, new = (_ids(side, table, places[0], num_ranges) for side in (before, after))
        counts[f"{table}.kept"] = len(old & new)
        counts[f"{table}.added"] = len(new - old)
        counts[f"{table}.dropped"] = len(old - new)
    return counts


def _ids(side: Compared, table: str, place: int, num_ranges: int) -> set[str]:
    """Return the ids of a table whose chunk_key is in the place-th of so many ranges."""
    ids: set[str] = set()
    columns = ["chunk_key", "duplicate_of"] if table == "chunks" else ["chunk_key", "pair_id"]
    for name in side.files[table]:
        if not _overlaps(name, place, num_ranges):
            continue
        with side.folder.open(name) as file:
            rows = pl.read_parquet(file, columns=columns)
        if table == "chunks":
            rows = rows.filter(pl.col("duplicate_of").is_null())
        bucket = pl.col("chunk_key").str.head(8).str.to_integer(base=16, dtype=pl.Int64) * num_ranges // 2**32
        ids.update(rows.filter(bucket == place)[_IDS[table]])
    return ids


def _overlaps(name: str, place: int, num_ranges: int) -> bool:
    """Whether a shard, by its name, holds some of a range: shard i of n begins at i/n of all keys."""
    found = _SHARD.search(name)
    assert found is not None, name
    shard, num_shards = int(found[1]), int(found[2])
    return shard * num_ranges < (place + 1) * num_shards and place * num_shards < (shard + 1) * num_ranges
