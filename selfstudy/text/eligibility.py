"""Which sentences may be asked about, and why the others may not.

A target must stand for one statement of the document's own: headings, code, debris of markup and fragments are
what hijacks a generator that chooses for itself. The rules are deliberately few; each has a name in `reasons`.
"""

import hashlib
import re
import string
from collections.abc import Sequence

from selfstudy.config import EligibilityConfig
from selfstudy.reasons import Ineligible
from selfstudy.records import Sentence
from selfstudy.text.language import count_words
from selfstudy.text.sentences import Layout, Span

_HTML_TAGS = (
    "a|abbr|article|b|blockquote|br|button|center|code|dd|div|dl|dt|em|font|form|h[1-6]|head|hr|html|i|iframe|img|"
    "input|label|li|link|meta|nav|nowiki|ol|option|p|pre|ref|references|s|script|section|select|small|span|strong|"
    "style|sub|sup|svg|table|tbody|td|th|thead|title|tr|u|ul|var"
)
_DEBRIS = re.compile(
    rf"</?(?:{_HTML_TAGS})\b[^<>]*>|<!--|-->|&(?:#\d+|#x[0-9a-f]+|[a-z]{{2,8}}\d?);"
    r"|\ufffd|\{\{|\}\}|\{%|%\}|\[\[|\]\]|'''|(?:\b(?:class|style|href|src|rowspan|colspan)\s*=\s*[\"'])|\{#[\w-]+",
    re.IGNORECASE,
)
# In lower case, and matched against that: ignoring case costs twice as much.
_BOILERPLATE = re.compile(
    r"©|\(c\) ?\d{4}|all rights reserved|cookie (?:policy|settings|preferences)|privacy policy|terms of (?:use|service)"
    r"|subscribe to our|sign up for|click here|read more|share (?:this|on)\b|follow us|back to top"
    r"|skip to (?:main )?content|^page \d+|\bpage \d+ of \d+|^printed on|^last (?:updated|modified)"
    r"|table of contents|^(?:previous|next) (?:page|chapter)"
    r"|alle rechte vorbehalten|^seite \d+|^impressum|tous droits réservés|^page suivante|todos los derechos reservados"
    r"|^página \d+|版权所有|保留所有权利|^第\s*\d+\s*页"
)
_FIELD = re.compile(r"[A-Za-z][\w -]{0,30}:\s+\S{1,80}$")
# The debris patterns cost more than all else here; nearly every sentence has none of their characters (nor ''').
_DEBRIS_CHARACTER = re.compile(r"[<>&{}=\[\]\ufffd]")
_BOILERPLATE_WORDS = 12
_TERMINAL = tuple(".!?…。！？؟।;:")
_CLOSING = " \"'”’»)]*_`"
# A line of code outside of a fence; prose may end in a semicolon, but not in these.
_CODE_END = re.compile(r"[{}]\s*$|\)\s*;\s*$")
_CODE_ENDINGS = ("{", "}", ";")
_ASCII_LETTERS = string.ascii_letters.encode()
_QUESTION = tuple("?？؟")
_URL = re.compile(r"https?://\S+|www\.\S+")
_STUB_WORDS = 5
_FRAGMENT_WORDS = 12
_MIN_LETTER_SHARE = 0.5


def judge_sentences(text: str, spans: Sequence[Span], config: EligibilityConfig) -> list[Sentence]:
    """Return one Sentence per span of a whole document, in order, with the reason of each ineligible one."""
    seen: set[bytes] = set()
    sentences: list[Sentence] = []
    for span in spans:
        sentence = text[span.start : span.end]
        reason = why_ineligible(sentence, span.layout, config)
        if reason is None:
            folded = " ".join(sentence.casefold().split())
            fingerprint = hashlib.blake2b(folded.encode(), digest_size=8).digest()
            reason = Ineligible.REPEAT if fingerprint in seen else None
            seen.add(fingerprint)
        sentences.append(Sentence(span.start, span.end, reason))
    return sentences


def why_ineligible(sentence: str, layout: Layout, config: EligibilityConfig) -> Ineligible | None:
    """Return the first reason that applies to a sentence on its own, or None."""
    if layout in _REASON_OF_LAYOUT:
        return _REASON_OF_LAYOUT[layout]
    if (_DEBRIS_CHARACTER.search(sentence) or "'''" in sentence) and _DEBRIS.search(sentence):
        return Ineligible.MARKUP_DEBRIS
    if sentence.rstrip()[-1:] in _CODE_ENDINGS and _CODE_END.search(sentence):
        return Ineligible.CODE
    num_letters = _count_letters(sentence)
    num_dense = len(sentence) - sentence.count(" ")
    if num_letters < _MIN_LETTER_SHARE * num_dense:
        num_digits = sum(map(str.isdigit, sentence))
        return Ineligible.NUMBERS if num_digits > num_dense - num_letters - num_digits else Ineligible.SYMBOLS
    if "/" in sentence and len(_URL.sub("", sentence)) < 0.6 * len(sentence):
        return Ineligible.SYMBOLS
    return _why_incomplete(sentence, layout, config)


def _why_incomplete(sentence: str, layout: Layout, config: EligibilityConfig) -> Ineligible | None:
    num_words = count_words(sentence)
    # A character of a script without spaces carries about as much as three letters.
    num_chars = len(sentence) if sentence.isascii() else max(len(sentence), 6 * num_words)
    if len(sentence) > config.max_chars:
        return Ineligible.TOO_LONG
    ending = sentence.rstrip(_CLOSING)
    if ending.endswith((":", "：")) or (layout is Layout.LIST_ITEM and num_words <= _STUB_WORDS):
        return Ineligible.LIST_STUB
    if num_chars < config.min_chars or num_words < config.min_words:
        return Ineligible.TOO_SHORT
    if num_words <= _BOILERPLATE_WORDS and _BOILERPLATE.search(sentence.lower()):
        return Ineligible.BOILERPLATE
    if ending.endswith(_QUESTION):
        return Ineligible.QUESTION
    if not ending.endswith(_TERMINAL) and (num_words < _FRAGMENT_WORDS or _FIELD.match(sentence)):
        return None if layout is Layout.LIST_ITEM else Ineligible.FRAGMENT
    return None


def _count_letters(sentence: str) -> int:
    if sentence.isascii():
        return len(sentence) - len(sentence.encode().translate(None, _ASCII_LETTERS))
    return sum(map(str.isalpha, sentence))


_REASON_OF_LAYOUT = {
    Layout.HEADING: Ineligible.HEADING,
    Layout.TABLE: Ineligible.TABLE_ROW,
    Layout.CODE: Ineligible.CODE,
    Layout.COMMENT: Ineligible.MARKUP_DEBRIS,
}
