"""What publishing leaves out because the snapshot has it already: documents, chunks and questions.

- a document id that several splits hold: the copy with the lowest chunk_id stays;
- equal chunks of different documents (same chunk_key): the lowest chunk_id stays, the others stay listed;
- a question asked twice of one document: the first in document order stays.

Each choice depends on content alone, never on the order of files or units. Reads narrow columns of all units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from selfstudy.checks import normal_question
from selfstudy.ids import content_hash


@dataclass(frozen=True, slots=True)
class Duplicates:
    """`documents` maps (doc_id, split prefix) of a dropped copy to its uri, `chunks` an unpublished chunk to its
    equal; `questions` holds pair_ids."""

    documents: dict[tuple[str, str], str]
    chunks: dict[str, str]
    questions: frozenset[str]


def prefix_of(unit_id: pl.Expr) -> pl.Expr:
    """The split's part of a unit id: what stands before the number."""
    return unit_id.str.split("-").list.first()


def find_duplicates(chunks: pl.LazyFrame, pairs: pl.LazyFrame) -> Duplicates:
    """Compare the `chunks` and `pairs` of all units that are to be published."""
    narrow = chunks.select(
        "chunk_id", "chunk_key", "doc_id", "source_uri", prefix_of(pl.col("unit_id")).alias("prefix")
    ).collect(engine="streaming")
    documents = _find_documents(narrow)
    kept = narrow.join(_as_frame(list(documents)), on=["doc_id", "prefix"], how="anti")
    chunk_twins = _find_chunks(kept)
    asked = pairs.select(
        "pair_id", "chunk_id", "doc_id", "question", "target_start", prefix_of(pl.col("unit_id")).alias("prefix")
    ).collect(engine="streaming")
    asked = asked.join(_as_frame(list(documents)), on=["doc_id", "prefix"], how="anti")
    asked = asked.filter(~pl.col("chunk_id").is_in(list(chunk_twins)))
    return Duplicates(documents, chunk_twins, _find_questions(asked))


def _find_documents(chunks: pl.DataFrame) -> dict[tuple[str, str], str]:
    copies = (
        chunks.group_by("doc_id", "prefix")
        .agg(pl.col("chunk_id").min(), pl.col("source_uri").first())
        .filter(pl.len().over("doc_id") > 1)
        .sort("doc_id", "chunk_id", "prefix")
        .filter(~pl.col("doc_id").is_first_distinct())
    )
    return {(row["doc_id"], row["prefix"]): row["source_uri"] for row in copies.iter_rows(named=True)}


def _find_chunks(chunks: pl.DataFrame) -> dict[str, str]:
    lowest = chunks.select("chunk_id", pl.col("chunk_id").min().over("chunk_key").alias("published")).filter(
        pl.col("chunk_id") != pl.col("published")
    )
    return dict(lowest.iter_rows())


def _find_questions(pairs: pl.DataFrame) -> frozenset[str]:
    normal = [content_hash("question", normal_question(question)) for question in pairs["question"]]
    repeats = (
        pairs.with_columns(pl.Series("normal", normal, pl.String))
        .sort("doc_id", "target_start", "pair_id")
        .filter(~pl.struct("doc_id", "normal").is_first_distinct())
    )
    return frozenset(repeats["pair_id"])


def _as_frame(documents: Sequence[tuple[str, str]]) -> pl.DataFrame:
    return pl.DataFrame(documents, schema={"doc_id": pl.String, "prefix": pl.String}, orient="row")
