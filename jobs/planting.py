"""Plants instructions into raw documents at sentence, paragraph and markup borders.

A form is what stands around an instruction: nothing, blank lines, a comment, an alternative text, a code fence, a list
item, a table row, a quote. HTML gets the tags, Markdown and plain text the marks.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from selfstudy.text.sentences import split_sentences

_CHARS_PER_PLANT = 4000
_MAX_PLANTS = 40
_INLINE = [" {} ", " {} ", "\n{}\n", "\n\n{}\n\n"]
_FORMS = {
    "plain": [*_INLINE, "\n\n- {}\n\n", "\n\n> {}\n\n", "\n\n| note | {} |\n\n", "\n\n```\n{}\n```\n\n"],
    "markdown": [
        *_INLINE, "\n\n- {}\n\n", "\n\n> {}\n\n", "\n\n| note | {} |\n\n", "\n\n```\n{}\n```\n\n",
        "\n\n<!-- {} -->\n\n", "\n\n![{}](figure.png)\n\n", "\n\n## {}\n\n",
    ],
    "html": [
        "<p>{}</p>", "<p>{}</p>", "<!-- {} -->", '<img src="a.png" alt="{}">', "<pre><code>{}</code></pre>",
        "<ul><li>One.</li><li>{}</li></ul>", "<table><tr><td>1</td><td>{}</td></tr></table>",
        "<blockquote>{}</blockquote>", '<div style="display:none">{}</div>', "<span>{}</span>",
    ],
}  # fmt: skip
# An instruction that brings its own marks has to begin a line.
_OWN_MARKS = re.compile(r"[-|<#\[]|\w{1,20}[:_]|system|answer", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Planted:
    """A raw text and what was planted in it."""

    text: str
    attacks: tuple[str, ...]


def plant(text: str, text_format: str, attacks: Sequence[str], rng: random.Random) -> Planted:
    """Return the text with about one instruction per 4,000 characters."""
    borders = _borders(text, text_format)
    number = min(len(borders), max(1, min(_MAX_PLANTS, len(text) // _CHARS_PER_PLANT)))
    pieces, chosen, position = [], [], 0
    for border in sorted(rng.sample(borders, number)):
        attack = rng.choice(attacks)
        form = "\n\n{}\n\n" if _OWN_MARKS.match(attack) and text_format != "html" else rng.choice(_FORMS[text_format])
        shown = attack.replace('"', "&quot;") if 'alt="' in form else attack
        pieces += [text[position:border], form.replace("{}", shown)]
        chosen.append(attack)
        position = border
    return Planted("".join([*pieces, text[position:]]), tuple(chosen))


def _borders(text: str, text_format: str) -> list[int]:
    if text_format == "html":
        return [match.end() for match in re.finditer(r"</(?:p|h\d|ul|ol|table|blockquote|div)>", text)]
    return [span.end for span in split_sentences(text)]


def shared(attack: str, text_words: Sequence[str], text_shingles: frozenset[tuple[str, ...]]) -> float:
    """Return the share of an instruction's runs of four words that occur in a text."""
    words = words_of(attack)
    if len(words) < _SHINGLE:
        return float(all(word in text_words for word in words))
    runs = shingles(words)
    return sum(run in text_shingles for run in runs) / len(runs)


_SHINGLE = 4


def shingles(words: Sequence[str], length: int = _SHINGLE) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + length]) for start in range(len(words) - length + 1)]


def words_of(text: str) -> list[str]:
    """Return the words of a text, each Chinese or Japanese character one of them."""
    return re.findall(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+", text.lower())
