"""Units -> the snapshot's Parquet shards: read each unit once, deal its rows into buckets, write a bucket at a time.

A row's bucket follows from a hash (chunk_key of pairs and chunks), so that shards have about equal sizes, the
order does not follow the corpus, and no process needs to know what the others read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from selfstudy.ids import keyed_fraction
from selfstudy.publish.duplicates import twins_among, without_copies
from selfstudy.publish.rows import deal, gather, read_rows
from selfstudy.reasons import Stage, TargetReject
from selfstudy.store.commits import Commit, to_parquet
from selfstudy.store.filesystem import Folder
from selfstudy.tables import CHUNKS, PAIRS, REJECTS, REMOVED, Table

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Output:
    """A series of shards: NAME-00000-of-0000N.parquet."""

    name: str
    table: Table
    num_shards: int

    def shard_name(self, index: int) -> str:
        return f"{self.name}-{index:05d}-of-{self.num_shards:05d}.parquet"


# The order of rows; the hash of the first column decides on a row's shard.
_ORDER = {
    "pairs": ("chunk_key", "rank"),
    "chunks": ("chunk_key", "chunk_id"),
    "removed": ("chunk_id", "field", "start", "text"),
    "rejects": ("id", "stage", "reason", "unit_id"),
}


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """All that the tasks need. Buckets are numbered through the outputs in their order.

    `copies` and `repeats` are what `duplicates` found; equal chunks are found in the bucket where they meet.
    """

    source: Folder
    target: Folder
    outputs: tuple[Output, ...]
    copies: pl.DataFrame
    repeats: tuple[str, ...]
    keep_fields: tuple[str, ...]
    seed: int
    validation_fraction: float

    @property
    def num_buckets(self) -> int:
        return sum(output.num_shards for output in self.outputs)


@dataclass(frozen=True, slots=True)
class Part:
    """What a group of units gives to a bucket. `keys` are the chunks (id and key) that its pairs may belong to."""

    rows: pl.DataFrame | None
    keys: pl.DataFrame | None = None


def plan_outputs(commits: Sequence[Commit], *, shard_mb: float, validation_fraction: float) -> tuple[Output, ...]:
    """Choose the number of shards of each table from the sizes of the units' files."""

    def num_shards(table: str, share: float = 1.0) -> int:
        num_bytes = sum(commit.files[table]["bytes"] for commit in commits if table in commit.files)
        return max(1, math.ceil(share * int(num_bytes) / (shard_mb * _MB)))

    return (
        Output("data/train", PAIRS, num_shards("pairs", 1 - validation_fraction)),
        Output("data/validation", PAIRS, num_shards("pairs", validation_fraction)),
        Output("chunks/chunks", CHUNKS, num_shards("chunks")),
        Output("removed/removed", REMOVED, num_shards("removed")),
        Output("rejects/rejects", REJECTS, num_shards("rejects")),
    )


def deal_units(plan: ShardPlan, item: Sequence[Commit] | pl.DataFrame) -> list[Part]:
    """Return rows bucket by bucket: those of some units, or the rejects of dropped copies as they are."""
    if isinstance(item, pl.DataFrame):
        rows = {"rejects/rejects": item}
        return [part for output in plan.outputs for part in _parts(rows.get(output.name), None, output)]
    tables = {
        name: without_copies(read_rows(plan.source, item, name, keep_fields=plan.keep_fields), plan.copies)
        for name in _ORDER
    }
    pairs, keys = tables["pairs"], tables["chunks"].select("chunk_id", "chunk_key")
    in_validation = pairs["doc_id"].is_in(_validation_documents(pairs["doc_id"].unique().to_list(), plan))
    rows = {
        "data/train": pairs.filter(~in_validation),
        "data/validation": pairs.filter(in_validation),
        "chunks/chunks": tables["chunks"],
        "removed/removed": tables["removed"],
        "rejects/rejects": tables["rejects"],
    }
    return [part for output in plan.outputs for part in _parts(rows[output.name], keys, output)]


