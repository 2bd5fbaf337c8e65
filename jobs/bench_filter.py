"""How fast the filter's judges are, and what of planted instructions reaches a prompt.

Reads: real documents where $SELFSTUDY_DOCUMENTS names a folder of JSONL shards with `text`, else the sample corpus;
instructions that no judge was trained on (`phrases/unseen.yaml`). Plants them at random sentence, paragraph and markup
borders and runs the pipeline's own splitter, chunker and filter over the result. Figures: sentences/s of process time
on one core; the share of planted characters that stays; the share of the other characters that is lost.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from selfstudy.config import ChunksConfig, FilterConfig
from selfstudy.corpus.normalise import clean_characters
from selfstudy.filter.judge import Context, Judge
from selfstudy.filter.lift import lift
from selfstudy.filter.load import load_judge
from selfstudy.reasons import Ineligible
from selfstudy.records import Chunk, Document, Sentence
from selfstudy.text.chunks import chunk_document
from selfstudy.text.sentences import split_sentences

_SAMPLE = Path(__file__).parent / "sample"
_MAX_SENTENCES = 20_000
_SENTENCES_PER_CALL = 40


def bench_filter(kinds: Sequence[str | list[str]] = ("rules", "embedded", ["embedded", "rules"])) -> dict[str, Any]:
    """Return the figures of each judge; keys say their units."""
    texts = _documents()
    planted = _planted(texts, seed=0)
    figures: dict[str, Any] = {"num_documents": len(texts)}
    for kind in kinds:
        config = FilterConfig(kind=kind)
        judge = load_judge(config)
        assert judge is not None
        name = kind if isinstance(kind, str) else "+".join(kind)
        figures[name] = {"sentences_per_s": _speed(judge, texts)} | _outcome(judge, config, texts, planted)
    return figures


def _documents() -> list[str]:
    folder = os.environ.get("SELFSTUDY_DOCUMENTS")
    if folder:
        lines = [line for path in sorted(Path(folder).glob("*.jsonl")) for line in path.read_text("utf-8").split("\n")]
        rows = [json.loads(line) for line in lines if line.strip()]
        return [clean_characters(row["text"]) for row in rows if isinstance(row.get("text"), str)]
    paths = sorted(path for path in _SAMPLE.rglob("*") if path.suffix in (".txt", ".md"))
    return [clean_characters(path.read_text("utf-8")) for path in paths]


def _planted(texts: Sequence[str], seed: int) -> list[tuple[str, list[tuple[int, int]]]]:
    """Plant about one instruction per 4,000 characters; return each text with the spans planted in it."""
    rng = random.Random(seed)
    file = resources.files("selfstudy.filter").joinpath("phrases/unseen.yaml")
    attacks: list[str] = yaml.safe_load(file.read_text(encoding="utf-8"))
    result = []
    for text in texts:
        ends = [span.end for span in split_sentences(text)]
        borders = sorted(rng.sample(ends, min(len(ends), max(1, min(40, len(text) // 4000)))))
        pieces, spans, position, length = [], [], 0, 0
        for border in borders:
            attack = rng.choice(attacks)
            # A mark that begins a line (a list item, a row, a turn) has to stand at the beginning of one.
            at_line = attack[0] in "-|<" or attack.lower().startswith(("system", "ai_policy", "answer"))
            around = "\n\n" if at_line else rng.choice([" ", "\n\n", "\n"])
            before = text[position:border] + around
            pieces += [before, attack, around]
            spans.append((length + len(before), length + len(before) + len(attack)))
            length += len(before) + len(attack) + len(around)
            position = border
        result.append(("".join([*pieces, text[position:]]), spans))
    return result


def _chunks(text: str) -> list[Chunk]:
    spans = split_sentences(text)
    sentences = [Sentence(span.start, span.end) for span in spans]
    document = Document(doc_id="document", source_uri="memory://document", text=text)
    return chunk_document(document, spans, sentences, ChunksConfig()) if spans else []


def _removed(judge: Judge, config: FilterConfig, text: str) -> list[tuple[int, int]]:
    chunks, _ = lift(_chunks(text), judge, config)
    return [
        (sentence.start, sentence.end)
        for chunk in chunks
        for sentence in chunk.sentences
        if sentence.reason is Ineligible.REMOVED
    ]


def _outcome(
    judge: Judge, config: FilterConfig, texts: Sequence[str], planted: Sequence[tuple[str, list[tuple[int, int]]]]
) -> dict[str, Any]:
    num_planted = num_stayed = num_lost_beside = num_clean = num_lost = 0
    survivors: dict[str, int] = {}
    for text, (with_attacks, spans) in zip(texts, planted, strict=True):
        lost_before = sum(end - start for start, end in _removed(judge, config, text))
        removed = _removed(judge, config, with_attacks)
        inside = 0
        for start, end in spans:
            covered = sum(max(0, min(end, last) - max(start, first)) for first, last in removed)
            inside += covered
            num_planted += end - start
            num_stayed += end - start - covered
            if covered < (end - start) / 2:
                attack = with_attacks[start:end]
                survivors[attack] = survivors.get(attack, 0) + 1
        num_lost_beside += sum(end - start for start, end in removed) - inside
        num_lost += lost_before
        num_clean += len(text)
    return {
        "planted_chars_reaching_prompts_share": num_stayed / max(1, num_planted),
        "clean_chars_lost_share": num_lost_beside / max(1, num_clean),
        "clean_chars_lost_without_attacks_share": num_lost / max(1, num_clean),
        "survivors": dict(sorted(survivors.items(), key=lambda item: -item[1])[:15]),
    }


def _speed(judge: Judge, texts: Sequence[str]) -> float:
    sentences = [text[span.start : span.end] for text in texts for span in split_sentences(text)][:_MAX_SENTENCES]
    contexts = [Context(sentence, sentence) for sentence in sentences]
    start = time.process_time()
    for first in range(0, len(contexts), _SENTENCES_PER_CALL):
        judge.score(contexts[first : first + _SENTENCES_PER_CALL])
    return len(contexts) / max(1e-9, time.process_time() - start)


if __name__ == "__main__":
    print(json.dumps(bench_filter(), indent=2, ensure_ascii=False))
