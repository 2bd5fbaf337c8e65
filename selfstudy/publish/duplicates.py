"""What publishing leaves out because the snapshot has it already: documents, chunks and questions.

- a document id that several splits hold: the copy with the lowest chunk_id stays;
- equal chunks of different documents (same chunk_key): the lowest chunk_id stays, the others stay listed;
- a question asked twice of one document: the first in document order stays.

Each choice depends on content alone, never on the order of files or units. Equal documents meet in a bucket by doc_id,
equal chunks in one by chunk_key: no process sees more than its bucket, and the driver only what was found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import polars as pl

from selfstudy.checks import normal_question
from selfstudy.ids import content_hash
from selfstudy.publish.executor import Executor
from selfstudy.publish.rows import deal, gather, read_rows
from selfstudy.store.commits import read_commits
from selfstudy.store.filesystem import Folder

_COPY = {"doc_id": pl.String, "prefix": pl.String, "source_uri": pl.String, "chunk_id": pl.String}


def find_copies(source: Folder, groups: Sequence[Sequence[str]], executor: Executor, num_buckets: int) -> pl.DataFrame:
    """Return the dropped copies of documents: doc_id, prefix of the split, source_uri."""
    found = executor.shuffle(partial(_deal_documents, source, num_buckets), groups, _copies_of_bucket, num_buckets)
    copies: list[pl.DataFrame] = executor.fetch(found)
    return pl.concat(copies).sort("doc_id", "prefix")


def find_repeats(
    source: Folder, groups: Sequence[Sequence[str]], copies: pl.DataFrame, executor: Executor, num_buckets: int
) -> list[str]:
    """Return the pair_ids of repeated questions. Pairs that are not published for another reason repeat nothing."""
    published = executor.shuffle(
        partial(_deal_keys, source, copies, num_buckets), groups, _published_pairs, num_buckets
    )
    repeats = executor.shuffle(partial(_deal_pairs, num_buckets), published, _repeats_of_bucket, num_buckets)
    return sorted(pair_id for bucket in executor.fetch(repeats) for pair_id in bucket)


def copies_among(chunks: pl.DataFrame) -> pl.DataFrame:
    """Judge rows (doc_id, prefix, source_uri, chunk_id): all but the copy with the lowest chunk_id of each doc_id."""
    return (
        chunks.group_by("doc_id", "prefix")
        .agg(pl.col("source_uri").min(), pl.col("chunk_id").min())
        .sort("doc_id", "chunk_id", "prefix")
        .filter(~pl.col("doc_id").is_first_distinct())
        .drop("chunk_id")
    )


def twins_among(chunks: pl.DataFrame) -> pl.DataFrame:
    """Judge rows (chunk_id, chunk_key): return chunk_id and duplicate_of of those that are not published."""
    lowest = pl.col("chunk_id").min().over("chunk_key").alias("duplicate_of")
    return chunks.select("chunk_id", lowest).filter(pl.col("chunk_id") != pl.col("duplicate_of"))


def repeats_among(pairs: pl.DataFrame) -> list[str]:
    """Judge rows (pair_id, doc_id, asked, target_start): the pair_ids of all but the first of each question."""
    repeated = pairs.sort("doc_id", "target_start", "pair_id").filter(~pl.struct("doc_id", "asked").is_first_distinct())
    return repeated["pair_id"].to_list()


def asked_hashes(questions: pl.Series) -> pl.Series:
    """Name each question so that exact repeats share a name."""
    return pl.Series("asked", [content_hash("question", normal_question(text)) for text in questions], pl.String)


def without_copies(rows: pl.DataFrame, copies: pl.DataFrame) -> pl.DataFrame:
    """Leave out what the chunks of dropped copies gave. A document that was rejected is another one, and stays."""
    if copies.is_empty():
        return rows
    of_chunks = pl.col("chunk_id").is_not_null()
    kept = rows.filter(of_chunks).with_columns(prefix_of(pl.col("unit_id")).alias("prefix"))
    kept = kept.join(copies, on=["doc_id", "prefix"], how="anti").drop("prefix")
    return pl.concat([rows.filter(~of_chunks), kept])


def prefix_of(unit_id: pl.Expr) -> pl.Expr:
    """The split's part of a unit id: what stands before the number."""
    return unit_id.str.split("-").list.first()


def _deal_documents(source: Folder, num_buckets: int, unit_ids: Sequence[str]) -> list[pl.DataFrame | None]:
    chunks = read_rows(
        source, read_commits(source, unit_ids), "chunks", ["doc_id", "source_uri", "chunk_id", "unit_id"]
    )
    documents = (
        chunks.with_columns(prefix_of(pl.col("unit_id")).alias("prefix"))
        .group_by("doc_id", "prefix")
        .agg(pl.col("source_uri").min(), pl.col("chunk_id").min())
    )
    return deal(documents, "doc_id", num_buckets, is_hash=False)


def _copies_of_bucket(_bucket: int, parts: list[pl.DataFrame | None]) -> pl.DataFrame:
    rows = gather(parts)
    return copies_among(rows if rows is not None else pl.DataFrame(schema=_COPY))


def _deal_keys(
    source: Folder, copies: pl.DataFrame, num_buckets: int, unit_ids: Sequence[str]
) -> list[tuple[pl.DataFrame | None, pl.DataFrame | None]]:
    commits = read_commits(source, unit_ids)
    keys = read_rows(source, commits, "chunks", ["chunk_id", "chunk_key", "doc_id", "unit_id"])
    columns = ["pair_id", "chunk_id", "chunk_key", "doc_id", "unit_id", "question", "target_start"]
    pairs = read_rows(source, commits, "pairs", columns)
    pairs = pairs.with_columns(asked_hashes(pairs["question"])).drop("question")
    dealt = (deal(without_copies(rows, copies), "chunk_key", num_buckets) for rows in (keys, pairs))
    return list(zip(*dealt, strict=True))


def _published_pairs(_bucket: int, parts: list[tuple[pl.DataFrame | None, pl.DataFrame | None]]) -> pl.DataFrame | None:
    keys, pairs = (gather(side) for side in zip(*parts, strict=True))
    if keys is None or pairs is None:
        return None
    published = pairs.join(twins_among(keys), on="chunk_id", how="anti")
    return published.select("pair_id", "doc_id", "asked", "target_start")


def _deal_pairs(num_buckets: int, pairs: pl.DataFrame | None) -> list[pl.DataFrame | None]:
    return [None] * num_buckets if pairs is None else deal(pairs, "doc_id", num_buckets, is_hash=False)


def _repeats_of_bucket(_bucket: int, parts: list[pl.DataFrame | None]) -> list[str]:
    pairs = gather(parts)
    return [] if pairs is None else repeats_among(pairs)
