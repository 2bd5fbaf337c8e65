"""Every published table: its columns, their Arrow types, units and meaning. schemas/ is made from this file.

Unit files and snapshots share these schemas. A change of a column or of the meaning of one raises the version.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from selfstudy.reasons import DocumentReject, Ineligible, Stage, TargetReject

_STRING = pa.string()
_COUNT = pa.int64()
_SENTENCE = pa.struct(
    [
        pa.field("start", _COUNT, nullable=False),
        pa.field("end", _COUNT, nullable=False),
        pa.field("eligible", pa.bool_(), nullable=False),
        pa.field("reason", _STRING),
    ]
)
_TARGET = pa.struct(
    [
        pa.field("pair_id", _STRING, nullable=False),
        pa.field("rank", _COUNT, nullable=False),
        pa.field("epoch", _COUNT, nullable=False),
        pa.field("sentence", _COUNT, nullable=False),
        pa.field("style", _STRING, nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Column:
    """`unit` says what a number counts; a column that may be null says in `meaning` when."""

    name: str
    type: pa.DataType
    meaning: str
    unit: str = ""
    nullable: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`key` is the column that names a row; `has_kept_fields` adds corpus.keep_fields as string columns."""

    name: str
    version: int
    meaning: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    has_kept_fields: bool = False
    optional: tuple[Column, ...] = ()

    def schema(self, keep_fields: Sequence[str] = (), *, with_optional: bool = False) -> pa.Schema:
        """Return the Arrow schema of a run that keeps these fields of its documents."""
        columns = self.columns + (self.optional if with_optional else ())
        fields = [pa.field(column.name, column.type, column.nullable) for column in columns]
        kept = keep_fields if self.has_kept_fields else ()
        return pa.schema(fields + [pa.field(name, _STRING) for name in kept])

    def describe(self) -> dict[str, Any]:
        """Return what schemas/NAME.json holds."""
        return {
            "table": self.name,
            "version": self.version,
            "meaning": self.meaning,
            "key": list(self.key),
            "columns": [_describe(column) for column in self.columns],
            "optional_columns": [_describe(column) for column in self.optional],
            "kept_fields": "one nullable string column per corpus.keep_fields" if self.has_kept_fields else None,
        }


def _describe(column: Column) -> dict[str, Any]:
    return {
        "name": column.name,
        "type": str(column.type),
        "nullable": column.nullable,
        "unit": column.unit or None,
        "meaning": column.meaning,
    }


def _values(*enums: type) -> str:
    return ", ".join(value.value for enum in enums for value in enum)  # type: ignore[attr-defined]


_CHARS = "code points of the normalised document"
_TOKENS = "tokens of the model"
_CHUNK_ID = Column("chunk_id", _STRING, "hash of doc_id, the chunk's normalised text and its n-th occurrence")
_CHUNK_KEY = Column(
    "chunk_key", _STRING, "hash of what was asked about: title, cleaned text, eligible spans, ask recipe"
)
_DOC_ID = Column("doc_id", _STRING, "the corpus's own id, else the relative path (files) or a hash of the text (rows)")
_URI = Column("source_uri", _STRING, "file that the document was read from")
_UNIT_ID = Column("unit_id", _STRING, "unit of work that made this row")


def _call_columns(call: str) -> tuple[Column, ...]:
    return (
        Column(f"{call}_prompt_tokens", _COUNT, f"prompt of the {call} call", _TOKENS),
        Column(f"{call}_cached_tokens", _COUNT, f"of these, read from the prefix cache ({call} call)", _TOKENS),
        Column(f"{call}_completion_tokens", _COUNT, f"completion of the {call} call", _TOKENS),
        Column(f"{call}_finish_reason", _STRING, "why the completion ended: stop or length"),
    )