def write_shard(plan: ShardPlan, bucket: int, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Write the rows of a bucket in their order and return the manifest's entries.

    Pairs that are not published become a file of rejects beside.
    """
    output, index = _output_of(plan, bucket)
    rows = gather([part.rows for part in parts])
    keys = gather([part.keys for part in parts])
    rejects: pl.DataFrame | None = None
    if rows is not None and output.table == CHUNKS:
        rows = rows.drop("duplicate_of").join(twins_among(rows), on="chunk_id", how="left")
    if rows is not None and keys is not None:
        rows, rejects = _without_repeats(rows, keys, plan.repeats)
    entries = []
    # An empty validation split is none; every other table is there even if it has nothing to say.
    if output.name != "data/validation" or (rows is not None and rows.height):
        entries.append(_write(plan, output.table, output.shard_name(index), rows))
    if rejects is not None and rejects.height:
        name = output.shard_name(index).replace("data/", "rejects/repeated-")
        entries.append(_write(plan, REJECTS, name, rejects))
    return entries


def _without_repeats(
    pairs: pl.DataFrame, keys: pl.DataFrame, repeats: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Split the pairs of a bucket into those that are published and the rejects of the others."""
    is_twin = pairs["chunk_id"].is_in(twins_among(keys)["chunk_id"].implode())
    is_repeat = pairs["pair_id"].is_in(list(repeats)) & ~is_twin
    rejects = [
        _rejects_of(pairs.filter(is_twin), TargetReject.DUPLICATE_CHUNK),
        _rejects_of(pairs.filter(is_repeat), TargetReject.DUPLICATE_QUESTION),
    ]
    return pairs.filter(~is_twin & ~is_repeat), pl.concat(rejects)


def _write(plan: ShardPlan, table: Table, name: str, rows: pl.DataFrame | None) -> dict[str, Any]:
    with_optional = rows is not None and "answer_token_ids" in rows.columns
    schema = table.schema(plan.keep_fields, with_optional=with_optional)
    arrow = schema.empty_table() if rows is None else rows.sort(_ORDER[table.name]).select(schema.names).to_arrow()
    data = to_parquet(arrow.cast(schema))
    plan.target.write(name, data)
    return file_entry(name, table.name, arrow.num_rows, data)


def file_entry(name: str, table: str, num_rows: int, data: bytes) -> dict[str, Any]:
    """Return how a manifest lists a file."""
    return {
        "name": name,
        "table": table,
        "rows": num_rows,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def copy_rejects(copies: pl.DataFrame) -> pl.DataFrame:
    """Return the rejects of documents that are dropped as copies."""
    rows = [
        {
            "stage": Stage.PUBLISH,
            "reason": TargetReject.DUPLICATE_DOCUMENT,
            "id": f"{copy['source_uri']}#{copy['doc_id']}",
            "detail": "another document of the corpus has the same id",
            "unit_id": copy["prefix"],
            "doc_id": copy["doc_id"],
            "source_uri": copy["source_uri"],
        }
        for copy in copies.iter_rows(named=True)
    ]
    return pl.DataFrame(pa.Table.from_pylist(rows, REJECTS.schema()))


def _rejects_of(pairs: pl.DataFrame, reason: TargetReject) -> pl.DataFrame:
    schema = pl.DataFrame(REJECTS.schema().empty_table()).schema
    return pairs.select(
        pl.lit(Stage.PUBLISH.value).alias("stage"),
        pl.lit(reason.value).alias("reason"),
        pl.col("pair_id").alias("id"),
        pl.col("question").alias("detail"),
        "unit_id",
        "doc_id",
        "chunk_id",
        "source_uri",
        "style",
        pl.col("target_start").alias("start"),
    ).select(pl.col(name).cast(dtype) for name, dtype in schema.items())


def _validation_documents(doc_ids: Sequence[str], plan: ShardPlan) -> list[str]:
    return [doc_id for doc_id in doc_ids if keyed_fraction("validation", plan.seed, doc_id) < plan.validation_fraction]


def _parts(rows: pl.DataFrame | None, keys: pl.DataFrame | None, output: Output) -> list[Part]:
    if rows is None:
        return [Part(None)] * output.num_shards
    key = _ORDER[output.table.name][0]
    # The ids of rejected documents are uris; all other keys are hashes already.
    dealt = deal(rows, key, output.num_shards, is_hash=key != "id")
    if output.table != PAIRS or keys is None:
        return [Part(part) for part in dealt]
    return [Part(part, near) for part, near in zip(dealt, deal(keys, key, output.num_shards), strict=True)]


def _output_of(plan: ShardPlan, bucket: int) -> tuple[Output, int]:
    for output in plan.outputs:
        if bucket < output.num_shards:
            return output, bucket
        bucket -= output.num_shards
    raise IndexError(bucket)
