"""One unit with targets -> the same unit with pairs and rejects: ask, check, ask again once, answer, check.

A pure orchestration over the engine protocol: every target of the unit is submitted at once, chunk by chunk, and
the engine admits as many as it can hold. Nothing is stored here.

Where questions and answers come from different actors, one generator asks and leaves questions in the unit, and
another answers them. Each does what is left to do: a target that has a pair or a reject has ended.

Rejects: everything in `reasons.TargetReject` but what publishing decides. A TransportError that the engine could
not overcome fails the whole unit, which stays a gap, unless this is the unit's last attempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from selfstudy.checks import ChunkWords, RemovedWords, check_answer, check_question, find_duplicates
from selfstudy.cleaned import CleanChunk, clean
from selfstudy.config import ChecksConfig
from selfstudy.engines.base import Call, Completion, Engine, EngineUnusable, Request, RequestTooLong, TransportError
from selfstudy.ids import request_seed
from selfstudy.prompts import parse_answer, parse_question
from selfstudy.reasons import Stage, TargetReject
from selfstudy.records import Chunk, Pair, Question, Reject, Target, Unit


class UnitFailedError(RuntimeError):
    """Requests of the unit failed for reasons of transport: it is a gap of this run."""


@dataclass(frozen=True, slots=True)
class Generator:
    """What asking and answering need besides the unit. One engine may serve both calls; without an engine for
    the answers the unit leaves with questions, and without one for the questions it has to come with them."""

    question_engine: Engine | None
    answer_engine: Engine | None
    checks: ChecksConfig
    prompts_version: str

    async def generate(self, unit: Unit, *, last_attempt: bool = False) -> Unit:
        """Return the unit with one pair or reject per target (or question, without an engine for the answers).

        Raises:
            UnitFailedError: a request failed and this is not the last attempt; then such requests are rejects.
            EngineUnusable: the engine refuses every request.
        """
        repeated = repeated_chunks(unit)
        work = [(chunk, targets) for chunk, targets in open_targets(unit) if chunk.chunk_id not in repeated]
        asked = {question.pair_id: question for question in unit.questions}
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._one_target(view, target, asked.get(target.pair_id), last_attempt))
                    for chunk, targets in work
                    for view in [_ChunkView.of(chunk, unit, self.checks)]
                    for target in targets
                ]
        except* EngineUnusable as errors:
            raise EngineUnusable(str(_first(errors))) from None
        except* TransportError as errors:
            raise UnitFailedError(str(_first(errors))) from None
        outcomes = self._without_duplicates([task.result() for task in tasks], unit.pairs)
        return replace(
            unit,
            questions=tuple(outcome for outcome in outcomes if isinstance(outcome, Question)),
            pairs=unit.pairs + tuple(outcome for outcome in outcomes if isinstance(outcome, Pair)),
            rejects=unit.rejects
            + tuple(outcome for outcome in outcomes if isinstance(outcome, Reject))
            + tuple(
                reject_target(chunk, target, Stage.GENERATE, TargetReject.DUPLICATE_CHUNK, repeated[chunk.chunk_id])
                for chunk, targets in open_targets(unit)
                if chunk.chunk_id in repeated
                for target in targets
            ),
        )

    async def _one_target(
        self, view: _ChunkView, target: Target, question: Question | None, last_attempt: bool
    ) -> Question | Pair | Reject:
        try:
            result = question or await self._ask(view, target)
            if self.answer_engine is None or isinstance(result, Reject):
                return result
            return await self._answer(self.answer_engine, view, target, result)
        except RequestTooLong as error:
            return reject_target(view.chunk, target, Stage.GENERATE, TargetReject.TOO_LONG, str(error))
        except TransportError as error:
            if not last_attempt:
                raise
            return reject_target(view.chunk, target, Stage.GENERATE, TargetReject.REQUEST_FAILED, str(error))

    async def _ask(self, view: _ChunkView, target: Target) -> Question | Reject:
        """Ask, and once more if the first question is about something else than its target."""
        assert self.question_engine is not None, "a unit without questions came to an actor that only answers"
        question, verdict = await self._ask_once(self.question_engine, view, target, view.first_attempt)
        if verdict is TargetReject.OFF_TARGET:
            question, verdict = await self._ask_once(self.question_engine, view, target, view.first_attempt + 1)
        return reject_target(view.chunk, target, Stage.CHECK, verdict, question.text) if verdict else question

    async def _ask_once(
        self, engine: Engine, view: _ChunkView, target: Target, attempt: int
    ) -> tuple[Question, TargetReject | None]:
        completion = await engine.complete(view.request(target, Call.QUESTION, attempt))
        text = parse_question(completion)
        verdict = check_question(text, completion.finish_reason, self.checks)
        fidelity = view.words.fidelity(text or "", target.sentence)
        if verdict is None and self.checks.enabled and fidelity < self.checks.min_fidelity:
            verdict = TargetReject.OFF_TARGET
        question = Question(
            pair_id=target.pair_id,
            text=text or "",
            model=engine.info.model,
            attempt=attempt,
            fidelity=fidelity,
            prompt_tokens=completion.num_prompt_tokens,
            cached_tokens=completion.num_cached_tokens,
            completion_tokens=completion.num_completion_tokens,
            finish_reason=completion.finish_reason,
        )
        return question, verdict

    async def _answer(self, engine: Engine, view: _ChunkView, target: Target, question: Question) -> Pair | Reject:
        completion = await engine.complete(view.request(target, Call.ANSWER, question.attempt, question.text))
        answer = parse_answer(completion)
        verdict = check_answer(answer, completion.finish_reason, view.removed, self.checks)
        if verdict is not None:
            return reject_target(view.chunk, target, Stage.CHECK, verdict, answer or "")
        return self._pair(view.chunk, target, question, engine, answer or "", completion)

    def _without_duplicates(
        self, outcomes: list[Question | Pair | Reject], earlier: Sequence[Pair]
    ) -> list[Question | Pair | Reject]:
        """Judge the new pairs, in target order. Those that were there were judged before, and stay."""
        if not self.checks.enabled:
            return outcomes
        pairs = [outcome for outcome in outcomes if isinstance(outcome, Pair)]
        verdicts = dict(
            zip(
                (pair.pair_id for pair in pairs),
                find_duplicates([pair.question for pair in pairs], self.checks, [pair.question for pair in earlier]),
                strict=True,
            )
        )
        return [
            reject_pair(outcome, Stage.CHECK, verdict)
            if isinstance(outcome, Pair) and (verdict := verdicts[outcome.pair_id])
            else outcome
            for outcome in outcomes
        ]

    def _pair(
        self, chunk: Chunk, target: Target, question: Question, engine: Engine, answer: str, answered: Completion
    ) -> Pair:
        return Pair(
            **place_of(chunk, target),
            question=question.text,
            answer=answer,
            question_model=question.model,
            answer_model=engine.info.model,
            engine=engine.info.engine,
            prompts_version=self.prompts_version,
            seed=request_seed(target.pair_id, question.attempt),
            question_prompt_tokens=question.prompt_tokens,
            question_cached_tokens=question.cached_tokens,
            question_completion_tokens=question.completion_tokens,
            answer_prompt_tokens=answered.num_prompt_tokens,
            answer_cached_tokens=answered.num_cached_tokens,
            answer_completion_tokens=answered.num_completion_tokens,
            question_finish_reason=question.finish_reason,
            answer_finish_reason=answered.finish_reason,
            fidelity=question.fidelity,
            trace=answered.trace,
        )


@dataclass(frozen=True, slots=True)
class _ChunkView:
    """A chunk with what all its targets share."""

    chunk: Chunk
    clean: CleanChunk
    words: ChunkWords
    removed: RemovedWords
    first_attempt: int

    @classmethod
    def of(cls, chunk: Chunk, unit: Unit, checks: ChecksConfig) -> _ChunkView:
        cleaned = clean(chunk.text, chunk.start, chunk.sentences)
        sentences = [cleaned.text[span[0] : span[1]] if span else "" for span in cleaned.spans]
        lifted = [span.text for span in unit.removed if span.chunk_id == chunk.chunk_id]
        # Two attempts for each time that the split's targets were asked: a retry sends other seeds.
        first_attempt = 2 * unit.retry.number if unit.retry else 0
        return cls(chunk, cleaned, ChunkWords(sentences), RemovedWords(lifted, checks.removed_words), first_attempt)

    def request(self, target: Target, call: Call, attempt: int, question: str = "") -> Request:
        return Request(
            call=call,
            pair_id=target.pair_id,
            chunk_key=self.chunk.chunk_key,
            title=self.chunk.title,
            passage=self.clean.text,
            target=self.chunk.sentence_text(target.sentence),
            style=target.style,
            seed=request_seed(target.pair_id, attempt),
            question=question,
            attempt=attempt,
        )


def open_targets(unit: Unit) -> list[tuple[Chunk, list[Target]]]:
    """Return the unit's chunks with those of their targets that have neither a pair nor a reject yet."""
    ended = {(pair.chunk_id, pair.pair_id) for pair in unit.pairs}
    ended.update((reject.chunk_id, reject.id) for reject in unit.rejects if reject.chunk_id is not None)
    left = (
        (chunk, [target for target in chunk.targets if (chunk.chunk_id, target.pair_id) not in ended])
        for chunk in unit.chunks
    )
    return [(chunk, targets) for chunk, targets in left if targets]


