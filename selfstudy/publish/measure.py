"""Coverage of a published snapshot: its files are read in parts and dealt by document, and each bucket is counted.

What a bucket holds follows from the documents' ids alone, so that `verify` counts the same from the files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from selfstudy.coverage import PublishedTables, Tally, document_coverage, tally_of
from selfstudy.publish.executor import Executor
from selfstudy.publish.rows import deal, gather
from selfstudy.store.filesystem import Folder
from selfstudy.tables import TABLES

# Few enough that their sentences, about twenty each, fit into memory beside a copy or two.
_CHUNKS_PER_BUCKET = 5_000
_ROWS_PER_PART = 10_000
_COLUMNS = {
    "pairs": ["doc_id", "chunk_id", "target_start", "style"],
    "chunks": [
        "doc_id", "chunk_id", "source_uri", "title", "start", "end", "sentences", "targets", "duplicate_of"
    ],
    "removed": ["doc_id", "field", "judge"],
    "rejects": ["doc_id", "chunk_id", "reason", "style", "start"],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Part:
    """The `number`-th of `of` parts of a file."""

    table: str
    name: str
    number: int
    of: int


def measure(
    target: Folder, files: Sequence[dict[str, Any]], executor: Executor
) -> Iterator[tuple[pl.DataFrame, Tally]]:
    """Yield (document rows sorted by doc_id, tally) of each bucket of documents, from the files of a manifest."""
    num_chunks = sum(file["rows"] for file in files if file["table"] == "chunks")
    num_buckets = 1 + num_chunks // _CHUNKS_PER_BUCKET
    parts = []
    for file in files:
        if file["table"] in _COLUMNS:
            of = 1 + file["rows"] // _ROWS_PER_PART
            parts += [_Part(file["table"], file["name"], number, of) for number in range(of)]
    counted = executor.shuffle(partial(_deal_part, target, num_buckets), parts, _count_bucket, num_buckets)
    for handle in counted:
        yield from executor.fetch([handle])


def _deal_part(target: Folder, num_buckets: int, part: _Part) -> list[tuple[str, pl.DataFrame | None]]:
    with target.open(part.name) as file:
        parquet = pq.ParquetFile(file)
        groups = parquet.num_row_groups
        wanted = range(groups * part.number // part.of, groups * (part.number + 1) // part.of)
        rows = pl.DataFrame(parquet.read_row_groups(list(wanted), columns=_COLUMNS[part.table]))
    return [(part.table, dealt) for dealt in deal(rows, "doc_id", num_buckets, is_hash=False)]


def _count_bucket(_bucket: int, parts: list[tuple[str, pl.DataFrame | None]]) -> tuple[pl.DataFrame, Tally]:
    tables = PublishedTables(**{name: _rows_of(name, parts).lazy() for name in _COLUMNS})
    documents = document_coverage(tables)
    return documents, tally_of(tables, documents)


def _rows_of(table: str, parts: list[tuple[str, pl.DataFrame | None]]) -> pl.DataFrame:
    rows = gather([part for name, part in parts if name == table])
    if rows is not None:
        return rows
    return pl.DataFrame(TABLES[table].schema().empty_table()).select(_COLUMNS[table])
