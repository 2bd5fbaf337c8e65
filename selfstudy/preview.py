"""A few documents through the whole way in this process, nothing written: what `preview` shows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from selfstudy.config import Config
from selfstudy.engines.load import load_engine
from selfstudy.filter.lift import lift
from selfstudy.filter.load import load_judge
from selfstudy.generate import Generator
from selfstudy.planning import first_documents, plan_run
from selfstudy.prepare import prepare_document
from selfstudy.records import Pair, Reject, RemovedSpan, Unit
from selfstudy.targets import sample_targets


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewedDocument:
    """What a run would make of one document."""

    doc_id: str
    source_uri: str
    chunks: int
    sentences: int
    eligible: int
    targets: int
    removed: tuple[RemovedSpan, ...]
    pairs: tuple[Pair, ...]
    rejects: tuple[Reject, ...]


def preview(config: Config, number: int) -> Iterator[PreviewedDocument]:
    """Yield the first documents of the run's order, worked through.

    Raises:
        ConfigError: the config cannot be run.
        EngineUnusable: the model cannot be loaded or the endpoint refuses us.
        UnitFailedError: requests failed.
    """
    plan = plan_run(config)
    config = plan.config
    judge = load_judge(config.filter)
    engine = load_engine(config.engine, sampling=config.sampling, prompts=plan.prompts)
    answer_engine = engine
    if config.answer_engine is not None:
        answer_engine = load_engine(config.answer_engine, sampling=config.sampling, prompts=plan.prompts)
    generator = Generator(engine, answer_engine, config.checks, plan.prompts.version)
    with asyncio.Runner() as runner:
        for raw in first_documents(plan, number):
            prepared = prepare_document(raw, config)
            unit = Unit(unit_id="preview", split_id="preview", last=True, num_documents=1)
            if isinstance(prepared, Reject):
                unit = replace(unit, rejects=(prepared,))
            else:
                chunks, removed = lift(prepared, judge, config.filter)
                ask = plan.recipe.ask_hash
                sampled = tuple(sample_targets(chunk, config.targets, seed=config.seed, ask=ask) for chunk in chunks)
                unit = runner.run(generator.generate(replace(unit, chunks=sampled, removed=removed)))
            yield _previewed(raw.doc_id, raw.source_uri, unit)
        runner.run(engine.close())
        if answer_engine is not engine:
            runner.run(answer_engine.close())


def _previewed(doc_id: str, source_uri: str, unit: Unit) -> PreviewedDocument:
    sentences = [sentence for chunk in unit.chunks for sentence in chunk.sentences]
    return PreviewedDocument(
        doc_id=doc_id,
        source_uri=source_uri,
        chunks=len(unit.chunks),
        sentences=len(sentences),
        eligible=sum(sentence.eligible for sentence in sentences),
        targets=sum(len(chunk.targets) for chunk in unit.chunks),
        removed=unit.removed,
        pairs=unit.pairs,
        rejects=unit.rejects,
    )
