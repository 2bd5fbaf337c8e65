"""Folded text -> the parts that its words play in an instruction, whatever the language.

`phrases/lexicon.yaml` lists the parts (answer, say, override, prior, machine, your ...) with their words in English and
the commonest ones elsewhere, `phrases/lexicon/*.txt` more words of one language each. Two sentences that say the same
in other words or another language have nearly the same sequence of parts.
"""

import hashlib
import re
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import chain, islice

import yaml

from selfstudy.filter.remembered import Remembered

_WORD = re.compile(r"[^\W_]+(?:['.-][^\W_]+)*|<\|")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
# Written together with the word behind it: French and Italian elisions; in Arabic the article and short words.
_JOINED = re.compile(r"(?:[cdjlmnst]|(?:jus|lors|puis)?qu|(?:a|da|de|ne|su)ll|un)'(?=\w\w)|(?:ال|[وفبلك])(?=\w{3})")
# What the lexicon writes for a number in digits.
_ANY_NUMBER = "0"
MAX_PARTS = 160


class Lexicon:
    """Finds the parts of a text's words. Part ids count from 1, in the order of the file."""

    def __init__(self, entries: dict[str, list[str]]) -> None:
        self.names = list(entries)
        self._exact: dict[str, tuple[int, ...]] = {}
        self._stems: dict[str, tuple[int, ...]] = {}
        unspaced: dict[str, int] = {}
        for part, words in enumerate(entries.values(), 1):
            for word in words:
                if _UNSPACED.search(word):
                    unspaced.setdefault(word, part)
                else:
                    target = self._stems if word.endswith("*") else self._exact
                    target[word.rstrip("*")] = (*target.get(word.rstrip("*"), ()), part)
        self._parts_of_term = unspaced
        terms = sorted(unspaced, key=len, reverse=True)
        self._terms = re.compile("|".join(map(re.escape, terms)) or r"(?!)")
        self._longest_stem = max(map(len, self._stems), default=0)
        self._parts_of_word = Remembered(self._look_up)

    def parts_of(self, folded: str) -> list[int]:
        """Return the ids of the parts in order; a word may have two."""
        return list(islice(chain.from_iterable(map(self._parts_of_word.__getitem__, _WORD.findall(folded))), MAX_PARTS))

    def _look_up(self, word: str) -> tuple[int, ...]:
        if _UNSPACED.search(word):
            return tuple(self._parts_of_term[match[0]] for match in self._terms.finditer(word))
        if exact := self._exact.get(word):
            return exact
        if word.isdigit():
            return self._exact.get(_ANY_NUMBER, ())
        for length in range(min(len(word), self._longest_stem), 1, -1):
            if stem := self._stems.get(word[:length]):
                return stem
        joined = _JOINED.match(word)
        return self._look_up(word[joined.end() :]) if joined else ()


@cache
def default_lexicon() -> Lexicon:
    first, *others = _files()
    entries: dict[str, list[str]] = yaml.safe_load(first.read_text(encoding="utf-8"))
    for file in others:
        for line in file.read_text(encoding="utf-8").splitlines():
            part, _, words = line.partition(": ")
            entries[part].extend(words.split())
    return Lexicon(entries)


def lexicon_hash() -> str:
    """Hash what a model's features are made with."""
    digest = hashlib.sha256()
    for file in _files():
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _files() -> list[Traversable]:
    phrases = resources.files("selfstudy.filter").joinpath("phrases")
    languages = sorted(phrases.joinpath("lexicon").iterdir(), key=lambda file: file.name)
    return [phrases.joinpath("lexicon.yaml"), *languages]
