"""Folded text -> the parts that its words play in an instruction, whatever the language.

`phrases/lexicon.yaml` lists the parts (answer, say, override, prior, machine, your ...) with their words in English and
the commonest ones elsewhere, `phrases/lexicon/*.txt` more words of one language each. Two sentences that say the same
in other words or another language have nearly the same sequence of parts.
"""

import re
from functools import cache
from importlib.resources.abc import Traversable
from itertools import chain, islice

import yaml

from selfstudy.filter.phrase_files import files_in, phrase_file
from selfstudy.filter.remembered import Remembered
from selfstudy.filter.word_table import WordTable, has_unspaced

_WORD = re.compile(r"[^\W_]+(?:['.-][^\W_]+)*|<\|")
# What the lexicon writes for a number in digits.
_ANY_NUMBER = "0"
MAX_PARTS = 160


class Lexicon:
    """Finds the parts of a text's words. Part ids count from 1, in the order of the file."""

    def __init__(self, entries: dict[str, list[str]]) -> None:
        self.names = list(entries)
        parts: dict[str, tuple[int, ...]] = {}
        for part, words in enumerate(entries.values(), 1):
            for word in words:
                # A word may have two parts; a term that is looked for in running text has one.
                if not (has_unspaced(word) and word in parts):
                    parts[word] = (*parts.get(word, ()), part)
        self._table = WordTable(parts)
        self._parts_of_word = Remembered(self._look_up)

    def parts_of(self, folded: str) -> list[int]:
        """Return the ids of the parts in order; a word may have two."""
        return list(islice(chain.from_iterable(map(self._parts_of_word.__getitem__, _WORD.findall(folded))), MAX_PARTS))

    def _look_up(self, word: str) -> tuple[int, ...]:
        if has_unspaced(word):
            return tuple(part for _, parts in self._table.terms(word) for part in parts or ())
        parts = self._table.find(word)
        if parts is None and word.isdigit():
            parts = self._table.find(_ANY_NUMBER)
        return parts or ()


@cache
def default_lexicon() -> Lexicon:
    first, *others = lexicon_files()
    entries: dict[str, list[str]] = yaml.safe_load(first.read_text(encoding="utf-8"))
    for file in others:
        for line in file.read_text(encoding="utf-8").splitlines():
            part, _, words = line.partition(": ")
            entries[part].extend(words.split())
    return Lexicon(entries)


def lexicon_files() -> list[Traversable]:
    """Return the files that the lexicon is made of, that of the parts first."""
    return [phrase_file("lexicon.yaml"), *files_in("lexicon")]
