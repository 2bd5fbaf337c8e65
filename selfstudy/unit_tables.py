"""A finished unit -> the Arrow tables that are stored, and the counts that must reconcile (law 4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from selfstudy.cleaned import blank
from selfstudy.reasons import Ineligible, Stage, TargetReject
from selfstudy.records import Pair, Sentence, TokenTrace, Unit
from selfstudy.tables import CHUNKS, PAIRS, REJECTS, REMOVED

_DOCUMENT_STAGES = (Stage.READ, Stage.PREPARE)


class ConservationError(AssertionError):
    """A unit whose counts do not add up: something planned is neither a pair nor a reject. A defect of ours."""


def tables_of(unit: Unit, *, keep_fields: Sequence[str], recipe: str, created_at: datetime) -> dict[str, pa.Table]:
    """Return the unit's tables by name, in the schemas of `tables`; empty ones included."""
    pairs = [_pair_row(pair, unit.unit_id, recipe, created_at) for pair in unit.pairs]
    traces = [pair.trace for pair in unit.pairs]
    rejects = [_row(reject) | {"unit_id": unit.unit_id} for reject in unit.rejects]
    removed = [_row(span) | {"unit_id": unit.unit_id} for span in unit.removed]
    return {
        "pairs": _with_traces(pa.Table.from_pylist(pairs, PAIRS.schema(keep_fields)), traces),
        "chunks": pa.Table.from_pylist(_chunk_rows(unit), CHUNKS.schema(keep_fields)),
        "removed": pa.Table.from_pylist(removed, REMOVED.schema()),
        "rejects": pa.Table.from_pylist(rejects, REJECTS.schema()),
    }


def counts_of(unit: Unit) -> dict[str, Any]:
    """Count what a unit holds; raises ConservationError if something planned is unaccounted for."""
    sentences = [sentence for chunk in unit.chunks for sentence in chunk.sentences]
    reasons = Counter(str(sentence.reason) for sentence in sentences if sentence.reason)
    num_removed = reasons.pop(Ineligible.REMOVED.value, 0)
    document_rejects = Counter(str(reject.reason) for reject in unit.rejects if reject.stage in _DOCUMENT_STAGES)
    target_rejects = Counter(str(reject.reason) for reject in unit.rejects if reject.stage not in _DOCUMENT_STAGES)
    planned = Counter(target.pair_id for chunk in unit.chunks for target in chunk.targets)
    ended = Counter(pair.pair_id for pair in unit.pairs)
    ended.update(reject.id for reject in unit.rejects if reject.stage not in _DOCUMENT_STAGES)
    if planned != ended:
        missing, extra = planned - ended, ended - planned
        raise ConservationError(f"{unit.unit_id}: {len(missing)} targets without an end, {len(extra)} ends too many")
    num_reused = sum(pair.reused for pair in unit.pairs)
    return {
        "documents": unit.num_documents,
        "documents_rejected": dict(document_rejects),
        "chunks": len(unit.chunks),
        "sentences": len(sentences),
        "eligible": sum(sentence.eligible for sentence in sentences),
        "ineligible": dict(reasons),
        "removed": num_removed,
        "removed_spans": len(unit.removed),
        "targets": planned.total(),
        "pairs": len(unit.pairs),
        "pairs_reused": num_reused,
        "targets_asked": planned.total()
        - num_reused
        - unit.num_reused_rejects
        - target_rejects[TargetReject.DUPLICATE_CHUNK],
        "targets_rejected": dict(target_rejects),
        "preemptions": unit.preemptions,
        **_tokens([pair for pair in unit.pairs if not pair.reused], ""),
        **_tokens([pair for pair in unit.pairs if pair.reused], "reused_"),
    }


def _tokens(pairs: Sequence[Pair], prefix: str) -> dict[str, int]:
    return {
        f"{prefix}{kind}_tokens": sum(
            getattr(pair, f"question_{kind}_tokens") + getattr(pair, f"answer_{kind}_tokens") for pair in pairs
        )
        for kind in ("prompt", "cached", "completion")
    }


def _row(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _pair_row(pair: Pair, unit_id: str, recipe: str, created_at: datetime) -> dict[str, Any]:
    place = {"unit_id": unit_id, "recipe": recipe, "created_at": pair.created_at or created_at}
    return _row(pair) | pair.kept | place


def _chunk_rows(unit: Unit) -> list[dict[str, Any]]:
    return [
        {
            "chunk_id": chunk.chunk_id,
            "chunk_key": chunk.chunk_key,
            "doc_id": chunk.doc_id,
            "source_uri": chunk.source_uri,
            "unit_id": unit.unit_id,
            "title": chunk.title,
            "text": blank(chunk),
            "start": chunk.start,
            "end": chunk.end,
            "sentences": [_sentence_row(sentence) for sentence in chunk.sentences],
            "targets": [_row(target) for target in chunk.targets],
            "n_tokens": chunk.num_tokens,
            "duplicate_of": None,
        }
        | chunk.kept
        for chunk in unit.chunks
    ]


def _sentence_row(sentence: Sentence) -> dict[str, Any]:
    return {
        "start": sentence.start,
        "end": sentence.end,
        "eligible": sentence.eligible,
        "reason": sentence.reason.value if sentence.reason else None,
    }


def _with_traces(pairs: pa.Table, traces: list[TokenTrace | None]) -> pa.Table:
    """Add the optional columns where the engine gave token traces, array by array."""
    if not any(trace is not None for trace in traces):
        return pairs
    for column in PAIRS.optional:
        name = column.name.removeprefix("answer_")
        arrays = [None if trace is None else getattr(trace, name) for trace in traces]
        pairs = pairs.append_column(pa.field(column.name, column.type), pa.array(arrays, column.type))
    return pairs
