"""Law 4 inside one unit, and what is stored of it."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from selfstudy.reasons import DocumentReject, Stage, TargetReject
from selfstudy.records import Reject, TokenTrace, Unit
from selfstudy.tables import CHUNKS, PAIRS, REJECTS, REMOVED
from selfstudy.unit_tables import ConservationError, counts_of, tables_of
from tests.factories import ORDER, config_of, pair_of, prose, sampled_unit, target_reject

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)


def finished_unit(num_rejected: int = 2) -> Unit:
    """Eight targets of one chunk, the last ones rejected, and a document that could not be read."""
    unit = sampled_unit(f"{prose(12)} {ORDER}", config_of(chunks={"min_tokens": 400, "max_tokens": 900}), removed=[12])
    (chunk,) = unit.chunks
    num_pairs = len(chunk.targets) - num_rejected
    return replace(
        unit,
        num_documents=2,
        pairs=tuple(pair_of(chunk, rank, f"Question {rank}?") for rank in range(num_pairs)),
        rejects=(
            Reject(stage=Stage.READ, reason=DocumentReject.INVALID_JSON, id="file:///a.jsonl#line=3"),
            *(target_reject(chunk, num_pairs + n, TargetReject.REFUSAL) for n in range(num_rejected)),
        ),
    )


def test_counts_add_up() -> None:
    counts = counts_of(finished_unit())
    assert counts["targets"] == 8 == counts["pairs"] + sum(counts["targets_rejected"].values())
    assert counts["sentences"] == 13 == counts["eligible"] + sum(counts["ineligible"].values()) + counts["removed"]
    assert counts["documents"] == 2
    assert counts["documents_rejected"] == {"invalid_json": 1}
    assert counts["targets_rejected"] == {"refusal": 2}
    assert (counts["removed"], counts["removed_spans"]) == (1, 1)
    assert (counts["prompt_tokens"], counts["cached_tokens"], counts["completion_tokens"]) == (6 * 30, 6 * 12, 6 * 8)


def break_unit(how: str) -> Unit:
    unit = finished_unit()
    match how:
        case "a pair is lost":
            return replace(unit, pairs=unit.pairs[1:])
        case "a reject is lost":
            return replace(unit, rejects=unit.rejects[:-1])
        case "a pair comes twice":
            return replace(unit, pairs=(*unit.pairs, unit.pairs[0]))
        case "a pair is rejected too":
            return replace(unit, rejects=(*unit.rejects, target_reject(unit.chunks[0], 0, TargetReject.OFF_TARGET)))
        case "a pair takes another's place":
            return replace(unit, pairs=(*unit.pairs[1:], replace(unit.pairs[0], pair_id="unplanned")))
        case _:
            return replace(unit, pairs=(), rejects=())


@pytest.mark.parametrize(
    "how",
    [
        "a pair is lost",
        "a reject is lost",
        "a pair comes twice",
        "a pair is rejected too",
        "a pair takes another's place",
        "nothing happened",
    ],
)
def test_a_unit_that_does_not_add_up_is_never_stored(how: str) -> None:
    with pytest.raises(ConservationError, match="targets without an end"):
        counts_of(break_unit(how))


def test_tables_have_the_published_schemas() -> None:
    tables = tables_of(finished_unit(), keep_fields=["lang"], recipe="r", created_at=NOW)
    assert tables["pairs"].schema == PAIRS.schema(["lang"])
    assert tables["chunks"].schema == CHUNKS.schema(["lang"])
    assert tables["removed"].schema == REMOVED.schema()
    assert tables["rejects"].schema == REJECTS.schema()
    assert {name: table.num_rows for name, table in tables.items()} == {
        "pairs": 6,
        "chunks": 1,
        "removed": 1,
        "rejects": 3,
    }
    for table in tables.values():
        table.validate(full=True)
        for field in table.schema:
            assert field.nullable or table[field.name].null_count == 0


def test_an_empty_unit_has_all_tables_without_rows() -> None:
    unit = Unit(unit_id="u-000000-last", split_id="s", last=True, num_documents=0)
    tables = tables_of(unit, keep_fields=[], recipe="r", created_at=NOW)
    assert [table.num_rows for table in tables.values()] == [0, 0, 0, 0]
    assert counts_of(unit)["targets"] == 0


def test_nothing_removed_is_published_as_context() -> None:
    tables = tables_of(finished_unit(), keep_fields=[], recipe="r", created_at=NOW)
    (chunk,) = tables["chunks"].to_pylist()
    (removed,) = tables["removed"].to_pylist()
    assert "BANANA" not in chunk["text"]
    assert removed["text"] == ORDER
    restored = chunk["text"][: removed["start"]] + removed["text"] + chunk["text"][removed["end"] :]
    assert restored == f"{prose(12)} {ORDER}"


def test_offsets_of_a_pair_point_at_its_target() -> None:
    tables = tables_of(finished_unit(), keep_fields=[], recipe="r", created_at=NOW)
    (chunk,) = tables["chunks"].to_pylist()
    for pair in tables["pairs"].to_pylist():
        assert chunk["text"][pair["target_start"] : pair["target_end"]] == pair["target_text"]
        assert chunk["targets"][pair["rank"]]["pair_id"] == pair["pair_id"]
        assert pair["created_at"] == NOW


def test_kept_fields_become_columns() -> None:
    unit = sampled_unit(prose(3), kept={"lang": "en"})
    pairs = tuple(pair_of(unit.chunks[0], rank, f"{rank}?") for rank in range(len(unit.chunks[0].targets)))
    tables = tables_of(replace(unit, pairs=pairs), keep_fields=["lang"], recipe="r", created_at=NOW)
    assert set(tables["pairs"]["lang"].to_pylist()) == {"en"} == set(tables["chunks"]["lang"].to_pylist())


def test_token_traces_become_optional_columns() -> None:
    unit = finished_unit()
    trace = TokenTrace(
        np.array([5, 6], np.int32), np.array([5, 9, 6, 8], np.int32), np.array([-0.1, -2, -0.2, -3], np.float32)
    )
    traced = replace(unit, pairs=(replace(unit.pairs[0], trace=trace), *unit.pairs[1:]))
    table = tables_of(traced, keep_fields=[], recipe="r", created_at=NOW)["pairs"]
    assert table.schema == PAIRS.schema(with_optional=True)
    assert table["answer_token_ids"].to_pylist() == [[5, 6], *[None] * 5]
    assert table["answer_top_ids"][0].as_py() == [5, 9, 6, 8]
