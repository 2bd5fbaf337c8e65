"""What was asked, where, and how evenly: computed from the published tables alone.

From chunks, pairs, removed and rejects of some documents: one row per document (schema `coverage`) and a tally. The
tallies of all documents add up to the corpus's figures, so that no process has to see more than some documents.
A chunk whose equal was published instead counts apart: its sentences are in no figure but `duplicate_chunks`.
Positions are tenths of the document, by where a sentence starts.

Not covered: whether a pair is true, and coverage of facts inside a sentence.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from selfstudy.reasons import Ineligible
from selfstudy.tables import COVERAGE

DECILES = 10
# A dropped copy of a document is rejected by publishing, but has no chunk.
_CONCERNS_DOCUMENT = pl.col("chunk_id").is_null()


# What is counted, and how often it was found: figures of parts that add up.
Tally = dict[str, Counter[Any]]


@dataclass(frozen=True, slots=True)
class PublishedTables:
    """Lazy frames over a snapshot's tables, or over what they hold of some documents."""

    pairs: pl.LazyFrame
    chunks: pl.LazyFrame
    removed: pl.LazyFrame
    rejects: pl.LazyFrame


def sentences_of(tables: PublishedTables, lengths: pl.DataFrame) -> pl.LazyFrame:
    """Return one row per sentence of the published chunks, with whether it was targeted and asked.

    `lengths` gives the document_chars of each doc_id.

    Columns: doc_id, chunk_id, start, end, eligible, reason, chars, targeted, asked, style, decile.
    """
    published = tables.chunks.filter(pl.col("duplicate_of").is_null())
    sentences = published.select("doc_id", "chunk_id", "sentences").explode("sentences").unnest("sentences")
    # One element per target: the place of its sentence in the chunk, which the sentence's own place must meet.
    targeted = (
        published.select(
            "chunk_id", "sentences", pl.col("targets").list.eval(pl.element().struct.field("sentence")).alias("target")
        )
        .explode("target")
        .drop_nulls("target")
        .select("chunk_id", pl.col("sentences").list.get(pl.col("target")).struct.field("start").alias("start"))
        .with_columns(pl.lit(True).alias("targeted"))
    )
    asked = tables.pairs.unique(["chunk_id", "target_start"]).select(
        "chunk_id", pl.col("target_start").alias("start"), "style", pl.lit(True).alias("asked")
    )
    return (
        sentences.join(targeted, on=["chunk_id", "start"], how="left")
        .join(asked, on=["chunk_id", "start"], how="left")
        .join(lengths.lazy(), on="doc_id", how="left")
        .with_columns(
            pl.col("targeted", "asked").fill_null(value=False),
            (pl.col("end") - pl.col("start")).alias("chars"),
            _decile_of(pl.col("start"), pl.col("document_chars")).alias("decile"),
        )
    )


def document_coverage(tables: PublishedTables) -> pl.DataFrame:
    """Return one row per document with published chunks, sorted by doc_id; see the schema `coverage`."""
    by_sentence = _count_by_document(tables, document_lengths(tables))
    by_chunk = tables.chunks.group_by("doc_id").agg(
        pl.col("source_uri").first(),
        pl.col("title").sort_by("start").first(),
        pl.len().cast(pl.Int64).alias("chunks"),
        _is_exhausted().sum().cast(pl.Int64).alias("exhausted_chunks"),
        pl.col("duplicate_of").is_not_null().sum().cast(pl.Int64).alias("duplicate_chunks"),
    )
    spans = tables.removed.group_by("doc_id").agg(pl.len().cast(pl.Int64).alias("removed_spans"))
    joined = by_chunk.join(by_sentence, on="doc_id", how="left").join(spans, on="doc_id", how="left")
    return (
        joined.with_columns(pl.col(pl.Int64).fill_null(0))
        .with_columns(
            _share("asked", "eligible").alias("coverage_sentences"),
            _share("asked_chars", "eligible_chars").alias("coverage_chars"),
            (1 - _share("removed_chars", "chars").fill_null(0)).alias("kept_share"),
            _decile_list("eligible"),
            _decile_list("asked"),
        )
        .select(COVERAGE.schema().names)
        .sort("doc_id")
        .collect(engine="streaming")
    )


