"""One split -> its units: read, normalise, split into sentences, judge their eligibility, cut into chunks.

Deterministic, so Ray may run it again at will. Reads a corpus file and emits units whose chunks are raw: nothing
was lifted and nothing sampled yet. Rejects documents (stages read and prepare).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from selfstudy.config import Config
from selfstudy.corpus.normalise import normalise
from selfstudy.corpus.read import RawDocument, read_split, reject
from selfstudy.corpus.splits import Split, is_unchanged
from selfstudy.reasons import DocumentReject, Stage
from selfstudy.records import Chunk, Document, Reject, Unit
from selfstudy.text.chunks import chunk_document
from selfstudy.text.eligibility import judge_sentences
from selfstudy.text.sentences import split_sentences

# A unit of broken lines has no chunks to count, so its rejects are bounded as well.
_REJECTS_PER_CHUNK = 8


class SplitChangedError(RuntimeError):
    """A source is no longer what the plan saw: the rest of the split is a gap of this run."""


def prepare_split(
    split: Split, config: Config, prefix: str, committed: Collection[str] = frozenset()
) -> Iterator[Unit]:
    """Yield the units of a split in order, named from `prefix`, without those whose ids are in `committed`.

    Raises:
        SplitChangedError: a source changed since the plan was made.
        OSError: storage failed.
    """
    source_of = {source.uri: source for source in split.sources}
    for unit, touched in _UnitBuilder(split, config, prefix).units():
        if unit.unit_id in committed:
            continue
        for uri in touched:
            if not is_unchanged(source_of[uri]):
                raise SplitChangedError(f"{uri} changed while it was read")
        yield unit


def prepare_document(raw: RawDocument, config: Config) -> list[Chunk] | Reject:
    """Normalise and cut one document; a Reject if nothing is left of it."""
    page = normalise(raw.text, raw.text_format)
    if not page.text:
        detail = "nothing but white space and markup" if raw.text else "empty"
        return reject(DocumentReject.EMPTY_DOCUMENT, raw.source_uri, detail, stage=Stage.PREPARE, doc_id=raw.doc_id)
    document = Document(
        doc_id=raw.doc_id,
        source_uri=raw.source_uri,
        text=page.text,
        title=raw.title or page.title,
        kept=raw.kept,
        markup=tuple(page.markup),
    )
    spans = split_sentences(document.text, config.corpus.language)
    sentences = judge_sentences(document.text, spans, config.eligibility)
    return chunk_document(document, spans, sentences, config.chunks)


class _UnitBuilder:
    """Collects chunks and rejects into units. One is held back, since only the last one is named so."""

    def __init__(self, split: Split, config: Config, prefix: str) -> None:
        self.split = split
        self.config = config
        self.prefix = prefix
        self.number = 0
        self.num_documents = 0
        self.chunks: list[Chunk] = []
        self.rejects: list[Reject] = []
        self.touched: list[str] = []

    def units(self) -> Iterator[tuple[Unit, list[str]]]:
        """Yield each unit with the uris that it holds something of."""
        seen: set[str] = set()
        for item in read_split(self.split, self.config.corpus):
            result: list[Chunk] | Reject
            if item.source_uri not in self.touched[-1:]:
                self.touched.append(item.source_uri or "")
            if isinstance(item, Reject):
                result = item
            elif item.doc_id in seen:
                result = reject(
                    DocumentReject.DUPLICATE_DOCUMENT,
                    item.source_uri,
                    "another document of this split has the same id",
                    stage=Stage.PREPARE,
                    doc_id=item.doc_id,
                )
            else:
                seen.add(item.doc_id)
                result = prepare_document(item, self.config)
            yield from self._add(result)
        yield self._flush(last=True)

    def _add(self, result: list[Chunk] | Reject) -> Iterator[tuple[Unit, list[str]]]:
        per_unit = self.config.chunks.per_unit
        if isinstance(result, Reject):
            if len(self.rejects) >= per_unit * _REJECTS_PER_CHUNK:
                yield self._flush(last=False)
            self.rejects.append(result)
            self.num_documents += 1
            return
        for index, chunk in enumerate(result):
            if len(self.chunks) >= per_unit:
                yield self._flush(last=False)
            self.chunks.append(chunk)
            self.num_documents += index == 0

    def _flush(self, *, last: bool) -> tuple[Unit, list[str]]:
        unit = Unit(
            unit_id=f"{self.prefix}-{self.number:06d}" + ("-last" if last else ""),
            split_id=self.split.split_id,
            last=last,
            num_documents=self.num_documents,
            chunks=tuple(self.chunks),
            rejects=tuple(self.rejects),
        )
        touched = self.touched
        self.number += 1
        self.num_documents = 0
        self.chunks, self.rejects = [], []
        # The document at hand may go on in the next unit.
        self.touched = touched[-1:]
        return unit, touched
