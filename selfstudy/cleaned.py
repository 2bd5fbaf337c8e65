"""A chunk as models see it: without what the filter lifted.

`blank` keeps offsets (removed spans become spaces; that is what is published), `clean` closes the gaps
(that is what is asked about). Equal clean chunks have equal keys, whatever was removed from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selfstudy.ids import content_hash
from selfstudy.reasons import Ineligible
from selfstudy.records import Chunk, Sentence


@dataclass(frozen=True, slots=True)
class CleanChunk:
    """`text` without removed spans; `spans[i]` is where sentence i stands in it, None if it was removed."""

    text: str
    spans: tuple[tuple[int, int] | None, ...]


def removed_runs(sentences: Sequence[Sentence]) -> list[tuple[int, int]]:
    """Return [start, end) of each run of neighbouring removed sentences, in document offsets."""
    runs: list[tuple[int, int]] = []
    previous_removed = False
    for sentence in sentences:
        removed = sentence.reason is Ineligible.REMOVED
        if removed and previous_removed:
            runs[-1] = (runs[-1][0], sentence.end)
        elif removed:
            runs.append((sentence.start, sentence.end))
        previous_removed = removed
    return runs


def blank(chunk: Chunk) -> str:
    """Return the chunk's text with removed spans overwritten by as many spaces: every offset stays exact."""
    pieces: list[str] = []
    position = chunk.start
    for start, end in removed_runs(chunk.sentences):
        pieces.append(chunk.text[position - chunk.start : start - chunk.start])
        pieces.append(" " * (end - start))
        position = end
    pieces.append(chunk.text[position - chunk.start :])
    return "".join(pieces)


def clean(text: str, start: int, sentences: Sequence[Sentence]) -> CleanChunk:
    """Close the gaps of a chunk that begins at `start` of its document. `text` may be blanked already.

    A removed sentence goes together with the white space before it.
    """
    pieces: list[str] = []
    spans: list[tuple[int, int] | None] = []
    length = 0
    previous_end = 0
    for sentence in sentences:
        first, last = sentence.start - start, sentence.end - start
        if sentence.reason is Ineligible.REMOVED:
            spans.append(None)
        else:
            gap = text[previous_end:first] if length else ""
            pieces += (gap, text[first:last])
            spans.append((length + len(gap), length + len(gap) + last - first))
            length += len(gap) + last - first
        previous_end = last
    return CleanChunk("".join(pieces), tuple(spans))


def chunk_key_of(title: str, cleaned: CleanChunk, sentences: Sequence[Sentence], ask: str) -> str:
    """Hash what generation and sampling see; `ask` is the hash of the recipe's ask part."""
    eligible = [
        span for span, sentence in zip(cleaned.spans, sentences, strict=True) if span is not None and sentence.eligible
    ]
    return content_hash("chunk_key", title, cleaned.text, eligible, ask)
