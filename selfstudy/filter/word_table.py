"""A table of words in which text is looked up: whole words, stems (`begin*`), and terms of languages without spaces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

UNSPACED = r"\u3040-\u30ff\u3400-\u9fff"
_UNSPACED_CHAR = re.compile(f"[{UNSPACED}]")
_SPACED_CHARS = re.compile(f"[^{UNSPACED}]+")
# Written together with the word behind it: French and Italian elisions; in Arabic the article and short words.
_JOINED = re.compile(r"(?:[cdjlmnst]|(?:jus|lors|puis)?qu|(?:a|da|de|ne|su)ll|un)'(?=\w\w)|(?:ال|[وفبلك])(?=\w{3})")
_SHORTEST_STEM = 2
Value = TypeVar("Value")


class WordTable(Generic[Value]):
    """`values` of words, of stems (with `*` at the end) and of Chinese and Japanese terms."""

    def __init__(self, values: Mapping[str, Value]) -> None:
        self._words: dict[str, Value] = {}
        self._stems: dict[str, Value] = {}
        self._terms: dict[str, Value] = {}
        for word, value in values.items():
            kind = self._terms if has_unspaced(word) else self._stems if word.endswith("*") else self._words
            kind[word.rstrip("*")] = value
        self._longest_stem = max(map(len, self._stems), default=0)
        self._longest_term = max(map(len, self._terms), default=0)

    def find(self, word: str) -> Value | None:
        """Return the value of a word, of its longest stem, or of what stands behind a word that is joined to it."""
        if (value := self._words.get(word)) is not None:
            return value
        for length in range(min(len(word), self._longest_stem), _SHORTEST_STEM - 1, -1):
            if (value := self._stems.get(word[:length])) is not None:
                return value
        joined = _JOINED.match(word)
        return self.find(word[joined.end() :]) if joined else None

    def terms(self, run: str) -> Iterator[tuple[str, Value | None]]:
        """Yield the terms of a run without spaces, each the longest from its place on, with their values. A character
        that begins none stands alone without one; a word of another script is looked up as such."""
        start = 0
        while start < len(run):
            end, value = self._term_at(run, start)
            yield run[start:end], value
            start = end

    def _term_at(self, run: str, start: int) -> tuple[int, Value | None]:
        for end in range(min(len(run), start + self._longest_term), start, -1):
            if (value := self._terms.get(run[start:end])) is not None:
                return end, value
        if spaced := _SPACED_CHARS.match(run, start):
            return spaced.end(), self.find(spaced[0])
        return start + 1, None


def has_unspaced(word: str) -> bool:
    """Return whether a word holds characters of languages that write without spaces between words."""
    return _UNSPACED_CHAR.search(word) is not None
