"""Folded texts -> hashed features, for a whole batch at once.

Two groups. Words: single words and pairs of neighbours (each Chinese or Japanese character is a word). Parts (see
`lexicon`): single parts, the first one, and ordered pairs and triples within a few parts of each other, which is
what carries over from one wording or language to another. A feature is an index below NUM_FEATURES and counts
once per span.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.lexicon import Lexicon, default_lexicon
from selfstudy.filter.remembered import Remembered

FEATURES_VERSION = 4
NUM_FEATURES = 1 << 19
MAX_WORDS = 200
_PAIR_REACH = 6
_TRIPLE_REACH = 4
_FIRST_PART = 200
# Stands before the first word and after the last, so that pairs tell where a text begins.
_BORDER = 1 << 33
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+|[^\w\s]|_")
_MULTIPLIERS = [np.uint64(odd) for odd in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)]
_PART_SPACE = np.uint64(1 << 40)
Indices = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Features:
    """Span i has indices[borders[i]:borders[i + 1]], sorted, each once."""

    indices: Indices
    borders: Indices

    @property
    def counts(self) -> Indices:
        return np.diff(self.borders)


class Featurizer:
    """The features depend on the texts and the lexicon alone."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self._lexicon = lexicon or default_lexicon()
        self._hashes = Remembered(_hash_of_word)

    def words_and_parts(self, folded: Sequence[str]) -> tuple[Features, Features]:
        """Return both groups of features of folded texts."""
        words, span_of_word = _flat([self._words(text) for text in folded])
        parts, span_of_part = _flat([_with_first(self._lexicon.parts_of(text)) for text in folded])
        parts = parts + _PART_SPACE
        pairs = [(0, reach) for reach in range(1, _PAIR_REACH + 1)]
        triples = [(0, one, two) for two in range(2, _TRIPLE_REACH + 1) for one in range(1, two)]
        return (
            _distinct(len(folded), [_hashed(words, span_of_word, offsets) for offsets in ((0,), (0, 1))]),
            _distinct(len(folded), [_hashed(parts, span_of_part, offsets) for offsets in ((0,), *pairs, *triples)]),
        )

    def _words(self, folded: str) -> list[int]:
        return [_BORDER, *map(self._hashes.__getitem__, WORD.findall(folded)[:MAX_WORDS]), _BORDER]


def _hash_of_word(word: str) -> int:
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


def _with_first(parts: list[int]) -> list[int]:
    # A part at the beginning says more than the same part later on.
    return [_FIRST_PART + parts[0], *parts] if parts else parts


def _flat(rows: Sequence[Sequence[int]]) -> tuple[Hashes, Indices]:
    lengths = np.fromiter((len(row) for row in rows), dtype=np.int64, count=len(rows))
    ids = np.fromiter(chain.from_iterable(rows), dtype=np.uint64, count=int(lengths.sum()))
    return ids, np.repeat(np.arange(len(rows), dtype=np.int64), lengths)


def _hashed(ids: Hashes, span_of: Indices, offsets: tuple[int, ...]) -> Hashes:
    """Return span * NUM_FEATURES + feature of the ids at `offsets` from every position inside one span.

    How far apart the ids are does not enter the feature, only their order.
    """
    num_windows = len(ids) - offsets[-1]
    if num_windows <= 0:
        return np.zeros(0, dtype=np.uint64)
    inside = span_of[:num_windows] == span_of[offsets[-1] :]
    mixed = np.full(num_windows, len(offsets), dtype=np.uint64)
    for multiplier, offset in zip(_MULTIPLIERS, offsets, strict=False):
        mixed = (mixed ^ (ids[offset : offset + num_windows] + np.uint64(1))) * multiplier
        mixed ^= mixed >> np.uint64(29)
    spans = span_of[:num_windows][inside].astype(np.uint64)
    keys: Hashes = spans * np.uint64(NUM_FEATURES) + mixed[inside] % np.uint64(NUM_FEATURES)
    return keys


def _distinct(num_spans: int, hashed: Iterable[Hashes]) -> Features:
    keys = np.sort(np.concatenate(list(hashed)))
    # np.unique takes twice as long.
    keys = keys[np.diff(keys, prepend=np.uint64(2**64 - 1)) != 0]
    firsts = np.arange(num_spans + 1, dtype=np.uint64) * np.uint64(NUM_FEATURES)
    borders = np.searchsorted(keys, firsts).astype(np.int64)
    return Features((keys % np.uint64(NUM_FEATURES)).astype(np.int64), borders)
