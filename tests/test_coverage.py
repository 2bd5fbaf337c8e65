"""Coverage against figures counted by hand."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfstudy.coverage import (
    PublishedTables,
    corpus_coverage,
    document_coverage,
    document_lengths,
    sentences_of,
    tally_of,
)
from selfstudy.coverage import _effective_number as effective_number
from selfstudy.coverage import _gini as gini
from selfstudy.reasons import DocumentReject, Stage, TargetReject
from selfstudy.records import Reject, Unit
from selfstudy.tables import COVERAGE
from selfstudy.unit_tables import tables_of
from tests.factories import ORDER, config_of, pair_of, prose, sampled_unit, target_reject

ONE_CHUNK = config_of(chunks={"min_tokens": 2000, "max_tokens": 4000}, targets={"per_chunk": 6})


def tables_for(units: Sequence[Unit], duplicate_of: dict[str, str] | None = None) -> PublishedTables:
    made = [tables_of(unit, keep_fields=[], recipe="r", created_at=datetime.now(UTC)) for unit in units]
    frames = {name: pl.concat([pl.DataFrame(part[name]) for part in made]) for name in made[0]}
    twins = duplicate_of or {}
    frames["chunks"] = frames["chunks"].with_columns(
        pl.col("chunk_id").replace_strict(twins, default=None, return_dtype=pl.String).alias("duplicate_of")
    )
    return PublishedTables(**{name: frame.lazy() for name, frame in frames.items()})


def figures_of(tables: PublishedTables) -> dict[str, Any]:
    return corpus_coverage([tally_of(tables, document_coverage(tables))])


def finished(doc_id: str, num_pairs: int = 4, first: int = 0) -> Unit:
    """A document of a heading, twelve eligible sentences and a removed one; six targets."""
    text = f"# Heading\n\n{prose(12, first=first, per_paragraph=99)} {ORDER}"
    unit = sampled_unit(text, ONE_CHUNK, removed=[13], doc_id=doc_id)
    (chunk,) = unit.chunks
    return replace(
        unit,
        pairs=tuple(pair_of(chunk, rank, f"Question {rank} of {doc_id}?") for rank in range(num_pairs)),
        rejects=tuple(target_reject(chunk, rank, TargetReject.REFUSAL) for rank in range(num_pairs, 6)),
    )


def test_the_figures_of_a_document() -> None:
    unit = finished("d")
    (chunk,) = unit.chunks
    documents = document_coverage(tables_for([unit]))
    assert documents.columns == COVERAGE.schema().names
    (row,) = documents.rows(named=True)
    assert {name: row[name] for name in ("sentences", "eligible", "removed", "targeted", "asked", "never_asked")} == {
        "sentences": 14,
        "eligible": 12,
        "removed": 1,
        "targeted": 6,
        "asked": 4,
        "never_asked": 8,
    }
    lengths = [span.end - span.start for span in chunk.sentences]
    asked = sum(lengths[chunk.targets[rank].sentence] for rank in range(4))
    assert row["chars"] == sum(lengths)
    assert row["removed_chars"] == len(ORDER)
    assert row["eligible_chars"] == sum(lengths[1:13])
    assert row["asked_chars"] == asked
    assert row["coverage_sentences"] == round(4 / 12, 6)
    assert row["coverage_chars"] == round(asked / sum(lengths[1:13]), 6)
    assert row["kept_share"] == pytest.approx(1 - len(ORDER) / sum(lengths), abs=1e-6)
    assert sum(row["eligible_by_decile"]) == 12
    assert sum(row["asked_by_decile"]) == 4
    assert (row["chunks"], row["duplicate_chunks"], row["removed_spans"]) == (1, 0, 1)


def test_deciles_are_tenths_of_the_document_by_where_a_sentence_starts() -> None:
    unit = finished("d")
    (chunk,) = unit.chunks
    frame = sentences_of(tables_for([unit]), document_lengths(tables_for([unit]))).sort("start").collect()
    assert frame["decile"].to_list() == [span.start * 10 // chunk.end for span in chunk.sentences]
    assert set(range(1, 9)) <= set(frame["decile"])


def test_the_figures_of_a_corpus() -> None:
    units = [finished("a"), finished("b", num_pairs=6, first=20)]
    unread = Reject(stage=Stage.READ, reason=DocumentReject.INVALID_JSON, id="file:///x#line=1", source_uri="file:///x")
    copy = Reject(stage=Stage.PREPARE, reason=DocumentReject.DUPLICATE_DOCUMENT, id="file:///x", doc_id="a")
    tables = tables_for([*units, Unit(unit_id="x", split_id="s", last=True, num_documents=2, rejects=(unread, copy))])
    corpus = figures_of(tables)
    assert (corpus["documents"], corpus["pairs"], corpus["asked"], corpus["never_asked"]) == (2, 10, 10, 14)
    assert corpus["coverage_sentences"] == round(10 / 24, 6)
    assert corpus["document_rejects_by_reason"] == {"invalid_json": 1, "duplicate_document": 1}
    assert corpus["target_rejects_by_reason"] == {"refusal": 2}
    assert sum(corpus["target_rejects_by_style"].values()) == sum(corpus["target_rejects_by_decile"]) == 2
    assert corpus["ineligible_by_reason"] == {"heading": 2}
    assert corpus["removed_by_field"] == {"text": 2}
    assert corpus["removed_by_judge"] == {"rules/1:test": 2}
    assert sum(corpus["pairs_by_style"].values()) == 10
    assert corpus["effective_sentences"] == pytest.approx(10, abs=0.01)
    assert corpus["gini_sentences"] == pytest.approx(14 / 24, abs=1e-6)
    assert corpus["targeted"] == corpus["pairs"] + sum(corpus["target_rejects_by_reason"].values())


def test_an_equal_chunk_counts_apart() -> None:
    units = [finished("a"), finished("b")]
    one, other = (unit.chunks[0].chunk_id for unit in units)
    units[1] = replace(units[1], pairs=())
    tables = tables_for(units, duplicate_of={other: one})
    documents = {row["doc_id"]: row for row in document_coverage(tables).rows(named=True)}
    assert documents["b"]["duplicate_chunks"] == documents["b"]["chunks"] == 1
    assert documents["b"]["sentences"] == documents["b"]["targeted"] == 0
    assert documents["b"]["coverage_sentences"] is None
    assert documents["b"]["eligible_by_decile"] == [0] * 10
    assert documents["a"]["sentences"] == 14
    assert figures_of(tables)["sentences"] == 14


def test_a_document_without_eligible_sentences_has_no_coverage() -> None:
    unit = sampled_unit("# Only a heading", doc_id="h")
    tables = tables_for([unit])
    (row,) = document_coverage(tables).rows(named=True)
    assert row["coverage_sentences"] is None
    assert row["coverage_chars"] is None
    corpus = figures_of(tables)
    assert corpus["coverage_sentences"] is None
    assert corpus["gini_sentences"] is None
    assert corpus["effective_sentences"] == 0.0


def test_tallies_of_documents_add_up_to_those_of_the_corpus() -> None:
    units = [finished("a"), finished("b", num_pairs=6, first=20), finished("c", num_pairs=0, first=40)]
    parts = [tables_for([unit]) for unit in units]
    whole = tables_for(units)
    assert pl.concat([document_coverage(part) for part in parts]).equals(document_coverage(whole))
    figures = corpus_coverage(tally_of(part, document_coverage(part)) for part in parts)
    assert figures == figures_of(whole)
    assert sum(figures["asked_by_decile"]) == figures["asked"] == 10


def test_an_empty_snapshot() -> None:
    tables = tables_for([Unit(unit_id="x", split_id="s", last=True, num_documents=0)])
    corpus = figures_of(tables)
    assert (corpus["documents"], corpus["pairs"], corpus["kept_share"]) == (0, 0, 1.0)


def test_a_repeated_sentence_of_another_chunk_is_another_sentence() -> None:
    unit = sampled_unit("\n\n".join([prose(12)] * 4), config_of(targets={"fraction": 1.0}))
    tables = tables_for([unit])
    (row,) = document_coverage(tables).rows(named=True)
    assert row["sentences"] == 48
    assert row["targeted"] == row["eligible"] == 12


COUNTS = st.lists(st.integers(0, 6), min_size=1, max_size=40)


@given(COUNTS)
def test_gini_and_effective_number_by_definition(counts: list[int]) -> None:
    histogram: dict[int, int] = {}
    for times in counts:
        histogram[times] = histogram.get(times, 0) + 1
    total = sum(counts)
    if not total:
        assert gini(histogram) is None
        return
    differences = sum(abs(one - other) for one in counts for other in counts)
    assert gini(histogram) == pytest.approx(differences / (2 * len(counts) * total), abs=1e-6)
    shares: list[Any] = [times / total for times in counts if times]
    entropy = -sum(share * math.log(share) for share in shares)
    asked = {times: number for times, number in histogram.items() if times}
    assert effective_number(asked) == pytest.approx(math.exp(entropy), abs=0.01)
