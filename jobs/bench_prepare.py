"""How fast one core turns a corpus into targets, step by step: every stage before the engine, without Ray.

Times are CPU seconds of this process (each step runs on one core), so that a busy machine does not count against the
code. A megabyte is one million bytes of the documents' text as it was read, markup included.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobs.corpora import SAMPLE, real_documents, replicate_files
from selfstudy.config import Config, parse_config
from selfstudy.corpus.normalise import normalise
from selfstudy.corpus.read import RawDocument, read_split
from selfstudy.corpus.splits import plan_splits
from selfstudy.filter.lift import lift
from selfstudy.filter.load import load_judge
from selfstudy.records import Chunk, Document
from selfstudy.targets import sample_targets
from selfstudy.text.chunks import chunk_document
from selfstudy.text.eligibility import judge_sentences
from selfstudy.text.sentences import split_sentences

STEPS = ("read", "normalise", "sentences", "eligibility", "chunks", "filter", "targets")
AIMS = {"mb_per_s_without_filter": 3.0, "filter_sentences_per_s": 20_000.0}
_MB = 1_000_000


@dataclass(slots=True)
class _Measured:
    """One pass over the corpus."""

    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    num_bytes: int = 0
    num_documents: int = 0
    num_chunks: int = 0
    num_sentences: int = 0
    num_removed: int = 0
    num_targets: int = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[name] += time.process_time() - started


def bench_prepare(*, corpus: str | None = None, corpus_mb: float = 5.0, repetitions: int = 3) -> dict[str, Any]:
    """Run the steps over a corpus (a path, folder or glob, or `sample`: the sample replicated to `corpus_mb`; by
    default real documents where there are some) and return the medians of the repetitions."""
    with tempfile.TemporaryDirectory(prefix="bench-prepare-") as folder:
        paths = [corpus] if corpus else real_documents()
        if corpus == "sample" or not paths:
            replicate_files(SAMPLE, Path(folder), corpus_mb)
            paths = [folder]
        config = parse_config(
            {
                "corpus": {"paths": paths},
                "output": "unused",
                "engine": {"kind": "extractive"},
                "filter": {"kind": "rules"},
            }
        )
        passes = [_measure(config) for _ in range(repetitions)]
    return _figures(passes)


def _measure(config: Config) -> _Measured:
    measured = _Measured()
    waiting: list[Chunk] = []
    for split in plan_splits(config.corpus, config.seed).splits:
        with measured.step("read"):
            documents = [item for item in read_split(split, config.corpus) if isinstance(item, RawDocument)]
        for document in documents:
            waiting.extend(_prepare(document, config, measured))
            while len(waiting) >= config.chunks.per_unit:
                _filter_and_sample(waiting[: config.chunks.per_unit], config, measured)
                del waiting[: config.chunks.per_unit]
    _filter_and_sample(waiting, config, measured)
    return measured


def _prepare(raw: RawDocument, config: Config, measured: _Measured) -> list[Chunk]:
    measured.num_documents += 1
    measured.num_bytes += len(raw.text.encode())
    with measured.step("normalise"):
        page = normalise(raw.text, raw.text_format)
    document = Document(
        doc_id=raw.doc_id, source_uri=raw.source_uri, text=page.text, title=page.title, markup=tuple(page.markup)
    )
    with measured.step("sentences"):
        spans = split_sentences(document.text, config.corpus.language)
    with measured.step("eligibility"):
        sentences = judge_sentences(document.text, spans, config.eligibility)
    with measured.step("chunks"):
        chunks = chunk_document(document, spans, sentences, config.chunks)
    measured.num_sentences += len(sentences)
    measured.num_chunks += len(chunks)
    return chunks


def _filter_and_sample(chunks: list[Chunk], config: Config, measured: _Measured) -> None:
    judge = load_judge(config.filter)
    with measured.step("filter"):
        lifted, removed = lift(chunks, judge, config.filter)
    with measured.step("targets"):
        sampled = [sample_targets(chunk, config.targets, seed=config.seed, ask="bench") for chunk in lifted]
    measured.num_removed += len(removed)
    measured.num_targets += sum(len(chunk.targets) for chunk in sampled)


def _figures(passes: list[_Measured]) -> dict[str, Any]:
    one = passes[0]
    megabytes = one.num_bytes / _MB
    seconds = {step: statistics.median(measured.seconds[step] for measured in passes) for step in STEPS}
    without_filter = sum(spent for step, spent in seconds.items() if step != "filter")
    return {
        "mb": round(megabytes, 3),
        "documents": one.num_documents,
        "chunks": one.num_chunks,
        "sentences": one.num_sentences,
        "targets": one.num_targets,
        "removed_spans": one.num_removed,
        "cpu_seconds": {step: round(spent, 4) for step, spent in seconds.items()},
        "mb_per_s": {step: round(megabytes / spent, 2) if spent else None for step, spent in seconds.items()},
        "mb_per_s_without_filter": round(megabytes / without_filter, 3),
        "mb_per_s_with_filter": round(megabytes / (without_filter + seconds["filter"]), 3),
        "filter_sentences_per_s": round(one.num_sentences / seconds["filter"]),
    }
