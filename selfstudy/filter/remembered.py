"""A function of words that remembers its results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")
_MOST = 200_000


class Remembered(dict[str, Result]):
    """`of[word]` is the function's result. One that is known costs a look-up in C, and unlike functools' caches it can
    be pickled with what it belongs to. Emptied when it holds very many words, as a corpus of numbers would fill it."""

    def __init__(self, function: Callable[[str], Result]) -> None:
        super().__init__()
        self._function = function

    def __missing__(self, word: str) -> Result:
        if len(self) >= _MOST:
            self.clear()
        result = self[word] = self._function(word)
        return result