PAIRS = Table(
    name="pairs",
    version=2,
    meaning="A question tied to a target sentence, and its answer.",
    key=("pair_id",),
    has_kept_fields=True,
    columns=(
        Column("pair_id", _STRING, "hash of chunk_key and rank"),
        _CHUNK_ID,
        _CHUNK_KEY,
        Column("rank", _COUNT, "place of the target in the chunk's permutation", "from 0"),
        _DOC_ID,
        _URI,
        _UNIT_ID,
        Column("epoch", _COUNT, "first epoch whose targets include this rank", "from 0"),
        Column("target_text", _STRING, "the sentence that the question must be about"),
        Column("target_start", _COUNT, "where it starts", _CHARS),
        Column("target_end", _COUNT, "where it ends, exclusive", _CHARS),
        Column("style", _STRING, "how it is asked: factual, reasoning, structuring, use_case, creative"),
        Column("question", _STRING, "the question, as the model wrote it"),
        Column("answer", _STRING, "the answer, as the model wrote it, without reasoning text"),
        Column("question_model", _STRING, "name and revision"),
        Column("answer_model", _STRING, "name and revision"),
        Column("engine", _STRING, "engine and version that answered"),
        Column("prompts_version", _STRING, "hash of the prompt templates"),
        Column("recipe", _STRING, "hash of the recipe; the manifest spells it out"),
        Column("seed", _COUNT, "sampling seed of the question request"),
        *_call_columns("question"),
        *_call_columns("answer"),
        Column("fidelity", pa.float64(), "how much the question is about its target, not another sentence", "0 to 1"),
        Column("reused", pa.bool_(), "copied from an earlier unit with the same chunk_key, not asked by its own"),
        Column("created_at", pa.timestamp("ms", "UTC"), "when the unit that asked was committed"),
    ),
    optional=(
        Column("answer_token_ids", pa.list_(pa.int32()), "sampled tokens of the answer", "n token ids", True),
        Column("answer_top_ids", pa.list_(pa.int32()), "k likeliest tokens at each place", "n x k token ids", True),
        Column("answer_top_logprobs", pa.list_(pa.float32()), "their log probabilities", "n x k, nats", True),
    ),
)

CHUNKS = Table(
    name="chunks",
    version=1,
    meaning="Consecutive whole sentences of a document, with the verdict on each sentence.",
    key=("chunk_id",),
    has_kept_fields=True,
    columns=(
        _CHUNK_ID,
        _CHUNK_KEY,
        _DOC_ID,
        _URI,
        _UNIT_ID,
        Column("title", _STRING, "title of the document; empty if it has none or the filter lifted it"),
        Column("text", _STRING, "the normalised document's [start:end), removed spans overwritten by spaces"),
        Column("start", _COUNT, "where the chunk starts", _CHARS),
        Column("end", _COUNT, "where it ends, exclusive", _CHARS),
        Column(
            "sentences",
            pa.list_(_SENTENCE),
            "spans that tile all text but white space; reason (null if eligible) is one of: " + _values(Ineligible),
            _CHARS,
        ),
        Column("targets", pa.list_(_TARGET), "sentences (by index) that were chosen, by rank"),
        Column("n_tokens", _COUNT, "size before anything was removed", "UTF-8 bytes / 4, rounded up"),
        Column(
            "duplicate_of", _STRING, "chunk_id of the equal chunk that was published instead; null if none", "", True
        ),
    ),
)

REMOVED = Table(
    name="removed",
    version=1,
    meaning="Spans that the filter judged instruction-like; no model saw them.",
    key=("chunk_id", "field", "start", "text"),
    columns=(
        Column("chunk_id", _STRING, "chunk that it was in; for title and markup the document's first chunk"),
        _DOC_ID,
        _URI,
        _UNIT_ID,
        Column("field", _STRING, "text, title, or markup (comments, alt texts, hidden text of the page)"),
        Column("start", _COUNT, "where it starts; null for title and markup", _CHARS, True),
        Column("end", _COUNT, "where it ends, exclusive; null for title and markup", _CHARS, True),
        Column("text", _STRING, "what was removed, verbatim"),
        Column("score", pa.float64(), "the judge's score, four decimals", "0 to 1"),
        Column("judge", _STRING, "rule, or model and revision, that decided"),
    ),
)

