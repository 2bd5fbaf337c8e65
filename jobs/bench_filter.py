"""How fast the filter's judges are, and what of planted instructions reaches a prompt.

Reads: real documents where $SELFSTUDY_DOCUMENTS names a folder of JSONL shards with `text` and of loose .md, .html
and .txt files, else the sample corpus; instructions that no judge was trained on (`phrases/unseen.yaml`). Plants them
at random sentence, paragraph and markup borders of the raw texts and sends the result through the pipeline's own
normaliser, splitter, chunker and filter. Figures: sentences/s of process time on one core; the share of planted
characters that reaches a prompt (by runs of four words); the share of the documents' own characters that is lost (by
words, white space not counted); recall and clean text kept of spans that were written apart from those for training:
in `injection_heldout.jsonl` half are near misses, in `injection_exam.jsonl` half are what documents hold. And what
goes and stays of documents that look suspicious and steer nobody (`injection_suspicious.txt`), with instructions of
other writers (`injection_others.txt`): the weights of what stands around a sentence were chosen with both.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jobs.planting import Planted, plant, shared, shingles, words_of
from selfstudy.cleaned import blank
from selfstudy.config import Config, FilterConfig, parse_config
from selfstudy.corpus.read import RawDocument
from selfstudy.filter.evaluation import evaluate, score_texts
from selfstudy.filter.examples import Example, read_examples
from selfstudy.filter.judge import Context, Judge
from selfstudy.filter.lift import lift
from selfstudy.filter.load import load_judge
from selfstudy.filter.phrase_files import phrase_file
from selfstudy.prepare import prepare_document
from selfstudy.records import Chunk, Reject

_SAMPLE = Path(__file__).parent / "sample" / "corpus"
_HELD_OUT = Path(__file__).parent / "injection_heldout.jsonl"
_EXAM = Path(__file__).parent / "injection_exam.jsonl"
_SUSPICIOUS = Path(__file__).parent / "injection_suspicious.txt"
_OTHERS = Path(__file__).parent / "injection_others.txt"
_MAX_SENTENCES = 20_000
_SENTENCES_PER_CALL = 40
_FORMAT_OF = {".md": "markdown", ".html": "html", ".txt": "plain"}
_MANY_SURVIVORS = 25


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    text_format: str


def bench_filter(kinds: Sequence[str | list[str]] = ("rules", "embedded", ["embedded", "rules"])) -> dict[str, Any]:
    """Return the figures of each judge; keys say their units."""
    texts = _documents()
    rng = random.Random(0)
    planted = [plant(text.text, text.text_format, unseen_instructions(), rng) for text in texts]
    others = _OTHERS.read_text("utf-8").splitlines()
    suspicious = [_Text(text.strip(), "markdown") for text in _SUSPICIOUS.read_text("utf-8").split("\n=====\n")]
    suspicious_planted = [plant(text.text, text.text_format, others, rng) for text in suspicious]
    held_out, exam = held_out_examples(), exam_examples()
    figures: dict[str, Any] = {"num_documents": len(texts), "num_planted": sum(len(one.attacks) for one in planted)}
    for kind in kinds:
        config = FilterConfig(kind=kind)
        judge = load_judge(config)
        assert judge is not None
        name = kind if isinstance(kind, str) else "+".join(kind)
        figures[name] = {"sentences_per_s": _speed(judge, texts)} | _outcome(judge, config, texts, planted)
        figures[name]["suspicious"] = _outcome(judge, config, suspicious, suspicious_planted)
        figures[name]["held_out"] = _on_written(judge, config, held_out)
        figures[name]["exam"] = _on_written(judge, config, exam)
    return figures


def held_out_examples() -> list[Example]:
    """Return spans that nothing was trained on: attacks and near misses, in eight languages."""
    return read_examples(_HELD_OUT)


def exam_examples() -> list[Example]:
    """Return spans that no choice was made with either: attacks and what documents hold, in eight languages."""
    return read_examples(_EXAM)


def unseen_instructions() -> list[str]:
    """Return the instructions that are planted."""
    instructions: list[str] = yaml.safe_load(phrase_file("unseen.yaml").read_text(encoding="utf-8"))
    return instructions


def _on_written(judge: Judge, config: FilterConfig, examples: Sequence[Example]) -> dict[str, Any]:
    scores, _ = score_texts(judge, examples)
    figures = evaluate(examples, scores, config.threshold)
    recall = {name: family["recall"] for name, family in figures["families"].items()}
    clean = ~np.array([one.label for one in examples])
    english = np.array([one.lang == "en" for one in examples])
    kept = {
        name: float((scores[clean & chosen] < config.threshold).mean())
        for name, chosen in (("english", english), ("other_languages", ~english))
    }
    return {"auc": figures["auc"], "recall": recall, "clean_kept": kept}


def _documents() -> list[_Text]:
    folder = Path(os.environ.get("SELFSTUDY_DOCUMENTS", _SAMPLE))
    texts: list[_Text] = []
    for path in sorted(folder.iterdir()):
        if path.suffix == ".jsonl" and path.name != "MANIFEST.jsonl":
            rows = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line.strip()]
            texts += [_Text(row["text"], "plain") for row in rows if isinstance(row.get("text"), str)]
        elif path.suffix in _FORMAT_OF:
            texts.append(_Text(path.read_text("utf-8"), _FORMAT_OF[path.suffix]))
    return texts


def _chunks(text: str, text_format: str) -> list[Chunk]:
    config: Config = parse_config({"corpus": {"paths": ["-"]}, "output": "-", "engine": {"kind": "extractive"}})
    raw = RawDocument(doc_id="document", source_uri="memory://document", text=text, text_format=text_format)
    prepared = prepare_document(raw, config)
    return [] if isinstance(prepared, Reject) else prepared


def _shown(chunks: Sequence[Chunk]) -> str:
    """Return what models would see of a document."""
    return "\n".join([chunks[0].title, *(blank(chunk) for chunk in chunks)]) if chunks else ""


def _num_chars(words: Counter[str]) -> int:
    return sum(len(word) * number for word, number in words.items())


def _outcome(judge: Judge, config: FilterConfig, texts: Sequence[_Text], planted: Sequence[Planted]) -> dict[str, Any]:
    num_planted = num_stayed = num_clean = lost_beside = lost_alone = 0.0
    survivors: dict[str, int] = {}
    for text, with_attacks in zip(texts, planted, strict=True):
        alone = _chunks(text.text, text.text_format)
        clean = Counter(_shown(alone).split())
        num_clean += _num_chars(clean)
        lost_alone += _num_chars(clean - Counter(_shown(lift(alone, judge, config)[0]).split()))
        after = _shown(lift(_chunks(with_attacks.text, text.text_format), judge, config)[0])
        # What stays of a plant could stand for a lost word of the document: too little of either to matter.
        lost_beside += _num_chars(clean - Counter(after.split()))
        words = words_of(after)
        runs = frozenset(shingles(words))
        for attack in with_attacks.attacks:
            num_chars = sum(map(len, attack.split()))
            share = shared(attack, words, runs)
            num_planted += num_chars
            num_stayed += num_chars * share
            if share > 0.5:
                survivors[attack] = survivors.get(attack, 0) + 1
    return {
        "planted_chars_reaching_prompts_share": num_stayed / max(1.0, num_planted),
        "clean_chars_lost_share": lost_beside / max(1.0, num_clean),
        "clean_chars_lost_without_attacks_share": lost_alone / max(1.0, num_clean),
        "survivors": dict(sorted(survivors.items(), key=lambda item: -item[1])[:_MANY_SURVIVORS]),
    }


def _speed(judge: Judge, texts: Sequence[_Text]) -> float:
    contexts: list[Context] = []
    for text in texts:
        for chunk in _chunks(text.text, text.text_format):
            contexts += [Context(chunk.sentence_text(index), chunk.text) for index in range(len(chunk.sentences))]
        if len(contexts) >= _MAX_SENTENCES:
            break
    del contexts[_MAX_SENTENCES:]
    # A judge builds what reads doubtful text, and the dictionaries of other languages, when it meets the first of it,
    # once in a worker's life.
    judge.score([Context(attack) for attack in unseen_instructions()])
    start = time.process_time()
    for first in range(0, len(contexts), _SENTENCES_PER_CALL):
        judge.score(contexts[first : first + _SENTENCES_PER_CALL])
    return len(contexts) / max(1e-9, time.process_time() - start)
