"""The index of a snapshot: in which unit a later run finds what was asked of a chunk.

    snapshots/ID/index/index-0000i-of-0000N.parquet    (chunk_key, unit_id), sorted; a bucket is a range of chunk_key
    snapshots/ID/index/units.parquet                   the units of the snapshot, and those that only the index names

Besides the published units it names those of incomplete splits and, while there are gaps, what the snapshot before
knew: a run that is stopped half-way through a changed corpus loses no answer of the night before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import polars as pl
import pyarrow as pa

from selfstudy.publish.executor import Executor
from selfstudy.publish.files import parquet_file
from selfstudy.publish.rows import deal, gather, read_rows
from selfstudy.reuse import Index
from selfstudy.store.commits import from_parquet, read_commits
from selfstudy.store.filesystem import Folder
from selfstudy.tables import INDEX, UNITS

_ROWS_PER_BUCKET = 32_768
_UNITS_PER_GROUP = 64
_MAX_GROUPS = 1_000
UNITS_FILE = "index/units.parquet"


def write_index(
    output: Folder,
    snapshot: str,
    *,
    published: Sequence[str],
    partial_ids: Sequence[str],
    before: Index | None,
    num_chunks: int,
    executor: Executor,
) -> list[dict[str, Any]]:
    """Write the index of a snapshot and return the manifest's entries.

    `partial_ids` are committed units of incomplete splits, `before` an index whose rows are taken over where no unit
    of today has the chunk; `num_chunks` decides on the number of buckets.
    """
    own = [*sorted(published), *sorted(partial_ids)]
    size = max(_UNITS_PER_GROUP, math.ceil(len(own) / _MAX_GROUPS))
    items: list[Any] = [own[first : first + size] for first in range(0, len(own), size)]
    index = Index(snapshot, max(1, math.ceil(num_chunks / _ROWS_PER_BUCKET)))
    if before is not None:
        items += [f"snapshots/{before.snapshot}/{before.file_name(bucket)}" for bucket in range(before.num_buckets)]
        index = Index(snapshot, max(index.num_buckets, before.num_buckets))
    read = partial(_deal_rows, output, index.num_buckets)
    entries = executor.fetch(executor.shuffle(read, items, partial(_write_bucket, output, index), index.num_buckets))
    held = dict.fromkeys(units_of(output, before.snapshot), False) if before is not None else {}
    held |= dict.fromkeys(partial_ids, False) | dict.fromkeys(published, True)
    columns = {"unit_id": sorted(held), "published": [held[unit_id] for unit_id in sorted(held)]}
    return [*entries, _write(output, snapshot, UNITS_FILE, pa.table(columns, UNITS.schema()))]


def units_of(output: Folder, snapshot: str) -> list[str]:
    """Return the units that a snapshot needs: its own, and those that its index names. Raises FileNotFoundError."""
    table = from_parquet(output.read(f"snapshots/{snapshot}/{UNITS_FILE}"), ["unit_id"])
    unit_ids: list[str] = table["unit_id"].to_pylist()
    return unit_ids


def _deal_rows(output: Folder, num_buckets: int, item: Sequence[str] | str) -> list[pl.DataFrame | None]:
    """Read the chunks of some units, or a bucket of the index before. `age` sorts today before yesterday."""
    if isinstance(item, str):
        rows = pl.read_parquet(output.read(item)).with_columns(age=pl.lit(1), chunk_id=pl.lit(""))
    else:
        rows = read_rows(
            output, read_commits(output, item), "chunks", ["chunk_key", "chunk_id", "unit_id"]
        ).with_columns(age=pl.lit(0))
    return deal(rows.select("chunk_key", "age", "chunk_id", "unit_id"), "chunk_key", num_buckets)


def _write_bucket(output: Folder, index: Index, bucket: int, parts: list[pl.DataFrame | None]) -> dict[str, Any]:
    """Equal chunks hold equal pairs, so one unit is enough: that of the lowest chunk_id, which is published."""
    rows = gather(parts)
    table = INDEX.schema().empty_table()
    if rows is not None:
        first = rows.sort("chunk_key", "age", "chunk_id", "unit_id").unique(
            "chunk_key", keep="first", maintain_order=True
        )
        table = first.select(INDEX.schema().names).to_arrow().cast(INDEX.schema())
    return _write(output, index.snapshot, index.file_name(bucket), table)


def _write(output: Folder, snapshot: str, name: str, table: pa.Table) -> dict[str, Any]:
    kind = UNITS if name == UNITS_FILE else INDEX
    with parquet_file(output.child(f"snapshots/{snapshot}"), name, kind.name, kind.schema()) as (file, entry):
        file.write(table)
    return entry
