"""Sentences -> chunks whose borders the content decides.

Within the window between min and max tokens the border goes to the best place: before a heading, then at a
paragraph's end, then anywhere; among equals the sentence with the lowest hash wins. A change in one sentence
therefore moves the borders next to it at most, and what follows falls back into step.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

from selfstudy.config import ChunksConfig
from selfstudy.ids import content_hash
from selfstudy.reasons import Ineligible
from selfstudy.records import Chunk, Document, Sentence
from selfstudy.text.sentences import Layout, Span

BYTES_PER_TOKEN = 4


def num_tokens_of(text: str) -> int:
    """Estimate tokens as ceil(UTF-8 bytes / 4), for every engine, so that borders do not move with the model."""
    num_bytes = len(text) if text.isascii() else len(text.encode())
    return -(-num_bytes // BYTES_PER_TOKEN)


def chunk_document(
    document: Document, spans: Sequence[Span], sentences: Sequence[Sentence], config: ChunksConfig
) -> list[Chunk]:
    """Cut a normalised document with the `spans` and `sentences` (same length) found in it.

    Every sentence is in exactly one chunk. One that is over the budget alone is a chunk without targets.
    """
    borders = [0, *find_borders(document.text, spans, config)]
    occurrences: dict[str, int] = {}
    chunks: list[Chunk] = []
    for first, after in pairwise(borders):
        start, end = spans[first].start, spans[after - 1].end
        text = document.text[start:end]
        num_tokens = num_tokens_of(text)
        inside = tuple(sentences[first:after])
        if num_tokens > config.max_tokens:
            inside = tuple(
                Sentence(sentence.start, sentence.end, sentence.reason or Ineligible.OVERSIZED_CHUNK)
                for sentence in inside
            )
        occurrence = occurrences[text] = occurrences.get(text, -1) + 1
        chunks.append(
            Chunk(
                chunk_id=chunk_id_of(document.doc_id, text, occurrence),
                doc_id=document.doc_id,
                source_uri=document.source_uri,
                title=document.title,
                text=text,
                start=start,
                sentences=inside,
                num_tokens=num_tokens,
                kept=document.kept,
                # What the page hid is judged once, with the document's first chunk.
                markup=() if chunks else document.markup,
            )
        )
    return chunks


def chunk_id_of(doc_id: str, text: str, occurrence: int) -> str:
    """Name a chunk by its document, its normalised text and how often that text came before in the document."""
    return content_hash("chunk", doc_id, text, occurrence)


def find_borders(text: str, spans: Sequence[Span], config: ChunksConfig) -> list[int]:
    """Return the index after the last sentence of each chunk, ascending; the last one is len(spans)."""
    ends = _byte_ends(text, spans)
    starts = [end - size for end, size in zip(ends, _byte_sizes(text, spans), strict=True)]
    min_bytes, max_bytes = config.min_tokens * BYTES_PER_TOKEN, config.max_tokens * BYTES_PER_TOKEN
    borders: list[int] = []
    first = 0
    while first < len(spans):
        after = first + 1
        while after < len(spans) and ends[after] - starts[first] <= max_bytes:
            after += 1
        if after < len(spans):
            window = [border for border in range(first + 1, after + 1) if ends[border - 1] - starts[first] >= min_bytes]
            after = _best_border(text, spans, window) if window else after
        borders.append(after)
        first = after
    return borders


def _best_border(text: str, spans: Sequence[Span], window: Sequence[int]) -> int:
    """Return the border before a heading, else before a paragraph, else any; the lowest hash decides among equals."""
    kinds = {border: _border_kind(text, spans, border) for border in window}
    lowest = min(kinds.values())
    best = [border for border, kind in kinds.items() if kind == lowest]
    return min(best, key=lambda border: _hash_of(text, spans[border - 1])) if len(best) > 1 else best[0]


def _border_kind(text: str, spans: Sequence[Span], border: int) -> int:
    before, behind = spans[border - 1], spans[border]
    if behind.layout is Layout.HEADING:
        return 0
    return 1 if "\n\n" in text[before.end : behind.start] else 2


def _hash_of(text: str, span: Span) -> bytes:
    return hashlib.blake2b(text[span.start : span.end].encode(), digest_size=8).digest()


def _byte_sizes(text: str, spans: Sequence[Span]) -> list[int]:
    if text.isascii():
        return [span.end - span.start for span in spans]
    return [len(text[span.start : span.end].encode()) for span in spans]


def _byte_ends(text: str, spans: Sequence[Span]) -> list[int]:
    """Return where each sentence ends, in bytes from the document's start."""
    if text.isascii():
        return [span.end for span in spans]
    ends: list[int] = []
    position = num_bytes = 0
    for span in spans:
        num_bytes += len(text[position : span.end].encode())
        ends.append(num_bytes)
        position = span.end
    return ends