REJECTS = Table(
    name="rejects",
    version=1,
    meaning="Final verdicts: a document without chunks, or a planned target without a pair.",
    key=("stage", "id", "unit_id"),
    columns=(
        Column("stage", _STRING, "one of: " + _values(Stage)),
        Column(
            "reason", _STRING, "one of: " + ", ".join(dict.fromkeys(_values(DocumentReject, TargetReject).split(", ")))
        ),
        Column("id", _STRING, "uri (with #line, #byte or #row) of a document, pair_id of a target"),
        Column("detail", _STRING, "what was seen: an error, or the text that was rejected"),
        _UNIT_ID,
        Column("doc_id", _STRING, "null if the document could not be read", "", True),
        Column("chunk_id", _STRING, "null for documents", "", True),
        Column("source_uri", _STRING, "file that it concerns", "", True),
        Column("style", _STRING, "style of the target; null for documents", "", True),
        Column("start", _COUNT, "where the target starts; null for documents", _CHARS, True),
    ),
)

COVERAGE = Table(
    name="coverage",
    version=2,
    meaning="What was asked of each document, where, and how evenly.",
    key=("doc_id",),
    columns=(
        _DOC_ID,
        _URI,
        Column("title", _STRING, "title of the document, empty if none"),
        Column("chunks", _COUNT, "chunks, duplicates included"),
        Column("exhausted_chunks", _COUNT, "of these, with eligible sentences that are all targets: nothing is left"),
        Column("duplicate_chunks", _COUNT, "chunks whose equal in another document was published instead"),
        Column("chars", _COUNT, "characters in sentences", "code points"),
        Column("removed_chars", _COUNT, "of these, removed by the filter", "code points"),
        Column("eligible_chars", _COUNT, "of these, in eligible sentences", "code points"),
        Column("asked_chars", _COUNT, "of these, in sentences with a published pair", "code points"),
        Column("sentences", _COUNT, "all sentences"),
        Column("eligible", _COUNT, "sentences that may be asked about"),
        Column("removed", _COUNT, "sentences that the filter removed"),
        Column("targeted", _COUNT, "sentences that were chosen as targets"),
        Column("asked", _COUNT, "sentences with a published pair"),
        Column("never_asked", _COUNT, "eligible sentences without one"),
        Column("removed_spans", _COUNT, "removed spans of the text, title and markup"),
        Column("coverage_sentences", pa.float64(), "asked / eligible; null without eligible sentences", "0 to 1", True),
        Column("coverage_chars", pa.float64(), "asked_chars / eligible_chars; null likewise", "0 to 1", True),
        Column("kept_share", pa.float64(), "share of characters that the filter kept", "0 to 1"),
        Column("eligible_by_decile", pa.list_(_COUNT), "eligible sentences by tenth of the document's length"),
        Column("asked_by_decile", pa.list_(_COUNT), "asked sentences by tenth of the document's length"),
    ),
)

INDEX = Table(
    name="index",
    version=1,
    meaning="Where a later run finds what was asked of a chunk. In buckets by the first hex digits of chunk_key.",
    key=("chunk_key",),
    columns=(
        _CHUNK_KEY,
        Column("unit_id", _STRING, "unit that holds the pairs and final rejects of the chunks with this key"),
    ),
)

UNITS = Table(
    name="units",
    version=1,
    meaning="The units that a snapshot was made from, and those that its index names.",
    key=("unit_id",),
    columns=(
        Column("unit_id", _STRING, "name of the unit's commit"),
        Column("published", pa.bool_(), "false: of a split that is not complete, or of the snapshot before"),
    ),
)

TABLES = {table.name: table for table in (PAIRS, CHUNKS, REMOVED, REJECTS, COVERAGE, INDEX, UNITS)}


def reserved_names() -> frozenset[str]:
    """Column names that corpus.keep_fields cannot take."""
    return frozenset(
        column.name for table in TABLES.values() if table.has_kept_fields for column in table.columns + table.optional
    )
