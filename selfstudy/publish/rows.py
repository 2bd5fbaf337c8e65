"""Rows of units: reading them, and dealing them into buckets by a hash."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from selfstudy.ids import content_hash
from selfstudy.store.commits import Commit
from selfstudy.store.filesystem import Folder
from selfstudy.tables import TABLES


def read_rows(
    source: Folder,
    commits: Sequence[Commit],
    table: str,
    columns: Sequence[str] | None = None,
    keep_fields: Sequence[str] = (),
) -> pl.DataFrame:
    """Read a table of some units, whole or in some columns."""
    frames = []
    for commit in commits:
        if table in commit.files:
            with source.open(commit.files[table]["name"]) as file:
                frames.append(pl.read_parquet(file, columns=list(columns) if columns else None))
    if frames:
        return pl.concat(frames, how="diagonal_relaxed")
    empty = pl.DataFrame(TABLES[table].schema(keep_fields).empty_table())
    return empty.select(columns) if columns else empty


def deal(rows: pl.DataFrame, key: str, num_buckets: int, *, is_hash: bool = True) -> list[pl.DataFrame | None]:
    """Split rows by the hash in a column, or by the hash of it; None where a bucket gets nothing.

    Buckets are ranges of the hash, so that rows sorted within them are sorted all through.
    """
    values = rows[key] if is_hash else (content_hash("shard", value) for value in rows[key])
    buckets = pl.Series("bucket", [int(value[:8], 16) * num_buckets >> 32 for value in values], pl.Int64)
    parts: list[pl.DataFrame | None] = [None] * num_buckets
    for (bucket,), part in rows.with_columns(buckets).group_by("bucket", maintain_order=True):
        parts[int(str(bucket))] = part.drop("bucket")
    return parts


def gather(parts: Sequence[pl.DataFrame | None]) -> pl.DataFrame | None:
    """Put the parts of a bucket together; None if there are none."""
    present = [part for part in parts if part is not None]
    return pl.concat(present, how="diagonal_relaxed") if present else None
