"""What a second night costs: the whole job again on a corpus that changed a little, or not at all.

The documents are written as rows of plain normalised text, so that an edit can be placed in a sentence that a chunk is
known to hold. The engine's text is random: what is equal after a night was not asked again, and what was asked is
counted by the units' own counts.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from jobs.corpora import SAMPLE, real_documents, replicate_files
from selfstudy import pipeline
from selfstudy.config import parse_config
from selfstudy.corpus.normalise import normalise
from selfstudy.corpus.read import RawDocument, read_split
from selfstudy.corpus.splits import plan_splits
from selfstudy.job import run
from selfstudy.run_state import RunSummary
from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify

AT_MOST = {"unchanged_generated": 0.0, "regenerated_over_edited": 1.3}
AIMS = {"epochs_exact": 1.0}
_EDITED_DOCUMENTS = 0.1
_EDITED_SENTENCES = 0.01
_MAX_EPOCHS = 30


@dataclass(slots=True)
class _Nights:
    """A corpus that changes from night to night, and the output of its runs."""

    folder: Path
    documents: dict[str, dict[str, str]]
    targets: dict[str, Any] = field(default_factory=dict)

    @property
    def corpus(self) -> Path:
        return self.folder / "corpus"

    def write(self, documents: dict[str, dict[str, str]], *, num_files: int = 5, name: str = "shard") -> None:
        self.corpus.mkdir(parents=True, exist_ok=True)
        for path in self.corpus.iterdir():
            path.unlink()
        rows = list(documents.values())
        for number in range(num_files):
            lines = [json.dumps(row) + "\n" for row in rows[number::num_files]]
            (self.corpus / f"{name}-{number:05d}.jsonl").write_text("".join(lines), encoding="utf-8")

    def run(self, **sections: Any) -> tuple[RunSummary, float]:
        """One night; returns its summary and the seconds that it took."""
        content: dict[str, Any] = {
            "corpus": {"paths": [str(self.corpus)], "id_field": "id", "title_field": "title"},
            "output": str(self.folder / "out"),
            "engine": {"kind": "scripted", "random_text": True},
            "targets": self.targets,
        }
        started = time.perf_counter()
        summary = run(parse_config(content | sections))
        seconds = time.perf_counter() - started
        if summary.exit_code != 0:
            raise RuntimeError(
                f"a night ended with exit code {summary.exit_code}: {summary.stopped_by or summary.gaps}"
            )
        return summary, seconds

    def table(self, summary: RunSummary, name: str) -> pl.DataFrame:
        assert summary.manifest is not None
        folder = self.folder / "out" / "snapshots" / summary.manifest["snapshot"]
        paths = [folder / file["name"] for file in summary.manifest["files"] if file["table"] == name]
        return pl.concat(pl.read_parquet(path) for path in paths)


def bench_refresh(*, corpus: str | None = None, sample_mb: float = 0.5, seed: int = 0) -> dict[str, Any]:
    """Measure the nights and return the figures.

    `corpus` is a file, folder or glob; by default the real documents, or where there are none the sample (of
    `sample_mb`).
    """
    os.environ.setdefault("RAY_ADDRESS", "local")
    with tempfile.TemporaryDirectory(prefix="bench-refresh-") as folder:
        documents = _documents(corpus, sample_mb, Path(folder))
        pipeline.start_ray()
        try:
            figures = _changes(_Nights(Path(folder) / "changes", documents), random.Random(seed))
            figures["epochs"] = _epochs(_Nights(Path(folder) / "epochs", documents, {"per_chunk": 12, "epoch": "next"}))
        finally:
            pipeline.stop_ray()
    return figures | {"epochs_exact": figures["epochs"].pop("exact")}


def _documents(corpus: str | None, sample_mb: float, folder: Path) -> dict[str, dict[str, str]]:
    paths = [corpus] if corpus else real_documents()
    if not paths:
        (folder / "sample").mkdir()
        replicate_files(SAMPLE, folder / "sample", sample_mb)
        paths = [str(folder / "sample")]
    config = parse_config({"corpus": {"paths": paths}, "output": "unused", "engine": {"kind": "extractive"}}).corpus
    found: dict[str, dict[str, str]] = {}
    for split in plan_splits(config, 0).splits:
        for item in read_split(split, config):
            if isinstance(item, RawDocument) and item.doc_id not in found:
                page = normalise(item.text, item.text_format)
                text = normalise(page.text, "plain").text
                found[item.doc_id] = {"id": item.doc_id, "text": text, "title": item.title or page.title}
    return {doc_id: found[doc_id] for doc_id in sorted(found)}


def _changes(nights: _Nights, rng: random.Random) -> dict[str, Any]:
    documents = nights.documents
    nights.write(documents)
    first, first_s = nights.run()
    chunks = nights.table(first, "chunks").filter(pl.col("duplicate_of").is_null())
    figures: dict[str, Any] = {
        "documents": len(documents),
        "chunks": chunks.height,
        "first_night": _of_night("first night", first, first_s),
    }
    with _night(nights, figures, "unchanged") as summary:
        figures["unchanged_generated"], figures["unchanged_s"] = summary.units, figures["unchanged"]["seconds"]

    edited, touched = _edit(documents, chunks, rng)
    nights.write(edited)
    with _night(nights, figures, "edited") as summary:
        again = nights.table(summary, "pairs").filter(~pl.col("reused"))["chunk_key"].n_unique()
        figures["edited"] |= {"old_chunks_with_an_edit": touched, "chunks_asked_again": again}
        figures["regenerated_over_edited"] = round(again / touched, 3)

    # Back to the old text: what vanished for a night is not in the index any more, unless its unit's name still is.
    nights.write(documents)
    with _night(nights, figures, "edits_taken_back"):
        pass
    shuffled = list(documents.items())
    rng.shuffle(shuffled)
    nights.write(dict(shuffled), num_files=8, name="other")
    with _night(nights, figures, "other_names_order_and_shards"):
        pass
    with _night(nights, figures, "filter_threshold", filter={"threshold": 0.35}) as summary:
        again = nights.table(summary, "pairs").filter(~pl.col("reused"))["chunk_key"].n_unique()
        figures["filter_threshold"]["chunks_asked_again"] = again
        figures["filter_threshold"] |= _changed_texts(chunks, nights.table(summary, "chunks"))

    with _night(nights, figures, "filter_taken_back"):
        pass
    gone, renamed, *_ = rng.sample(sorted(documents), 3)
    _one_document_each(nights, figures, dict(documents), gone, renamed)
    figures["violations"] = verify(Folder.at(str(nights.folder / "out"))).num_violations.total()
    return figures


def _one_document_each(
    nights: _Nights, figures: dict[str, Any], documents: dict[str, dict[str, str]], gone: str, renamed: str
) -> None:
    removed = documents.pop(gone)
    nights.write(documents)
    with _night(nights, figures, "document_deleted"):
        pass
    documents["new"] = {"id": "new", "title": "", "text": removed["text"].replace("the ", "that ")}
    nights.write(documents)
    with _night(nights, figures, "document_added"):
        pass
    documents["under another id"] = documents.pop(renamed) | {"id": "under another id"}
    nights.write(documents)
    with _night(nights, figures, "document_renamed"):
        pass


@contextmanager
def _night(nights: _Nights, figures: dict[str, Any], name: str, **sections: Any) -> Iterator[RunSummary]:
    summary, seconds = nights.run(**sections)
    figures[name] = _of_night(name, summary, seconds)
    yield summary


def _of_night(name: str, summary: RunSummary, seconds: float) -> dict[str, Any]:
    print(f"{name}: {summary.asked:,} targets asked in {seconds:.1f} s", file=sys.stderr, flush=True)
    return {
        "seconds": round(seconds, 2),
        "units": summary.units,
        "pairs_reused": summary.reused,
        "targets_asked": summary.asked,
    }


def _edit(
    documents: dict[str, dict[str, str]], chunks: pl.DataFrame, rng: random.Random
) -> tuple[dict[str, dict[str, str]], int]:
    """Put a word into 1 % of the sentences of 10 % of the documents (at least one of each); also return the number of
    chunks with targets that hold such a sentence."""
    edited = dict(documents)
    touched = 0
    doc_ids = sorted(set(chunks.filter(pl.col("targets").list.len() > 0)["doc_id"]))
    for doc_id in rng.sample(doc_ids, max(1, round(len(doc_ids) * _EDITED_DOCUMENTS))):
        rows = chunks.filter(pl.col("doc_id") == doc_id).sort("start").to_dicts()
        sentences = [(row["chunk_id"], span) for row in rows if row["targets"] for span in row["sentences"]]
        chosen = rng.sample(sentences, max(1, round(len(sentences) * _EDITED_SENTENCES)))
        touched += len({chunk_id for chunk_id, _ in chosen})
        text = documents[doc_id]["text"]
        for _, span in sorted(chosen, key=lambda item: item[1]["start"], reverse=True):
            text = text[: span["start"]] + _with_a_word(text[span["start"] : span["end"]], rng) + text[span["end"] :]
        edited[doc_id] = documents[doc_id] | {"text": text}
    return edited, touched


def _with_a_word(sentence: str, rng: random.Random) -> str:
    words = sentence.split(" ")
    words.insert(rng.randrange(1, len(words) + 1) if len(words) > 1 else 0, "verily")
    return " ".join(words)


def _changed_texts(before: pl.DataFrame, after: pl.DataFrame) -> dict[str, int]:
    """Count the chunks whose text, spans removed, is another one than before, by comparing the texts themselves."""

    def cleaned(frame: pl.DataFrame) -> pl.DataFrame:
        published = frame.filter(pl.col("duplicate_of").is_null())
        text = pl.concat_str("title", pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars(), separator="\n")
        return published.filter(pl.col("targets").list.len() > 0).select("chunk_id", text.alias("text"))

    both = cleaned(after).join(cleaned(before), on="chunk_id", how="left", suffix="_before")
    return {"chunks_with_other_text": both.filter(pl.col("text").ne_missing(pl.col("text_before"))).height}


def _epochs(nights: _Nights) -> dict[str, Any]:
    """Ask on and on; exact is 1 if every eligible sentence was asked once and the next night asked nothing.

    Chunks of one text in two units are asked in both, since units do not know of each other within a night; one of them
    is published.
    """
    nights.write(nights.documents)
    asked: list[int] = []
    summary, seconds = nights.run()
    asked.append(_of_night("epoch 0", summary, seconds)["targets_asked"])
    while summary.manifest is not None and not summary.manifest["exhausted"] and len(asked) < _MAX_EPOCHS:
        summary, seconds = nights.run()
        asked.append(_of_night(f"epoch {len(asked)}", summary, seconds)["targets_asked"])
    after, _ = nights.run()
    assert summary.manifest is not None and after.manifest is not None
    coverage = summary.manifest["coverage"]
    chunks = nights.table(summary, "chunks")
    every = chunks.select("chunk_id", "unit_id", "targets").explode("targets").drop_nulls("targets").unnest("targets")
    exact = (
        sum(asked) == every.select("unit_id", "pair_id").n_unique() and coverage["targeted"] == coverage["eligible"]
        and every.select("chunk_id", "sentence").is_unique().all() and after.asked == 0 and after.manifest["exhausted"]
    )  # fmt: skip
    return {
        "exact": int(exact),
        "asked_by_night": " ".join(map(str, asked)),
        "eligible": coverage["eligible"],
        "asked_in_two_units": sum(asked) - every["pair_id"].n_unique(),
        "asked_after_exhausted": after.asked,
        "exhausted_chunks": coverage["exhausted_chunks"],
    }