def _is_exhausted() -> pl.Expr:
    eligible = pl.col("sentences").list.eval(pl.element().struct.field("eligible").cast(pl.UInt32)).list.sum()
    return pl.col("duplicate_of").is_null() & (eligible > 0) & (pl.col("targets").list.len() == eligible)


def _count_by_document(tables: PublishedTables, lengths: pl.DataFrame) -> pl.LazyFrame:
    eligible, asked = pl.col("eligible"), pl.col("asked")
    removed = pl.col("reason") == Ineligible.REMOVED.value
    return (
        sentences_of(tables, lengths)
        .group_by("doc_id")
        .agg(
            pl.col("chars").sum(),
            pl.col("chars").filter(removed).sum().alias("removed_chars"),
            pl.col("chars").filter(eligible).sum().alias("eligible_chars"),
            pl.col("chars").filter(asked).sum().alias("asked_chars"),
            pl.len().cast(pl.Int64).alias("sentences"),
            eligible.sum().cast(pl.Int64),
            removed.sum().cast(pl.Int64).alias("removed"),
            pl.col("targeted").sum().cast(pl.Int64),
            asked.sum().cast(pl.Int64),
            (eligible & ~asked).sum().cast(pl.Int64).alias("never_asked"),
            *_by_decile("eligible"),
            *_by_decile("asked"),
        )
    )


def document_lengths(tables: PublishedTables) -> pl.DataFrame:
    """Return doc_id and document_chars: where the last chunk of each document ends."""
    lengths = tables.chunks.group_by("doc_id").agg(pl.col("end").max().alias("document_chars"))
    return lengths.collect(engine="streaming")


def tally_of(tables: PublishedTables, documents: pl.DataFrame) -> Tally:
    """Count what the corpus's figures are made of; `documents` is what document_coverage gave for the same tables."""
    counts = {name: int(documents[name].sum()) for name, dtype in documents.schema.items() if dtype == pl.Int64}
    target_rejects = tables.rejects.filter(~_CONCERNS_DOCUMENT)
    num_targets = tables.chunks.select(pl.col("targets").list.len().sum()).collect(engine="streaming").item()
    return {
        "counts": Counter(documents=documents.height, targets=int(num_targets or 0), **counts),
        "sentences_by_pairs": _sentences_by_pairs(tables),
        "eligible_by_decile": _sum_of_lists(documents["eligible_by_decile"]),
        "asked_by_decile": _sum_of_lists(documents["asked_by_decile"]),
        "pairs_by_style": _counts(tables.pairs, "style"),
        "ineligible_by_reason": _counts(_ineligible(tables), "reason"),
        "document_rejects_by_reason": _counts(tables.rejects.filter(_CONCERNS_DOCUMENT), "reason"),
        "target_rejects_by_reason": _counts(target_rejects, "reason"),
        "target_rejects_by_style": _counts(target_rejects, "style"),
        "target_rejects_by_decile": _rejects_by_decile(tables, target_rejects),
        "removed_by_field": _counts(tables.removed, "field"),
        "removed_by_judge": _counts(tables.removed, "judge"),
    }


