"""Questions by rule and answers from the text: no weights, deterministic, for first runs, CI and as a baseline.

The question is built from the rarest phrases of the target sentence, worded for the style in the passage's
language; the answer is the target with the sentences that belong to it. It never writes a fact of its own.
"""

import re
from collections import Counter
from functools import lru_cache

from selfstudy.engines.base import Call, Completion, EngineInfo, Request
from selfstudy.engines.wordings import FUNCTION_WORDS, WORDINGS
from selfstudy.text.chunks import num_tokens_of
from selfstudy.text.language import guess_language
from selfstudy.text.sentences import split_sentences

VERSION = "1"

_MAX_PHRASE_WORDS = 5
_MAX_PHRASE_CHARS = 60
_MAX_POINTS = 4

_CHINESE_BREAK = re.compile(r"[^\w]+|[的了是在和与及对把被从到为以并而就都也会可将由其这那个们着过时上下中后前]+")
_WORD = re.compile(r"\w+(?:[-'’./]\w+)*")
_DEFINITION = re.compile(
    r"(?P<article>The |A |An )?(?P<subject>(?!(?:This|That|These|Those|It|There|Here|He|She|They|We|You|I|What|Which|"
    r"If|When|While|As|In|On|At|For|To|Each|Every|All|Some|Most|One|No|Not|Another|Both|Its|Their|His|Her)\b)"
    r"[A-Z0-9\w][^,;:()\"“”]{1,48}?) (?P<verb>is|are|was|were) (?:an? |the |one of |known as |made of )"
)
_CAUSE = re.compile(r"^(?P<effect>[^,;:]{12,160}?),? because (?!of\b)(?P<cause>.{8,200})$")
_NUMBER = re.compile(r"(?<![\w.,-])\d[\d.,]*\d|(?<![\w.,-])\d(?![\w.,-])")


class ExtractiveEngine:
    """The `Engine` protocol without a model; it needs the request's target, as no model does."""

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(model=f"extractive@{VERSION}", engine=f"extractive-{VERSION}")

    async def complete(self, request: Request) -> Completion:
        text = ask(request) if request.call is Call.QUESTION else answer(request)
        return Completion(text=text, num_completion_tokens=num_tokens_of(text))

    def num_preemptions(self) -> int:
        return 0

    async def close(self) -> None:
        pass


def ask(request: Request) -> str:
    """Word a question about the target. A second attempt asks by quoting more of it."""
    language = guess_language(request.passage)
    wording = WORDINGS.get(language, WORDINGS["en"])
    target = " ".join(request.target.split())
    if request.style == "factual":
        definition = _DEFINITION.match(target)
        if definition and wording.definition:
            article = (definition["article"] or "").lower()
            return wording.definition.format(verb=definition["verb"], subject=article + definition["subject"])
        number = _NUMBER.search(target)
        if number and len(target) <= 240:
            gapped = target[: number.start()] + "___" + target[number.end() :]
            return wording.gap.format(_strip_marks(gapped))
    if request.style == "reasoning" and wording.why:
        cause = _CAUSE.match(target)
        if cause:
            return wording.why.format(_lower_first(_strip_marks(cause["effect"])))
    phrases = key_phrases(target, request.passage, language)
    if len(phrases) >= 2:
        return wording.two[request.style].format(*phrases)
    return wording.one[request.style].format(phrases[0])


def answer(request: Request) -> str:
    """Answer from the passage: the target, and for some styles the sentences that belong to it."""
    target = _strip_marks(" ".join(request.target.split()))
    sentences = _sentences(request.passage)
    place = next((i for i, sentence in enumerate(sentences) if sentence == request.target), None)
    if place is None:
        return target
    if request.style == "structuring":
        return "\n".join(f"- {_one_line(point)}" for point in _points(request, sentences, place))
    if request.style == "reasoning" and place > 0 and _is_prose(sentences[place - 1]):
        return f"{_one_line(sentences[place - 1])} {target}"
    if request.style == "use_case" and place + 1 < len(sentences) and _is_prose(sentences[place + 1]):
        return f"{target} {_one_line(sentences[place + 1])}"
    return target


def key_phrases(target: str, passage: str, language: str) -> list[str]:
    """Return one or two phrases of the target, in its order, that are rare in the passage: what it is about."""
    if language in ("zh", "ja"):
        candidates = [part for part in _CHINESE_BREAK.split(target) if 2 <= len(part) <= 16]
    else:
        candidates = _runs_of_content_words(target, FUNCTION_WORDS.get(language, FUNCTION_WORDS["en"]))
    if not candidates:
        return [_strip_marks(target)[:_MAX_PHRASE_CHARS].rstrip()]
    counts = _word_counts(passage)

    def weight(phrase: str) -> float:
        words = _WORD.findall(phrase.lower())
        rarity = sum(1 / counts.get(word, 1) for word in words)
        return rarity + (0.5 if phrase[:1].isupper() and not target.startswith(phrase) else 0) + len(phrase) / 100

    best = sorted(dict.fromkeys(candidates), key=weight, reverse=True)[:2]
    return sorted(best, key=target.index)


def _runs_of_content_words(target: str, stop: frozenset[str]) -> list[str]:
    runs: list[tuple[int, int, int]] = []
    for word in _WORD.finditer(target):
        if word[0].lower() in stop or (len(word[0]) == 1 and not word[0].isdigit()):
            runs.append((word.end(), word.end(), 0))
        elif runs and runs[-1][2] and target[runs[-1][1] : word.start()] == " " and runs[-1][2] < _MAX_PHRASE_WORDS:
            start, _, num_words = runs[-1]
            runs[-1] = (start, word.end(), num_words + 1)
        else:
            runs.append((word.start(), word.end(), 1))
    phrases = [target[start:end] for start, end, num_words in runs if num_words]
    return [phrase for phrase in phrases if len(phrase) > 2 and not phrase.isdigit()]


@lru_cache(maxsize=64)
def _word_counts(passage: str) -> Counter[str]:
    return Counter(_WORD.findall(passage.lower()))


@lru_cache(maxsize=64)
def _sentences(passage: str) -> list[str]:
    return [passage[span.start : span.end] for span in split_sentences(passage)]


def _points(request: Request, sentences: list[str], place: int) -> list[str]:
    words = {
        word
        for phrase in key_phrases(request.target, request.passage, guess_language(request.passage))
        for word in _WORD.findall(phrase.lower())
        if len(word) > 3
    }
    related = [
        index
        for index, sentence in enumerate(sentences)
        if index != place and _is_prose(sentence) and words & set(_WORD.findall(sentence.lower()))
    ]
    nearest = sorted(related, key=lambda index: abs(index - place))[: _MAX_POINTS - 1]
    return [sentences[index] for index in sorted([place, *nearest])]


def _is_prose(sentence: str) -> bool:
    return len(sentence) >= 24 and sentence.rstrip("\"'”’»)").endswith((".", "!", "。", "！"))


def _one_line(sentence: str) -> str:
    return _strip_marks(" ".join(sentence.split()))


def _strip_marks(text: str) -> str:
    """Drop the list, quote or number mark that a sentence begins with."""
    return re.sub(r"^(?:[-*+•>]|\(?\d{1,3}[.)])\s+", "", text)


def _lower_first(text: str) -> str:
    head = text.split(" ", 1)[0]
    return text[:1].lower() + text[1:] if head.lower() in FUNCTION_WORDS["en"] and head != "I" else text
