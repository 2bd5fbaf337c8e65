"""Chunks made from plain text with the real splitter, so that what holds here holds in the pipeline."""

from collections.abc import Callable

import pytest

from selfstudy.records import Chunk, Sentence
from selfstudy.text.sentences import split_sentences


@pytest.fixture
def chunk_of() -> Callable[..., Chunk]:
    def make(text: str, *, title: str = "", markup: tuple[str, ...] = (), offset: int = 0) -> Chunk:
        spans = split_sentences(text)
        start, end = (spans[0].start, spans[-1].end) if spans else (0, 0)
        return Chunk(
            chunk_id="chunk",
            doc_id="document",
            source_uri="memory://document",
            title=title,
            text=text[start:end],
            start=start + offset,
            sentences=tuple(Sentence(span.start + offset, span.end + offset) for span in spans),
            num_tokens=len(text) // 4,
            markup=markup,
        )

    return make
