"""A small transformer that reads what the linear model doubts: word pieces in order, in numpy alone.

It is BERT's architecture (post-norm layers, learned positions) with 4-bit weights, and a head over the mean and the
maximum of its states. To the embedding of each piece comes that of the part which its word plays in an instruction
(see `lexicon`). Long texts are read in overlapping windows, the worst of which counts. Each text is read alone, so that
its logit does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.features import WORD
from selfstudy.filter.lexicon import Lexicon, default_lexicon

MAX_PIECES = 64
STEP = 48
# Rounding keeps what another machine's arithmetic would change out of the verdict.
_DECIMALS = 2
_PER_WINDOW = 3.0
_UNKNOWN, _FIRST, _LAST = "[UNK]", "[CLS]", "[SEP]"
SPECIAL = (_UNKNOWN, _FIRST, _LAST)
_NORM_EPSILON = np.float32(1e-12)
_MAX_WORD_CHARS = 40
# 4 bits hold -7 to 7; each group of inputs has its own scale.
GROUP = 64
_MAX_CODE = 7
_SHRINKS = (1.0, 0.9, 0.8, 0.7)
_LEAST_SCALE = 1e-6
SCALES = ".scales"
_MAX_CACHED_WORDS = 100_000
# English text is made of words that the vocabulary holds whole (0.92 of them in the middle, nearly always more than
# this), German, French or Spanish text of words that it has to spell (0.5 at most in the middle).
_LEAST_KNOWN_WORDS = 0.62
Floats = NDArray[np.float32]
Tensors = Mapping[str, NDArray[np.generic]]
# (piece, part of its word, 0 for none)
Pieces = list[tuple[int, int]]


class WordPieces:
    """Splits folded text into pieces of a vocabulary, each word from its beginning by the longest piece there is."""

    def __init__(self, vocabulary: Sequence[str], lexicon: Lexicon | None = None) -> None:
        self.vocabulary = tuple(vocabulary)
        self._lexicon = lexicon or default_lexicon()
        self._id_of = {piece: index for index, piece in enumerate(self.vocabulary)}
        self._cache: dict[str, Pieces] = {}

    @property
    def num_parts(self) -> int:
        """The number of parts, with that of the words which play none."""
        return len(self._lexicon.names) + 1

    def pieces(self, folded: str) -> Pieces:
        """Return the pieces with the parts of their words, without the marks at the ends."""
        return [piece for word in WORD.findall(folded) for piece in self._of_word(word)]

    def windows(self, folded: str) -> Iterator[Pieces]:
        """Yield the pieces between their marks, in windows where there are many."""
        pieces = self.pieces(folded)
        room = MAX_PIECES - 2
        first, last = (self._id_of[_FIRST], 0), (self._id_of[_LAST], 0)
        for start in range(0, max(1, len(pieces) - room + STEP), STEP):
            yield [first, *pieces[start : start + room], last]

    def knows(self, folded: str) -> bool:
        """Return whether the text is made of words that the vocabulary holds whole, as text of its language is."""
        words = [word for word in WORD.findall(folded) if word[0].isalpha()]
        return sum(word in self._id_of for word in words) >= _LEAST_KNOWN_WORDS * len(words)

    def _of_word(self, word: str) -> Pieces:
        found = self._cache.get(word)
        if found is None:
            if len(self._cache) >= _MAX_CACHED_WORDS:
                self._cache.clear()
            part = next(iter(self._lexicon.parts_of(word)), 0)
            found = self._cache[word] = [(piece, part) for piece in self._split(word)]
        return found

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


@dataclass(frozen=True)
class Encoder:
    """`tensors` as they are stored: matrices as `quantised` makes them, with their scales, the rest in float16."""

    pieces: WordPieces
    tensors: Tensors
    num_heads: int

    def logits(self, folded: Sequence[str]) -> Floats:
        """Return one logit per folded text."""
        return np.array([self._worst(list(self.pieces.windows(text))) for text in folded], np.float32)

    def _worst(self, windows: Sequence[Pieces]) -> float:
        # n windows have n chances to be wrong, so each has to say more.
        return max(self._logit(np.array(window)) for window in windows) - _PER_WINDOW * float(np.log(len(windows)))

    @cached_property
    def _matrices(self) -> dict[str, Floats]:
        whole: dict[str, Floats] = {}
        for name, tensor in self.tensors.items():
            if name.endswith(SCALES):
                continue
            scales: NDArray[Any] | None = self.tensors.get(name + SCALES)
            packed: NDArray[Any] = tensor
            whole[name] = packed.astype(np.float32) if scales is None else restored(packed, scales)
        # Stored as the other matrices are, by inputs; read by piece.
        whole["embedding"] = np.ascontiguousarray(whole["embedding"].T)
        return whole

    @cached_property
    def _num_layers(self) -> int:
        return sum(name.endswith("attention.weight") for name in self.tensors)

    def _logit(self, pieces: NDArray[np.int64]) -> float:
        """Return the logit of one window [pieces, (piece, part)]."""
        weights = self._matrices
        words, parts = weights["embedding"][pieces[:, 0]], weights["parts"][pieces[:, 1]]
        states = self._norm("embedding", words + parts + weights["positions"][: len(pieces)])
        for layer in range(self._num_layers):
            states = self._layer(str(layer), states)
        read = np.concatenate([states.mean(axis=0), states.max(axis=0)])
        return round(float(read @ weights["head.weight"] + weights["head.bias"][0]), _DECIMALS)

    def _layer(self, name: str, states: Floats) -> Floats:
        weights = self._matrices
        num_pieces, width = states.shape
        joint = states @ weights[f"{name}.attention.weight"] + weights[f"{name}.attention.bias"]
        # [queries, keys, values] x heads x pieces x width of a head
        split = joint.reshape(num_pieces, 3, self.num_heads, -1).transpose(1, 2, 0, 3)
        attention = split[0] @ split[1].transpose(0, 2, 1) / np.float32(np.sqrt(width / self.num_heads))
        attention = np.exp(attention - attention.max(axis=-1, keepdims=True))
        attention /= attention.sum(axis=-1, keepdims=True)
        heard = (attention @ split[2]).transpose(1, 0, 2).reshape(num_pieces, width)
        states = self._norm(f"{name}.attention", states + self._affine(f"{name}.heard", heard))
        inner = _gelu(self._affine(f"{name}.inner", states))
        return self._norm(f"{name}.outer", states + self._affine(f"{name}.outer", inner))

    def _affine(self, name: str, states: Floats) -> Floats:
        return states @ self._matrices[f"{name}.weight"] + self._matrices[f"{name}.bias"]

    def _norm(self, name: str, states: Floats) -> Floats:
        centred = states - states.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + _NORM_EPSILON)
        result: Floats = centred / spread * self._matrices[f"{name}.norm.weight"] + self._matrices[f"{name}.norm.bias"]
        return result


def quantised(matrix: Floats) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Return a matrix [inputs, outputs] in 4 bits, two rows per byte, and one scale per GROUP inputs of an output."""
    groups = matrix.reshape(-1, GROUP, matrix.shape[1])
    widest = np.abs(groups).max(axis=1, keepdims=True) / _MAX_CODE
    codes = np.zeros(groups.shape, np.float32)
    scales = np.zeros(widest.shape, np.float16)
    least = np.full(widest.shape, np.inf, np.float32)
    for shrink in _SHRINKS:
        # A smaller scale cuts the largest weights off and keeps the many small ones more exactly.
        scale = np.maximum(widest * shrink, _LEAST_SCALE).astype(np.float16)
        tried = np.round(groups / scale).clip(-_MAX_CODE, _MAX_CODE)
        error = ((tried * scale - groups) ** 2).sum(axis=1, keepdims=True)
        better = error < least
        codes, scales = np.where(better, tried, codes), np.where(better, scale, scales)
        least = np.minimum(error, least)
    rows = (codes.reshape(matrix.shape) + _MAX_CODE + 1).astype(np.uint8)
    return (rows[0::2] | (rows[1::2] << 4)).astype(np.uint8), scales[:, 0]


def restored(packed: NDArray[np.uint8], scales: NDArray[np.float16]) -> Floats:
    """Return the matrix that `quantised` made these of, as far as 4 bits say."""
    rows = np.empty((2 * len(packed), packed.shape[1]), np.float32)
    rows[0::2], rows[1::2] = packed & 15, packed >> 4
    groups = (rows - np.float32(_MAX_CODE + 1)).reshape(-1, GROUP, packed.shape[1])
    result: Floats = (groups * scales[:, None].astype(np.float32)).reshape(rows.shape)
    return result


def _gelu(x: Floats) -> Floats:
    result: Floats = 0.5 * x * (1 + np.tanh(np.float32(0.7978845608) * (x + np.float32(0.044715) * x * x * x)))
    return result
