"""The nouns that walk through the house: document, sentence, chunk, target, pair, unit.

All offsets count code points of the normalised document, end exclusive. Every record is frozen; a stage
returns new ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from selfstudy.reasons import Ineligible


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One text of the corpus. `markup` is what its page hid from readers: comments, alt texts, hidden text."""

    doc_id: str
    source_uri: str
    text: str
    title: str = ""
    kept: dict[str, str] = field(default_factory=dict)
    markup: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sentence:
    """A span of the normalised document. `reason` is None for one that may be asked about."""

    start: int
    end: int
    reason: Ineligible | None = None

    @property
    def eligible(self) -> bool:
        return self.reason is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A sentence that the sampler chose, `sentence` being its index in the chunk."""

    pair_id: str
    rank: int
    epoch: int
    sentence: int
    style: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Consecutive whole sentences of one document.

    `text` is the normalised document's [start:end), removed sentences included; `cleaned.clean` gives what
    a model may see. `chunk_key` and `targets` are empty until the sampler has seen the chunk.
    """

    chunk_id: str
    doc_id: str
    source_uri: str
    title: str
    text: str
    start: int
    sentences: tuple[Sentence, ...]
    num_tokens: int
    kept: dict[str, str] = field(default_factory=dict)
    markup: tuple[str, ...] = ()
    chunk_key: str = ""
    targets: tuple[Target, ...] = ()

    @property
    def end(self) -> int:
        return self.start + len(self.text)

    def sentence_text(self, index: int) -> str:
        span = self.sentences[index]
        return self.text[span.start - self.start : span.end - self.start]


@dataclass(frozen=True, slots=True, kw_only=True)
class RemovedSpan:
    """A run of sentences that the filter judged instruction-like.

    `field` is "text", "title" or "markup"; start and end are None where the text has no offsets
    in the normalised document (title and markup).
    """

    chunk_id: str
    doc_id: str
    source_uri: str
    field: str
    start: int | None
    end: int | None
    text: str
    score: float
    judge: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """A final verdict. `id` names what it concerns: a uri (with #line or #row) or a pair_id."""

    stage: str
    reason: str
    id: str
    detail: str = ""
    doc_id: str | None = None
    chunk_id: str | None = None
    source_uri: str | None = None
    style: str | None = None
    start: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What was asked about a target, with its provenance: half of a pair. `attempt` is 1 if it was asked again."""

    pair_id: str
    text: str
    model: str
    attempt: int
    fidelity: float
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    finish_reason: str


@dataclass(frozen=True, slots=True, eq=False)
class TokenTrace:
    """What a student is distilled from: the sampled tokens, and the k likeliest at each place.

    token_ids: int32 of shape [n]. top_ids (int32) and top_logprobs (float32): shape [n * k], place by place
    from the likeliest down; empty with k = 0. Arrays, so that a unit reaches Arrow without a Python object
    per token.
    """

    token_ids: NDArray[np.int32]
    top_ids: NDArray[np.int32]
    top_logprobs: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A question and its answer with their provenance; the columns of the published table.

    `reused` says that it was copied from an earlier unit, `created_at` when it was generated; None: now.
    """

    pair_id: str
    chunk_id: str
    chunk_key: str
    rank: int
    doc_id: str
    source_uri: str
    epoch: int
    target_text: str
    target_start: int
    target_end: int
    style: str
    question: str
    answer: str
    question_model: str
    answer_model: str
    engine: str
    prompts_version: str
    seed: int
    question_prompt_tokens: int
    question_cached_tokens: int
    question_completion_tokens: int
    answer_prompt_tokens: int
    answer_cached_tokens: int
    answer_completion_tokens: int
    question_finish_reason: str
    answer_finish_reason: str
    fidelity: float
    reused: bool = False
    created_at: datetime | None = None
    kept: dict[str, str] = field(default_factory=dict)
    trace: TokenTrace | None = None


class Outcome(StrEnum):
    """How a unit's way through the job ended. After UNUSABLE and STORAGE_FAILED the run has to end."""

    COMMITTED = "committed"
    LOST_RACE = "lost_race"
    GAP = "gap"
    UNUSABLE = "unusable"
    STORAGE_FAILED = "storage_failed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a unit, or the rest of its split, is not committed by this run."""

    outcome: Outcome
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """Targets that ended with one of these reasons are asked once more.

    `number` counts the retries of a split from 1; `prefixes` begin the names that its units had before, newest first.
    """

    number: int
    reasons: tuple[str, ...]
    prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """At most N chunks of one split, in order: the atom of retry, commit and resume.

    `num_documents` counts the documents that start in this unit, rejected ones included. Filter, sampler and
    generator each return it with more: removed spans, targets in its chunks, questions where another actor answers
    them, pairs and rejects. Some pairs, and `num_reused_rejects` of the rejects, were copied from earlier units. A unit
    with a `failure` only reports it; it passes the stages untouched and is never committed.
    """

    unit_id: str
    split_id: str
    last: bool
    num_documents: int
    chunks: tuple[Chunk, ...] = ()
    removed: tuple[RemovedSpan, ...] = ()
    questions: tuple[Question, ...] = ()
    rejects: tuple[Reject, ...] = ()
    pairs: tuple[Pair, ...] = ()
    num_reused_rejects: int = 0
    retry: Retry | None = None
    preemptions: int = 0
    """Times the engines took the cache of a running request away while this unit was worked on."""
    failure: Failure | None = None
