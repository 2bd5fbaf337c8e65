"""What makes a pair a reject: pure functions over the texts, each verdict with its reason.

Not covered: whether the answer is true. A check that would need a second model belongs to the user's audit.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property

from rapidfuzz import fuzz, process

from selfstudy.config import ChecksConfig
from selfstudy.reasons import TargetReject

_WORD = re.compile(r"[^\W_]+")
_UNSPACED_RUN = re.compile("[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0e7f]+")
_STEM_CHARS = 6
# What two sentences count as sharing without evidence, so that fidelity is 1/2 where nothing speaks either way.
_PRIOR = 0.05

# Only what a model says of itself: characters of a novel and people in minutes "cannot" do things as well.
_REFUSAL = re.compile(
    r"^\s*(?:(?:i['’]?m |i am )?sorry,? (?:but |i )|as an ai\b|as a (?:large )?language model"
    r"|(?:unfortunately,? )?i (?:can(?:no|')t|can’t|cannot|won['’]t|am unable to|am not able to) "
    r"(?:help|assist|answer|provide|comply|fulfil|discuss|create|generate|continue|do that|share)"
    r"|es tut mir leid, aber ich|ich kann (?:diese|ihnen) .{0,40}nicht (?:beantworten|helfen)"
    r"|(?:je suis )?désolé, (?:mais )?je ne peux|je ne peux pas (?:répondre|vous aider)"
    r"|lo siento, (?:pero )?no puedo|no puedo (?:responder|ayudar)|(?:抱歉|对不起)，我(?:无法|不能)|我无法(?:回答|提供)"
    r"|作为(?:一个|一名)?(?:人工智能|语言模型))",
    re.IGNORECASE,
)
_NEEDS_PASSAGE = re.compile(
    r"\b(?:in|from|according to|based on|per|by|of|to|does|do|did|is|was) (?:the|this|that|these) "
    r"(?:above |following |given |provided |preceding )?"
    r"(?:passage|text|excerpt|paragraph|context|document|article|sentence|snippet|chunk|author)s?\b"
    r"(?! (?:box|file|field|editor|of|to|from|through|for|between)\b)"
    r"|\b(?:the|this) (?:passage|excerpt|sentence|snippet|author) "
    r"(?:above|below|says?|states?|mentions?|describes?|suggests?)"
    r"|\b(?:mentioned|described|stated|given|provided|shown|listed) (?:above|below|here)\b"
    r"|\b(?:above|following|preceding)[ -](?:passage|text|excerpt|paragraph)"
    r"|\b(?:in|aus|laut|nach) (?:dem|diesem|obigen|vorliegenden|dem obigen) "
    r"(?:text|abschnitt|absatz|textausschnitt|satz|dokument)\b"
    r"|\b(?:dans|selon|d['’]après) (?:le|ce|cet|la|cette) (?:texte|passage|extrait|paragraphe|phrase|document)\b"
    r"|\b(?:en|según|de acuerdo con) (?:el|este|la|esta) (?:texto|pasaje|fragmento|párrafo|oración|frase|documento)\b"
    r"|(?:根据|在|从)(?:这|该|本|上述|以上)?(?:段|篇|个)?(?:文章|文本|段落|文中|原文|短文|句子)|上文|本文",
    re.IGNORECASE,
)


def check_question(question: str | None, finish_reason: str, config: ChecksConfig) -> TargetReject | None:
    """Judge a parsed question (None: it could not be parsed) without looking at the passage."""
    if question is None:
        return TargetReject.UNPARSABLE_QUESTION
    if not question:
        return TargetReject.EMPTY_QUESTION
    if not config.enabled:
        return None
    if finish_reason == "length":
        return TargetReject.TRUNCATED_QUESTION
    if _REFUSAL.search(question):
        return TargetReject.REFUSAL
    if _NEEDS_PASSAGE.search(question):
        return TargetReject.NEEDS_PASSAGE
    return None


def check_answer(
    answer: str | None, finish_reason: str, removed: RemovedWords, config: ChecksConfig
) -> TargetReject | None:
    """Judge a parsed answer. `removed` holds what the filter lifted from the answer's chunk."""
    if answer is None:
        return TargetReject.UNPARSABLE_ANSWER
    if not answer:
        return TargetReject.EMPTY_ANSWER
    if not config.enabled:
        return None
    if finish_reason == "length":
        return TargetReject.TRUNCATED_ANSWER
    if _REFUSAL.search(answer):
        return TargetReject.REFUSAL
    if removed.are_repeated_in(answer):
        return TargetReject.REPEATS_REMOVED
    return None