def corpus_coverage(tallies: Iterable[Tally]) -> dict[str, Any]:
    """Return the figures of the whole snapshot as plain JSON values, from the tallies of all its documents."""
    total: Tally = {}
    for tally in tallies:
        for name, numbers in tally.items():
            total.setdefault(name, Counter()).update(numbers)
    counts, histogram = dict(total.pop("counts")), total.pop("sentences_by_pairs")
    return {
        **counts,
        "pairs": sum(times * number for times, number in histogram.items()),
        "coverage_sentences": _ratio(counts["asked"], counts["eligible"]),
        "coverage_chars": _ratio(counts["asked_chars"], counts["eligible_chars"]),
        "kept_share": 1 - (_ratio(counts["removed_chars"], counts["chars"]) or 0.0),
        "gini_sentences": _gini(histogram | {0: counts["never_asked"]}),
        "effective_sentences": _effective_number(histogram),
        **{
            name: [numbers[decile] for decile in range(DECILES)]
            if name.endswith("_by_decile")
            else dict(sorted(numbers.items()))
            for name, numbers in total.items()
        },
    }


def _ineligible(tables: PublishedTables) -> pl.LazyFrame:
    published = tables.chunks.filter(pl.col("duplicate_of").is_null())
    reasons = published.select(pl.col("sentences").explode().struct.field("reason"))
    return reasons.filter(pl.col("reason").is_not_null(), pl.col("reason") != Ineligible.REMOVED.value)


def _by_decile(column: str) -> list[pl.Expr]:
    return [
        (pl.col(column) & (pl.col("decile") == decile)).sum().cast(pl.Int64).alias(f"{column}_{decile}")
        for decile in range(DECILES)
    ]


def _decile_list(column: str) -> pl.Expr:
    return pl.concat_list(f"{column}_{decile}" for decile in range(DECILES)).alias(f"{column}_by_decile")


def _share(part: str, whole: str) -> pl.Expr:
    return pl.when(pl.col(whole) > 0).then((pl.col(part) / pl.col(whole)).round(6))


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def _sum_of_lists(lists: pl.Series) -> Counter[int]:
    return Counter({decile: int(lists.list.get(decile).sum()) for decile in range(DECILES)})


def _counts(frame: pl.LazyFrame, column: str) -> Counter[str]:
    counted = frame.group_by(column).agg(pl.len().alias("number")).collect(engine="streaming")
    return Counter({str(value): number for value, number in counted.iter_rows()})


def _rejects_by_decile(tables: PublishedTables, rejects: pl.LazyFrame) -> Counter[int]:
    placed = (
        rejects.join(document_lengths(tables).lazy(), on="doc_id")
        .group_by(_decile_of(pl.col("start"), pl.col("document_chars")).alias("decile"))
        .agg(pl.len().alias("number"))
        .collect(engine="streaming")
    )
    return Counter(dict(placed.iter_rows()))


def _decile_of(start: pl.Expr, document_chars: pl.Expr) -> pl.Expr:
    return (start * DECILES // document_chars.clip(1)).clip(0, DECILES - 1)


def _sentences_by_pairs(tables: PublishedTables) -> Counter[int]:
    """Return {number of pairs: sentences with that many}, for sentences with at least one."""
    times = tables.pairs.group_by("chunk_id", "target_start").agg(pl.len().alias("times"))
    counted = times.group_by("times").agg(pl.len().alias("number")).collect(engine="streaming")
    return Counter(dict(counted.iter_rows()))


def _gini(histogram: dict[int, int]) -> float | None:
    """Gini coefficient of how often sentences were asked: 0 all equally often, near 1 a few got everything."""
    num_sentences = sum(histogram.values())
    total = sum(times * number for times, number in histogram.items())
    if not total:
        return None
    below = area = 0
    for times, number in sorted(histogram.items()):
        area += number * (2 * below + times * number)
        below += times * number
    return round(1 - area / (num_sentences * total), 6)


def _effective_number(histogram: dict[int, int]) -> float:
    """exp(entropy): how many sentences, all asked equally often, would spread the questions as widely."""
    total = sum(times * number for times, number in histogram.items())
    if not total:
        return 0.0
    entropy = -sum(number * times / total * math.log(times / total) for times, number in histogram.items())
    return round(math.exp(entropy), 2)
