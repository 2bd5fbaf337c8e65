"""Folded text -> token ids of a word-piece vocabulary (the uncased one of BERT), without a tokenizer library.

Words are split into the longest pieces that the vocabulary has, from the left; Chinese characters stand alone.
A word that cannot be spelled with the vocabulary gets one of a fixed number of hashed ids after it, so that
different unknown words stay different.
"""

import re
import unicodedata
import zlib

NUM_HASHED_IDS = 1024
_MAX_WORD_CHARS = 40
_MAX_CACHED_WORDS = 200_000
_TOKEN = re.compile(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+|[^\w\s]|_")
_REPEATED = re.compile(r"(\W)\1{3,}")


class WordPiece:
    """`vocabulary` lists the pieces by id; those that go on with a word start with ##."""

    def __init__(self, vocabulary: list[str]) -> None:
        self.ids = {piece: index for index, piece in enumerate(vocabulary)}
        self.size = len(vocabulary) + NUM_HASHED_IDS
        self._first_hashed = len(vocabulary)
        self._cache: dict[str, list[int]] = {}

    def encode(self, folded: str, max_tokens: int) -> list[int]:
        """Return at most `max_tokens` ids of a folded text (see `normalise.fold`)."""
        cache = self._cache
        ids: list[int] = []
        # A rule of a hundred dashes says no more than one of three.
        for token in _TOKEN.findall(_REPEATED.sub(r"\1\1\1", folded)):
            pieces = cache.get(token)
            if pieces is None:
                if len(cache) >= _MAX_CACHED_WORDS:
                    cache.clear()
                pieces = cache[token] = self._split(token)
            ids.extend(pieces)
            if len(ids) >= max_tokens:
                return ids[:max_tokens]
        return ids

    def _split(self, word: str) -> list[int]:
        if not word.isascii():
            # The vocabulary knows letters without marks only.
            word = "".join(c for c in unicodedata.normalize("NFD", word) if unicodedata.category(c) != "Mn") or word
        word = word[:_MAX_WORD_CHARS]
        pieces: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                if (found := self.ids.get(piece)) is not None:
                    pieces.append(found)
                    start = end
                    break
            else:
                return [self._first_hashed + zlib.crc32(word.encode()) % NUM_HASHED_IDS]
        return pieces