def repeated_chunks(unit: Unit) -> dict[str, str]:
    """Return {chunk_id: equal chunk with the lowest id} of the unit's chunks that need no asking of their own.

    The lowest id is also the one that publishing keeps, whichever units the equals are in.
    """
    lowest: dict[str, str] = {}
    for chunk in unit.chunks:
        lowest[chunk.chunk_key] = min(chunk.chunk_id, lowest.get(chunk.chunk_key, chunk.chunk_id))
    return {
        chunk.chunk_id: lowest[chunk.chunk_key]
        for chunk in unit.chunks
        if chunk.targets and lowest[chunk.chunk_key] != chunk.chunk_id
    }


def place_of(chunk: Chunk, target: Target) -> dict[str, Any]:
    """Return what a pair says of its place in the corpus; all else of it was generated."""
    span = chunk.sentences[target.sentence]
    return {
        "pair_id": target.pair_id,
        "chunk_id": chunk.chunk_id,
        "chunk_key": chunk.chunk_key,
        "rank": target.rank,
        "doc_id": chunk.doc_id,
        "source_uri": chunk.source_uri,
        "epoch": target.epoch,
        "target_text": chunk.sentence_text(target.sentence),
        "target_start": span.start,
        "target_end": span.end,
        "style": target.style,
        "kept": chunk.kept,
    }


