"""Units -> the snapshot's Parquet shards: read each unit once, deal its rows into buckets, sort each, write shards.

A row's bucket follows from a hash (chunk_key of pairs and chunks), so that buckets have about equal sizes, the
order does not follow the corpus, and no process needs to know what the others read. A shard is some neighbouring
buckets, written one after the other: a task's memory is that of a bucket, whatever the size of a shard.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import polars as pl
import pyarrow as pa

from selfstudy.ids import keyed_fraction
from selfstudy.publish.duplicates import twins_among, without_copies
from selfstudy.publish.files import parquet_file
from selfstudy.publish.rows import deal, gather, read_rows
from selfstudy.reasons import Stage, TargetReject
from selfstudy.store.commits import read_commits
from selfstudy.store.filesystem import Folder
from selfstudy.tables import CHUNKS, PAIRS, REJECTS, REMOVED, Table

_MB = 1_000_000
# Of compressed rows; sorted and decompressed a bucket is about ten times as much.
_BUCKET_BYTES = 8 * _MB


@dataclass(frozen=True, slots=True)
class Output:
    """A series of shards, NAME-00000-of-0000N.parquet, of so many buckets each."""

    name: str
    table: Table
    num_shards: int
    buckets_per_shard: int

    @property
    def num_buckets(self) -> int:
        return self.num_shards * self.buckets_per_shard

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
    """All that the tasks need. Buckets and shards are numbered through the outputs in their order.

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
        return sum(output.num_buckets for output in self.outputs)

    @property
    def shards(self) -> list[tuple[Output, int]]:
        """Each shard as its output and its index there."""
        return [(output, index) for output in self.outputs for index in range(output.num_shards)]

    def by_shard(self, buckets: Sequence[Any]) -> list[Sequence[Any]]:
        """Group what there is one of per bucket by the shards that the buckets belong to."""
        left = iter(buckets)
        return [list(islice(left, output.buckets_per_shard)) for output, _ in self.shards]


@dataclass(frozen=True, slots=True)
class Part:
    """What a group of units gives to a bucket. `keys` are the chunks (id and key) that its pairs may belong to."""

    rows: pl.DataFrame | None
    keys: pl.DataFrame | None = None


@dataclass(frozen=True, slots=True)
class Bucket:
    """Sorted rows of a shard, and the rejects of pairs that are not published. None is no rows."""

    rows: pa.Table | None
    rejects: pa.Table | None


def plan_outputs(num_bytes: Mapping[str, int], *, shard_mb: float, validation_fraction: float) -> tuple[Output, ...]:
    """Choose the number of shards and buckets from the sizes of the units' files by table."""

    def series(name: str, table: Table, share: float = 1.0) -> Output:
        size = share * num_bytes.get(table.name, 0)
        num_shards = max(1, math.ceil(size / (shard_mb * _MB)))
        return Output(name, table, num_shards, max(1, math.ceil(size / num_shards / _BUCKET_BYTES)))

    return (
        series("data/train", PAIRS, 1 - validation_fraction),
        series("data/validation", PAIRS, validation_fraction),
        series("chunks/chunks", CHUNKS),
        series("removed/removed", REMOVED),
        series("rejects/rejects", REJECTS),
    )


def deal_units(plan: ShardPlan, item: Sequence[str] | pl.DataFrame) -> list[Part]:
    """Return rows bucket by bucket: those of some units, or the rejects of dropped copies as they are."""
    if isinstance(item, pl.DataFrame):
        rows = {"rejects/rejects": item}
        return [part for output in plan.outputs for part in _parts(rows.get(output.name), None, output)]
    commits = read_commits(plan.source, item)
    tables = {
        name: without_copies(read_rows(plan.source, commits, name, keep_fields=plan.keep_fields), plan.copies)
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


def sort_bucket(plan: ShardPlan, bucket: int, parts: Sequence[Part]) -> Bucket:
    """Put the rows of a bucket together in their order, without pairs that are not published."""
    output = _output_of(plan, bucket)
    rows = gather([part.rows for part in parts])
    keys = gather([part.keys for part in parts])
    if rows is None:
        return Bucket(None, None)
    rejects: pl.DataFrame | None = None
    if output.table == CHUNKS:
        rows = rows.drop("duplicate_of").join(twins_among(rows), on="chunk_id", how="left")
    if keys is not None:
        rows, rejects = _without_repeats(rows, keys, plan.repeats)
    return Bucket(_sorted(rows, output.table, plan), None if rejects is None else _sorted(rejects, REJECTS, plan))


def write_shard(plan: ShardPlan, index: int, buckets: Sequence[Bucket]) -> list[dict[str, Any]]:
    """Write the buckets of a shard and return the manifest's entries.

    Pairs that are not published become a file of rejects beside.
    """
    output, number = plan.shards[index]
    name = output.shard_name(number)
    # An empty validation split is none; every other table is there even if it has nothing to say.
    is_optional = output.name == "data/validation"
    rejects_name = name.replace("data/", "rejects/repeated-")
    return [
        *_write(plan, output.table, name, [bucket.rows for bucket in buckets], is_optional=is_optional),
        *_write(plan, REJECTS, rejects_name, [bucket.rejects for bucket in buckets], is_optional=True),
    ]


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


def _sorted(rows: pl.DataFrame, table: Table, plan: ShardPlan) -> pa.Table:
    schema = table.schema(plan.keep_fields, with_optional="answer_token_ids" in rows.columns)
    return rows.sort(_ORDER[table.name]).select(schema.names).to_arrow().cast(schema)


def _write(
    plan: ShardPlan, table: Table, name: str, tables: Sequence[pa.Table | None], *, is_optional: bool
) -> Iterator[dict[str, Any]]:
    present = [rows for rows in tables if rows is not None and rows.num_rows]
    if is_optional and not present:
        return
    # Traced and untraced answers may meet; null stands for what was not traced.
    empty = table.schema(plan.keep_fields).empty_table()
    rows = pa.concat_tables(present or [empty], promote_options="default")
    with parquet_file(plan.target, name, table.name, rows.schema) as (file, entry):
        file.write(rows)
    yield entry


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
        return [Part(None)] * output.num_buckets
    key = _ORDER[output.table.name][0]
    # The ids of rejected documents are uris; all other keys are hashes already.
    dealt = deal(rows, key, output.num_buckets, is_hash=key != "id")
    if output.table != PAIRS or keys is None:
        return [Part(part) for part in dealt]
    return [Part(part, near) for part, near in zip(dealt, deal(keys, key, output.num_buckets), strict=True)]


def _output_of(plan: ShardPlan, bucket: int) -> Output:
    for output in plan.outputs:
        if bucket < output.num_buckets:
            return output
        bucket -= output.num_buckets
    raise IndexError(bucket)
