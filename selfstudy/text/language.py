"""Which language a text is in, by its script and its most common words.

Good enough to word a question in the document's language and to know how words are counted; "en" where
nothing speaks for another language. Not an identification library: it knows the languages listed here.
"""

import re
from functools import lru_cache

_STOP_WORDS = {
    "en": "the of and to in is that for it with as was on are by this be from or which at not have",
    "de": "der die und das ist nicht ein eine den mit von zu dem des auf für im sich wird sind auch",
    "fr": "le la les des et est une dans que pour qui sur pas plus par avec au du ce sont cette",
    "es": "el la los las de que y en un una por con para se es del al como más su lo",
}
_WORDS_OF = {language: frozenset(words.split()) for language, words in _STOP_WORDS.items()}
_WORD = re.compile(r"[^\W\d_]+")
_SCRIPTS = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("ko", re.compile("[\uac00-\ud7af]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
)
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]")


@lru_cache(maxsize=4096)
def guess_language(text: str) -> str:
    """Return a two-letter code for a passage of a few sentences."""
    sample = text[:2000]
    if not sample.isascii():
        num_letters = sum(map(str.isalpha, sample))
        for language, script in _SCRIPTS:
            if len(script.findall(sample)) > 0.2 * num_letters > 0:
                return language
    words = _WORD.findall(sample.lower())
    scores = {language: sum(word in known for word in words) for language, known in _WORDS_OF.items()}
    best = max(scores, key=lambda language: scores[language])
    return best if scores[best] > scores["en"] else "en"


def count_words(text: str) -> int:
    """Count words; in scripts without spaces every two characters count as one."""
    spaced = len(text.split())
    if text.isascii():
        return spaced
    return max(spaced, len(_UNSPACED.findall(text)) // 2)