class ChunkWords:
    """The words of a chunk's sentences, to tell which of them a question is about."""

    def __init__(self, sentences: Sequence[str]) -> None:
        self._stems = [frozenset(_stems(sentence)) for sentence in sentences]

    @cached_property
    def _num_sentences_with(self) -> Counter[str]:
        return Counter(stem for stems in self._stems for stem in stems)

    def fidelity(self, question: str, target: int) -> float:
        """Return how much a question is about sentence `target` rather than about its best rival, in (0, 1).

        The overlap with a sentence is the sum over shared words of 1 / (sentences with the word). 0.5 means that
        the words do not tell, for example because the question is in another language. Four decimals.
        """
        asked = set(_stems(question))
        own = self._overlap(asked, target)
        rival = max((self._overlap(asked, other) for other in range(len(self._stems)) if other != target), default=0.0)
        return round((own + _PRIOR) / (own + rival + 2 * _PRIOR), 4)

    def _overlap(self, asked: set[str], sentence: int) -> float:
        # Summed in a fixed order: the order of a set changes from process to process, and with it the last bits.
        return sum(1 / self._num_sentences_with[stem] for stem in sorted(asked & self._stems[sentence]))


class RemovedWords:
    """Runs of words from removed spans, to recognise an answer that repeats one."""

    def __init__(self, removed: Iterable[str], num_words: int) -> None:
        self.num_words = num_words
        self._runs = {run for text in removed for run in self._runs_of(text)}

    def are_repeated_in(self, answer: str) -> bool:
        return bool(self._runs) and not self._runs.isdisjoint(self._runs_of(answer))

    def _runs_of(self, text: str) -> Iterable[tuple[str, ...]]:
        words = _words(text)
        return zip(*(words[offset:] for offset in range(self.num_words)), strict=False)


def find_duplicates(
    questions: Sequence[str], config: ChecksConfig, earlier: Sequence[str] = ()
) -> list[TargetReject | None]:
    """Return for each question of a unit, in target order, whether a kept one before it or of `earlier` says the same.

    Questions of `earlier` are not judged.
    """
    verdicts: list[TargetReject | None] = []
    kept = [normal_question(question) for question in earlier]
    seen = set(kept)
    for question in questions:
        normal = normal_question(question)
        verdict = None
        if normal in seen:
            verdict = TargetReject.DUPLICATE_QUESTION
        elif config.near_duplicate < 1 and _has_near_duplicate(normal, kept, config.near_duplicate):
            verdict = TargetReject.NEAR_DUPLICATE_QUESTION
        else:
            kept.append(normal)
            seen.add(normal)
        verdicts.append(verdict)
    return verdicts


def normal_question(question: str) -> str:
    """Case, punctuation and white space away: questions that are equal so are exact duplicates."""
    return " ".join(_WORD.findall(question.casefold()))


def _has_near_duplicate(question: str, kept: list[str], similarity: float) -> bool:
    found = process.extract(question, kept, scorer=fuzz.ratio, score_cutoff=100 * similarity, limit=None)
    # Questions that differ in a number ask different things, however alike they look.
    numbers = _numbers(question)
    return any(_numbers(other) == numbers for other, _, _ in found)


def _numbers(text: str) -> list[str]:
    return [word for word in text.split() if any(map(str.isdigit, word))]


def _words(text: str) -> list[str]:
    """Words in lower case; each character of a script without spaces is one."""
    text = text.casefold()
    if not text.isascii():
        text = _UNSPACED_RUN.sub(lambda run: " " + " ".join(run[0]) + " ", text)
    return _WORD.findall(text)


def _stems(text: str) -> Iterable[str]:
    """Beginnings of words, which most inflections leave alone; in scripts without spaces pairs of characters."""
    text = text.casefold()
    for run in _UNSPACED_RUN.findall(text) if not text.isascii() else ():
        yield from (run[index : index + 2] for index in range(max(1, len(run) - 1)))
    for word in _WORD.findall(text if text.isascii() else _UNSPACED_RUN.sub(" ", text)):
        yield word[:_STEM_CHARS]