def reject_target(chunk: Chunk, target: Target, stage: Stage, reason: TargetReject, detail: str) -> Reject:
    """Return the final verdict on a planned target that became no pair."""
    return Reject(
        stage=stage,
        reason=reason,
        id=target.pair_id,
        detail=detail,
        doc_id=chunk.doc_id,
        chunk_id=chunk.chunk_id,
        source_uri=chunk.source_uri,
        style=target.style,
        start=chunk.sentences[target.sentence].start,
    )


def reject_pair(pair: Pair, stage: Stage, reason: TargetReject) -> Reject:
    """Return the reject that takes a pair's place; its question is the detail."""
    return Reject(
        stage=stage,
        reason=reason,
        id=pair.pair_id,
        detail=pair.question,
        doc_id=pair.doc_id,
        chunk_id=pair.chunk_id,
        source_uri=pair.source_uri,
        style=pair.style,
        start=pair.target_start,
    )


def quarantine(unit: Unit) -> Unit:
    """Reject every open target of a unit that killed its worker again and again."""
    detail = "its worker died on every attempt"
    rejects = [
        reject_target(chunk, target, Stage.GENERATE, TargetReject.UNIT_QUARANTINED, detail)
        for chunk, targets in open_targets(unit)
        for target in targets
    ]
    return replace(unit, questions=(), rejects=unit.rejects + tuple(rejects))


def _first(errors: ExceptionGroup[Exception]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
