"""Folded text -> pieces of a vocabulary, in windows that the encoder reads, with the part of each word.

BERT's way: a word is split from its beginning by the longest piece there is. Beside each piece stands the part that
its word plays in an instruction (see `lexicon`). Sentences of other languages are read in rough English (see `gloss`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from selfstudy.filter.features import WORD
from selfstudy.filter.gloss import in_english
from selfstudy.filter.lexicon import Lexicon, default_lexicon
from selfstudy.filter.remembered import Remembered

MAX_PIECES = 64
STEP = 48
_UNKNOWN, _FIRST, _LAST = "[UNK]", "[CLS]", "[SEP]"
SPECIAL = (_UNKNOWN, _FIRST, _LAST)
_MAX_WORD_CHARS = 40
# English text is made of words that the vocabulary holds whole (0.92 of them in the middle, nearly always more than
# the least), German, French or Spanish text of words that it has to spell (0.5 at most in the middle).
_LEAST_KNOWN_WORDS = 0.62
# From here on no dictionary is asked.
_SURELY_KNOWN = 0.9
_SENTENCE = re.compile(r".+?(?:[.!?]+\s+|[\u3002\n]+|$)", re.DOTALL)
# (piece, part of its word, 0 for none)
Pieces = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read of a text; `foreign` if most of it is in rough English."""

    text: str
    foreign: bool


class WordPieces:
    """Splits folded text into pieces of a vocabulary, each word from its beginning by the longest piece there is."""

    def __init__(self, vocabulary: Sequence[str], lexicon: Lexicon | None = None) -> None:
        self.vocabulary = tuple(vocabulary)
        self._lexicon = lexicon or default_lexicon()
        self._id_of = {piece: index for index, piece in enumerate(self.vocabulary)}
        self._pieces_of_word = Remembered(self._of_word)

    @property
    def num_parts(self) -> int:
        """The number of parts, with that of the words which play none."""
        return len(self._lexicon.names) + 1

    def pieces(self, folded: str) -> Pieces:
        """Return the pieces with the parts of their words, without the marks at the ends."""
        return list(chain.from_iterable(map(self._pieces_of_word.__getitem__, WORD.findall(folded))))

    def windows(self, folded: str) -> Iterator[Pieces]:
        """Yield the pieces between their marks, in windows where there are many."""
        pieces = self.pieces(folded)
        room = MAX_PIECES - 2
        first, last = (self._id_of[_FIRST], 0), (self._id_of[_LAST], 0)
        for start in range(0, max(1, len(pieces) - room + STEP), STEP):
            yield [first, *pieces[start : start + room], last]

    def reading(self, folded: str) -> Reading | None:
        """Return a text as a reader of this vocabulary can read it, each sentence as it is or in rough English,
        whichever is known better; None if most of it is neither."""
        sentences = _SENTENCE.findall(folded)
        read = [self._known_better(sentence) for sentence in sentences]
        text = folded if read == sentences else " ".join(read)
        if self.known_share(text) < _LEAST_KNOWN_WORDS:
            return None
        glossed = sum(len(before) for before, after in zip(sentences, read, strict=True) if before != after)
        return Reading(text, foreign=glossed > len(folded) / 2)

    def _known_better(self, sentence: str) -> str:
        share = self.known_share(sentence)
        if share >= _SURELY_KNOWN:
            return sentence
        english, glossed_share = in_english(sentence)
        return english if glossed_share > share else sentence

    def known_share(self, folded: str) -> float:
        """Return the share of a text's words that the vocabulary holds whole."""
        words = [word for word in WORD.findall(folded) if word[0].isalpha()]
        return sum(word in self._id_of for word in words) / len(words) if words else 1.0

    def _of_word(self, word: str) -> Pieces:
        part = next(iter(self._lexicon.parts_of(word)), 0)
        return [(piece, part) for piece in self._split(word)]

    def _split(self, word: str) -> list[int]:
        pieces: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            end = min(len(word), start + _MAX_WORD_CHARS)
            while end > start and prefix + word[start:end] not in self._id_of:
                end -= 1
            if end == start:
                return [self._id_of[_UNKNOWN]]
            pieces.append(self._id_of[prefix + word[start:end]])
            start = end
        return pieces
