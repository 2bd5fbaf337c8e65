"""Whether a sentence speaks of anything that the text around it speaks of.

What is planted in a document is seldom about it, while an order to a document's readers takes up its words. Neither is
a proof, since whoever plants a sentence can borrow words: a judge may ask for it where it doubts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

from selfstudy.filter.normalise import fold
from selfstudy.filter.word_table import UNSPACED

_WORD = re.compile(rf"[^\W\d_{UNSPACED}]{{4,}}")
_RUN = re.compile(rf"[{UNSPACED}]{{2,}}")
# Inflected forms of a word mostly begin alike.
_BEGINNING_CHARS = 5
# Common to texts on anything.
_COMMON = frozenset(
    (
        "about", "also", "because", "being", "between", "both", "each", "even", "from", "into", "just", "like", "many",
        "more", "most", "much", "over", "some", "such", "than", "that", "these", "this", "those", "there", "through",
        "very", "well", "with",
    )
)  # fmt: skip
# Of a sentence of a text at least so many words stand elsewhere in it too, as a rule.
_EXPECTED_SHARE = 0.25
# Two words that are said nowhere else are an accident, five are none.
_LEAST_WORDS = 2
_ENOUGH_WORDS = 5
# A text of fewer different words has no topic yet.
_LEAST_WORDS_AROUND = 30


def kinship(text: str, around: str) -> float:
    """Return from -1 (no word of a sentence stands elsewhere in the text `around` it) to 1 (all of them do).

    0 is what one expects, or too little to tell. Copies of the sentence are no part of what stands around it.
    """
    own = Counter(_topic_words(text))
    if len(own) <= _LEAST_WORDS:
        return 0.0
    numbers = _numbers_of_words(around)
    copies = around.count(text)
    num_elsewhere = sum(numbers[word] > copies * number for word, number in own.items())
    num_words_around = len(numbers) - sum(0 < numbers[word] <= copies * number for word, number in own.items())
    if num_words_around < _LEAST_WORDS_AROUND:
        return 0.0
    certainty = min(1.0, (len(own) - _LEAST_WORDS) / (_ENOUGH_WORDS - _LEAST_WORDS))
    surplus = num_elsewhere / len(own) - _EXPECTED_SHARE
    return certainty * surplus / (_EXPECTED_SHARE if surplus < 0 else 1 - _EXPECTED_SHARE)


# A judge asks for each sentence of a chunk in turn.
@lru_cache(maxsize=32)
def _numbers_of_words(text: str) -> Counter[str]:
    return Counter(_topic_words(text))


def _topic_words(text: str) -> Iterator[str]:
    """Yield the beginnings of a text's words, and the pairs of characters where there are no spaces."""
    folded = fold(text)
    for word in _WORD.findall(folded):
        if word not in _COMMON:
            yield word[:_BEGINNING_CHARS]
    for run in _RUN.findall(folded):
        yield from (run[start : start + 2] for start in range(len(run) - 1))
