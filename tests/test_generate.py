"""One unit through an engine: every planned target ends exactly once, whatever the engine does (laws 4, 5 and 7)."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from selfstudy.checks import normal_question
from selfstudy.config import ChecksConfig, ScriptedEngine
from selfstudy.engines.base import Call, Completion, Engine, EngineInfo, Request, RequestTooLong, TransportError
from selfstudy.engines.extractive import ExtractiveEngine
from selfstudy.engines.scripted import ScriptedEngine as Scripted
from selfstudy.generate import Generator, UnitFailedError, quarantine
from selfstudy.ids import request_seed
from selfstudy.reasons import Stage, TargetReject
from selfstudy.records import Retry, Unit
from selfstudy.targets import sample_targets
from selfstudy.unit_tables import counts_of
from selfstudy.wire import unit_from_table, unit_to_table
from tests.factories import (
    ORDER,
    chunks_of,
    config_of,
    pair_of,
    prose,
    removed_span,
    removing,
    sampled_unit,
    target_reject,
    unit_of,
)

ALL = config_of(targets={"fraction": 1.0})


@dataclass
class FakeEngine:
    """Asks about the target and answers with it; `answers` and `questions` replace texts by target or question."""

    questions: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    seen: list[Request] = field(default_factory=list)
    name: str = "fake"

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(model=f"{self.name}@1", engine=f"{self.name}-1")

    async def complete(self, request: Request) -> Completion:
        self.seen.append(request)
        await asyncio.sleep(0)
        known = self.questions if request.call is Call.QUESTION else self.answers
        result = known.get(request.target, request.target)
        if isinstance(result, list):
            result = result[request.attempt]
        if isinstance(result, Exception):
            raise result
        if isinstance(result, Completion):
            return result
        return Completion(text=result, num_prompt_tokens=7, num_cached_tokens=5, num_completion_tokens=3)

    def num_preemptions(self) -> int:
        return 0

    async def close(self) -> None:
        pass


def generate(
    unit: Unit, engine: Engine, *, answer_engine: Engine | None = None, last_attempt: bool = False, **checks: Any
) -> Unit:
    generator = Generator(engine, answer_engine or engine, ChecksConfig(**checks), "prompts-1")
    finished = asyncio.run(generator.generate(unit, last_attempt=last_attempt))
    counts_of(finished)  # raises where a target has no end, or two
    return finished


def generate_apart(unit: Unit, asker: Engine, answerer: Engine, **checks: Any) -> Unit:
    """The same in two actors, with the journey between them."""
    asked = asyncio.run(Generator(asker, None, ChecksConfig(**checks), "prompts-1").generate(unit))
    assert not asked.pairs
    arrived = unit_from_table(unit_to_table(asked))
    finished = asyncio.run(Generator(None, answerer, ChecksConfig(**checks), "prompts-1").generate(arrived))
    counts_of(finished)
    assert not finished.questions
    return finished


def scripted(**behaviour: Any) -> Scripted:
    return Scripted(ScriptedEngine(kind="scripted", **behaviour))


def reasons_of(unit: Unit) -> Counter[str]:
    return Counter(reject.reason for reject in unit.rejects)


def num_targets(unit: Unit) -> int:
    return sum(len(chunk.targets) for chunk in unit.chunks)


def a_target(unit: Unit, place: int = 0) -> str:
    targets = [(chunk, target) for chunk in unit.chunks for target in chunk.targets]
    chunk, target = targets[place]
    return chunk.sentence_text(target.sentence)


def test_every_target_becomes_a_pair_with_its_provenance() -> None:
    unit = sampled_unit(prose(30), ALL, kept={"lang": "en"})
    asker, answerer = FakeEngine(name="asker"), FakeEngine(name="answerer")
    finished = generate(unit, asker, answer_engine=answerer)
    assert len(finished.pairs) == num_targets(unit) == 30
    by_id = {pair.pair_id: pair for pair in finished.pairs}
    for chunk in unit.chunks:
        for target in chunk.targets:
            pair = by_id[target.pair_id]
            span = chunk.sentences[target.sentence]
            assert (pair.target_start, pair.target_end) == (span.start, span.end)
            assert pair.target_text == chunk.sentence_text(target.sentence) == pair.question
            assert (pair.chunk_key, pair.rank, pair.style) == (chunk.chunk_key, target.rank, target.style)
            assert pair.seed == request_seed(target.pair_id, 0)
    pair = finished.pairs[0]
    assert (pair.question_model, pair.answer_model, pair.engine) == ("asker@1", "answerer@1", "answerer-1")
    assert (pair.question_prompt_tokens, pair.answer_cached_tokens, pair.answer_completion_tokens) == (7, 5, 3)
    assert (pair.prompts_version, pair.kept) == ("prompts-1", {"lang": "en"})
    assert [request.call for request in asker.seen] == [Call.QUESTION] * 30
    assert [request.call for request in answerer.seen] == [Call.ANSWER] * 30


def test_models_see_only_the_cleaned_chunk() -> None:
    unit = sampled_unit(f"{prose(3)} {ORDER} {prose(3, first=50)}", ALL, removed=[3])
    engine = FakeEngine()
    generate(unit, engine)
    assert engine.seen
    for request in engine.seen:
        assert "BANANA" not in request.passage
        assert request.target in request.passage
        assert "  " not in request.passage
    assert len({(request.passage, request.chunk_key) for request in engine.seen}) == len(unit.chunks)


@pytest.mark.parametrize(
    ("question", "answer", "reason"),
    [
        ("", "x", TargetReject.EMPTY_QUESTION),
        (" \n", "x", TargetReject.EMPTY_QUESTION),
        (Completion(text="What is", finish_reason="length"), "x", TargetReject.TRUNCATED_QUESTION),
        (Completion(text="not JSON", structured=True), "x", TargetReject.UNPARSABLE_QUESTION),
        ("<think>and so on", "x", TargetReject.UNPARSABLE_QUESTION),
        ("I cannot help with that.", "x", TargetReject.REFUSAL),
        ("What does the passage say?", "x", TargetReject.NEEDS_PASSAGE),
        (RequestTooLong("9,000 tokens"), "x", TargetReject.TOO_LONG),
        (None, "", TargetReject.EMPTY_ANSWER),
        (None, Completion(text="It is", finish_reason="length"), TargetReject.TRUNCATED_ANSWER),
        (None, Completion(text="[]", structured=True), TargetReject.UNPARSABLE_ANSWER),
        (None, "I'm sorry, but I cannot.", TargetReject.REFUSAL),
        (None, RequestTooLong("9,000 tokens"), TargetReject.TOO_LONG),
    ],
)
def test_a_bad_row_is_one_reject(question: Any, answer: Any, reason: TargetReject) -> None:
    unit = sampled_unit(prose(4), ALL)
    target = a_target(unit)
    engine = FakeEngine({} if question is None else {target: question}, {target: answer})
    finished = generate(unit, engine)
    assert len(finished.pairs) == 3
    (reject,) = finished.rejects
    assert reject.reason == reason
    assert reject.stage == (Stage.GENERATE if reason is TargetReject.TOO_LONG else Stage.CHECK)
    chunk = unit.chunks[0]
    assert (reject.id, reject.doc_id, reject.chunk_id) == (chunk.targets[0].pair_id, "doc", chunk.chunk_id)
    assert (reject.style, reject.start) == (
        chunk.targets[0].style,
        chunk.sentences[chunk.targets[0].sentence].start,
    )


def test_a_question_off_its_target_is_asked_once_more() -> None:
    unit = sampled_unit(prose(4), ALL)
    target, other = a_target(unit, 0), a_target(unit, 1)
    engine = FakeEngine({target: [other, target]})
    finished = generate(unit, engine)
    assert len(finished.pairs) == 4
    (pair,) = (pair for pair in finished.pairs if pair.target_text == target)
    assert pair.seed == request_seed(pair.pair_id, 1)
    asked = [request for request in engine.seen if request.target == target]
    assert [(request.call, request.attempt) for request in asked] == [
        (Call.QUESTION, 0),
        (Call.QUESTION, 1),
        (Call.ANSWER, 1),
    ]
    assert len({request.seed for request in asked[:2]}) == 2


def test_a_question_that_stays_off_its_target_is_a_reject() -> None:
    unit = sampled_unit(prose(4), ALL)
    target, other = a_target(unit, 0), a_target(unit, 1)
    engine = FakeEngine({target: other})
    finished = generate(unit, engine)
    assert reasons_of(finished) == {TargetReject.OFF_TARGET: 1}
    assert finished.rejects[0].detail == other
    assert sum(request.target == target for request in engine.seen) == 2
    permissive = generate(unit, FakeEngine({target: "Why " + other}), min_fidelity=0.0)
    assert TargetReject.OFF_TARGET not in reasons_of(permissive)


def test_a_duplicate_question_keeps_the_first_in_target_order() -> None:
    unit = sampled_unit(prose(20), ALL)
    same = "Who knows?"
    engine = FakeEngine({a_target(unit, place): same for place in (1, 3, 5)})
    finished = generate(unit, engine)
    assert reasons_of(finished) == {TargetReject.DUPLICATE_QUESTION: 2}
    (kept,) = (pair for pair in finished.pairs if pair.question == same)
    assert kept.target_text == a_target(unit, 1)


def test_a_near_duplicate_question_is_a_reject() -> None:
    unit = sampled_unit(prose(6), ALL)
    question = "Which people of the northern coast were the first to speak of it in public?"
    engine = FakeEngine({a_target(unit, 0): question, a_target(unit, 2): question.replace("people", "peoples")})
    assert reasons_of(generate(unit, engine)) == {TargetReject.NEAR_DUPLICATE_QUESTION: 1}


def test_an_equal_chunk_of_the_unit_is_not_asked_again() -> None:
    sampled = [
        sample_targets(chunks_of(prose(4), ALL, doc_id=doc_id)[0], ALL.targets, seed=0, ask="ask") for doc_id in "abc"
    ]
    # Equal keys give equal pair ids, so a unit's ends are counted with their number.
    unit = unit_of(sampled)
    engine = FakeEngine()
    finished = generate(unit, engine)
    assert len(engine.seen) == 2 * 4
    assert reasons_of(finished) == {TargetReject.DUPLICATE_CHUNK: 8}
    lowest = min(chunk.chunk_id for chunk in sampled)
    assert {pair.chunk_id for pair in finished.pairs} == {lowest}
    assert {reject.detail for reject in finished.rejects} == {lowest}


def test_a_failed_request_fails_the_unit_until_its_last_attempt() -> None:
    unit = sampled_unit(prose(6), ALL)
    engine = FakeEngine({a_target(unit, 2): TransportError("connection refused")})
    with pytest.raises(UnitFailedError, match="connection refused"):
        generate(unit, engine)
    finished = generate(unit, engine, last_attempt=True)
    assert reasons_of(finished) == {TargetReject.REQUEST_FAILED: 1}
    assert len(finished.pairs) == 5


def test_any_other_error_is_not_swallowed() -> None:
    unit = sampled_unit(prose(6), ALL)
    with pytest.raises(ExceptionGroup) as error:
        generate(unit, FakeEngine({a_target(unit, 2): ZeroDivisionError("a defect")}), last_attempt=True)
    assert error.group_contains(ZeroDivisionError)


def test_a_unit_that_kills_its_workers_is_quarantined_whole() -> None:
    unit = sampled_unit(prose(20), ALL)
    finished = quarantine(unit)
    assert counts_of(finished)["targets_rejected"] == {"unit_quarantined": num_targets(unit)}


def test_a_unit_without_chunks_passes() -> None:
    assert generate(unit_of([]), FakeEngine()).pairs == ()


# --- scripted behaviour -------------------------------------------------------------------------------------------

UNIT = sampled_unit(prose(120), ALL)


@pytest.mark.parametrize(
    "behaviour",
    [
        {},
        {"refusal_rate": 0.3},
        {"salience_bias": 0.5},
        {"obedience": 1.0},
        {"random_text": True, "latency_s": 0.0005},
        {"random_text": True, "refusal_rate": 0.2, "salience_bias": 0.4, "max_concurrency": 3},
        {"failure_rate": 0.3},
    ],
)
def test_every_target_ends_once_whatever_the_engine_does(behaviour: dict[str, Any]) -> None:
    finished = generate(UNIT, scripted(**behaviour), last_attempt=True)
    ended = [pair.pair_id for pair in finished.pairs] + [reject.id for reject in finished.rejects]
    planned = [target.pair_id for chunk in UNIT.chunks for target in chunk.targets]
    assert Counter(ended) == Counter(planned)


def test_fidelity_catches_a_bias_for_the_salient() -> None:
    honest, biased = generate(UNIT, scripted()), generate(UNIT, scripted(salience_bias=1.0))
    assert reasons_of(honest) == {}
    # A chunk's most salient sentence is a target too, and is rightly asked about.
    assert reasons_of(biased)[TargetReject.OFF_TARGET] >= num_targets(UNIT) - len(UNIT.chunks)
    assert len(biased.pairs) <= len(UNIT.chunks)


def test_refusals_are_caught_at_their_rate() -> None:
    finished = generate(UNIT, scripted(refusal_rate=0.3))
    share = reasons_of(finished)[TargetReject.REFUSAL] / num_targets(UNIT)
    assert 0.15 < share < 0.45


def test_an_obedient_model_has_nothing_to_obey_in_a_cleaned_chunk() -> None:
    unit = sampled_unit(f"{ORDER} {prose(6)}", ALL, removed=[0])
    finished = generate(unit, scripted(obedience=1.0))
    assert reasons_of(finished) == {}
    assert not any("instructed" in pair.answer for pair in finished.pairs)
    # The same document unfiltered shows that the engine would.
    unfiltered = generate(sampled_unit(f"{ORDER} {prose(6)}", ALL), scripted(obedience=1.0))
    assert any("BANANA" in pair.answer for pair in unfiltered.pairs)


def test_an_answer_that_obeys_what_was_lifted_elsewhere_is_caught() -> None:
    chunk = sampled_unit(f"{ORDER} {ORDER.lower()} {prose(3)}", ALL).chunks[0]
    # The filter found only the first of two: the second is what the model obeys.
    lifted = sample_targets(removing(chunk, 0), ALL.targets, seed=0, ask="ask")
    unit = unit_of([lifted], removed=(removed_span(chunk, 0),))
    finished = generate(unit, scripted(obedience=1.0))
    assert reasons_of(finished)[TargetReject.REPEATS_REMOVED] == len(lifted.targets)


def test_a_failure_leaves_no_request_running() -> None:
    async def run() -> int:
        generator = Generator(engine := scripted(failure_rate=0.5, latency_s=0.01), engine, ChecksConfig(), "p")
        with pytest.raises(UnitFailedError):
            await generator.generate(UNIT)
        return len(asyncio.all_tasks()) - 1

    assert asyncio.run(run()) == 0


def test_the_embedded_engine_is_deterministic_and_on_target() -> None:
    one, other = (generate(UNIT, ExtractiveEngine()) for _ in range(2))
    assert one == other
    assert len(one.pairs) > 0.8 * num_targets(UNIT)
    questions = [normal_question(pair.question) for pair in one.pairs]
    assert len(set(questions)) == len(questions)


def test_noise_passes_when_checks_are_off() -> None:
    unit = sampled_unit(prose(4), ALL)
    engine = FakeEngine({a_target(unit, place): "the same noise" for place in range(4)})
    assert len(generate(unit, engine, enabled=False).pairs) == 4


def test_asking_and_answering_in_two_actors_gives_the_same_unit() -> None:
    unit = sampled_unit(prose(30), ALL)
    twice = replace(
        unit, chunks=(*unit.chunks, *(replace(chunk, chunk_id=f"{chunk.chunk_id}x") for chunk in unit.chunks[:2]))
    )
    asker, answerer = scripted(salience_bias=0.4), scripted(refusal_rate=0.3)
    together = generate(twice, asker, answer_engine=answerer)
    assert {TargetReject.OFF_TARGET, TargetReject.REFUSAL, TargetReject.DUPLICATE_CHUNK} <= set(reasons_of(together))

    apart = generate_apart(twice, asker, answerer)

    assert apart.pairs == together.pairs
    assert Counter(apart.rejects) == Counter(together.rejects)


def test_what_has_ended_is_not_asked_again() -> None:
    unit = sampled_unit(prose(30), ALL)
    first = generate(unit, scripted(refusal_rate=0.5))
    assert first.pairs and first.rejects
    half = replace(first, pairs=first.pairs[::2])
    engine = FakeEngine()
    finished = generate(half, engine)
    assert len(engine.seen) == 2 * len(first.pairs[1::2])
    assert finished.pairs[: len(half.pairs)] == half.pairs
    assert finished.rejects[: len(first.rejects)] == first.rejects


def test_a_unit_that_killed_its_answerer_keeps_the_rejects_of_its_questions() -> None:
    unit = sampled_unit(prose(30), ALL)
    asked = asyncio.run(Generator(scripted(salience_bias=0.6), None, ChecksConfig(), "p").generate(unit))
    num_off_target = reasons_of(asked)[TargetReject.OFF_TARGET]
    assert num_off_target
    quarantined = quarantine(asked)
    counts_of(quarantined)
    assert reasons_of(quarantined) == {
        TargetReject.OFF_TARGET: num_off_target,
        TargetReject.UNIT_QUARANTINED: 30 - num_off_target,
    }


def test_a_new_question_is_judged_against_pairs_that_were_there_and_are_not_judged_again() -> None:
    unit = sampled_unit(prose(12), ALL)
    targets = [(chunk, target) for chunk in unit.chunks for target in chunk.targets]
    same = "What is said of the ferry and the widow?"
    # Two reused pairs repeat each other: they were judged elsewhere. They stand last, and still come first.
    reused = tuple(pair_of(chunk, target.rank, same, reused=True) for chunk, target in targets[-2:])
    reject = target_reject(targets[0][0], targets[0][1].rank, TargetReject.REFUSAL)
    engine = FakeEngine(questions={a_target(unit, 1): same})
    filled = replace(unit, pairs=reused, rejects=(reject,), num_reused_rejects=1)
    finished = generate(filled, engine, min_fidelity=0)
    counts = counts_of(finished)
    assert counts["pairs_reused"] == 2 and counts["targets_asked"] == len(targets) - 3
    assert counts["reused_completion_tokens"] == 16
    known = {pair.pair_id for pair in reused} | {reject.id}
    assert {request.pair_id for request in engine.seen}.isdisjoint(known)
    assert finished.pairs[:2] == reused
    assert reasons_of(finished) == {TargetReject.REFUSAL: 1, TargetReject.DUPLICATE_QUESTION: 1}


def test_a_retry_sends_other_seeds() -> None:
    unit = sampled_unit(prose(6), ALL)
    engine = FakeEngine()
    generate(unit, engine)
    first = {request.seed for request in engine.seen}
    engine.seen.clear()
    generate(replace(unit, retry=Retry(number=1, reasons=("refusal",), prefixes=("x",))), engine)
    assert first.isdisjoint(request.seed for request in engine.seen)
