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

from selfstudy.ids import content_hash, keyed_fraction
from selfstudy.publish.duplicates import Duplicates, prefix_of
from selfstudy.reasons import Stage, TargetReject
from selfstudy.store.commits import Commit, to_parquet
from selfstudy.store.filesystem import Folder
from selfstudy.tables import CHUNKS, PAIRS, REJECTS, REMOVED, TABLES, Table

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
    """All that the tasks need. Buckets are numbered through the outputs in their order."""

    source: Folder
    target: Folder
    outputs: tuple[Output, ...]
    duplicates: Duplicates
    keep_fields: tuple[str, ...]
    seed: int
    validation_fraction: float

    @property
    def num_buckets(self) -> int:
        return sum(output.num_shards for output in self.outputs)


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


def deal(plan: ShardPlan, item: Sequence[Commit] | pl.DataFrame) -> list[pa.Table | None]:
    """Return rows bucket by bucket, None where a bucket gets nothing: those of some units, or rejects as they are."""
    if isinstance(item, pl.DataFrame):
        return [
            part
            for output in plan.outputs
            for part in (_deal(item, output, plan) if output.table == REJECTS else [None] * output.num_shards)
        ]
    tables = {name: _read(plan, item, name) for name in _ORDER}
    tables = {name: _without_dropped_documents(table, plan.duplicates) for name, table in tables.items()}
    chunks, pairs = tables["chunks"], tables["pairs"]
    twins = plan.duplicates.chunks
    chunks = chunks.with_columns(
        pl.col("chunk_id").replace_strict(twins, default=None, return_dtype=pl.String).alias("duplicate_of")
    )
    repeats_chunk = pl.col("chunk_id").is_in(list(twins))
    repeats_question = pl.col("pair_id").is_in(list(plan.duplicates.questions)) & ~repeats_chunk
    rejects = pl.concat(
        [
            tables["rejects"],
            _rejects_of(pairs.filter(repeats_chunk), TargetReject.DUPLICATE_CHUNK),
            _rejects_of(pairs.filter(repeats_question), TargetReject.DUPLICATE_QUESTION),
        ]
    )
    pairs = pairs.filter(~repeats_chunk & ~repeats_question)
    in_validation = pairs["doc_id"].is_in(_validation_documents(pairs["doc_id"].unique().to_list(), plan))
    rows = {
        "data/train": pairs.filter(~in_validation),
        "data/validation": pairs.filter(in_validation),
        "chunks/chunks": chunks,
        "removed/removed": tables["removed"],
        "rejects/rejects": rejects,
    }
    return [part for output in plan.outputs for part in _deal(rows[output.name], output, plan)]


def write_shard(plan: ShardPlan, bucket: int, parts: Sequence[pa.Table | None]) -> dict[str, Any] | None:
    """Sort the rows of a bucket and write them; return the manifest's entry, None for no validation rows."""
    output, index = _output_of(plan, bucket)
    schema = output.table.schema(plan.keep_fields)
    present = [part for part in parts if part is not None]
    if not present and output.name == "data/validation":
        return None  # an empty split is none; every other table is there even if it has nothing to say
    table = pa.concat_tables(present, promote_options="default") if present else schema.empty_table()
    table = table.sort_by([(name, "ascending") for name in _ORDER[output.table.name]])
    data = to_parquet(table)
    name = output.shard_name(index)
    plan.target.write(name, data)
    return file_entry(name, output.table.name, table.num_rows, data)


def file_entry(name: str, table: str, num_rows: int, data: bytes) -> dict[str, Any]:
    """Return how a manifest lists a file."""
    return {
        "name": name,
        "table": table,
        "rows": num_rows,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def document_rejects(duplicates: Duplicates) -> pl.DataFrame:
    """Return the rejects of documents that are dropped as copies."""
    rows = [
        {
            "stage": Stage.PUBLISH,
            "reason": TargetReject.DUPLICATE_DOCUMENT,
            "id": f"{uri}#{doc_id}",
            "detail": "another document of the corpus has the same id",
            "unit_id": prefix,
            "doc_id": doc_id,
            "source_uri": uri,
        }
        for (doc_id, prefix), uri in sorted(duplicates.documents.items())
    ]
    return pl.DataFrame(pa.Table.from_pylist(rows, REJECTS.schema()))


def _read(plan: ShardPlan, commits: Sequence[Commit], name: str) -> pl.DataFrame:
    frames = []
    for commit in commits:
        if name in commit.files:
            with plan.source.open(commit.files[name]["name"]) as file:
                frames.append(pl.read_parquet(file))
    if not frames:
        return pl.DataFrame(TABLES[name].schema(plan.keep_fields).empty_table())
    return pl.concat(frames, how="diagonal_relaxed")


def _without_dropped_documents(table: pl.DataFrame, duplicates: Duplicates) -> pl.DataFrame:
    """Leave out what the chunks of dropped copies gave. A document that was rejected is another one, and stays."""
    if not duplicates.documents:
        return table
    dropped = pl.DataFrame(list(duplicates.documents), schema={"doc_id": pl.String, "prefix": pl.String}, orient="row")
    of_chunks = table.filter(pl.col("chunk_id").is_not_null())
    kept = (
        of_chunks.with_columns(prefix_of(pl.col("unit_id")).alias("prefix"))
        .join(dropped, on=["doc_id", "prefix"], how="anti")
        .drop("prefix")
    )
    return pl.concat([table.filter(pl.col("chunk_id").is_null()), kept])


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


def _deal(rows: pl.DataFrame, output: Output, plan: ShardPlan) -> list[pa.Table | None]:
    key = _ORDER[output.table.name][0]
    with_optional = output.table.name == "pairs" and "answer_token_ids" in rows.columns
    schema = output.table.schema(plan.keep_fields, with_optional=with_optional)
    # Ids of rejected documents are uris; hashed, they spread like the ids that are hashes already.
    places = [int(content_hash("shard", value)[:8], 16) if key == "id" else int(value[:8], 16) for value in rows[key]]
    buckets = pl.Series("bucket", [place * output.num_shards >> 32 for place in places], pl.Int64)
    parts: list[pa.Table | None] = [None] * output.num_shards
    for (bucket,), part in rows.with_columns(buckets).group_by("bucket"):
        parts[bucket] = part.select(schema.names).to_arrow().cast(schema)
    return parts


def _output_of(plan: ShardPlan, bucket: int) -> tuple[Output, int]:
    for output in plan.outputs:
        if bucket < output.num_shards:
            return output, bucket
        bucket -= output.num_shards
    raise IndexError(bucket)
