"""A function of words that remembers its results."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


class Remembered(dict[str, Result]):
    """`of[word]` is the function's result. One that is known costs a look-up in C, and unlike functools' caches it can
    be pickled with what it belongs to. Emptied when it holds `most` words, as a corpus of numbers would fill it."""

    def __init__(self, function: Callable[[str], Result], most: int = 200_000) -> None:
        super().__init__()
        self._function = function
        self._most = most

    def __missing__(self, word: str) -> Result:
        if len(self) >= self._most:
            self.clear()
        result = self[word] = self._function(word)
        return result
