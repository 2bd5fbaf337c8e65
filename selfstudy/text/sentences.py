"""Normalised text -> sentences with exact code-point offsets, tiling all that is not white space.

sentencex finds the boundaries inside a paragraph. Around it stands what it leaves open: which newlines end a
sentence (a heading, a list item, a table row, a line of code) and which only wrap a line; literal HTML
comments as spans of their own; and cuts in runs so long that the splitter would be quadratic.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sentencex import get_sentence_boundaries

MAX_SENTENCE_CHARS = 16_000


class Layout(StrEnum):
    """What the line or lines that a sentence stands on look like."""

    PROSE = "prose"
    HEADING = "heading"
    LIST_ITEM = "list_item"
    TABLE = "table"
    CODE = "code"
    COMMENT = "comment"


@dataclass(frozen=True, slots=True)
class Span:
    """text[start:end) is exactly the sentence: no white space at either end."""

    start: int
    end: int
    layout: Layout


_FENCE = re.compile(r"[ \t]*(```|~~~)")
_HEADING = re.compile(r"#{1,6}[ \t]|=+[^=\n]+=+[ \t]*$")
_LIST_ITEM = re.compile(r"(?:[-*+•·–▪◦]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)])[ \t]")
_TABLE_ROW = re.compile(r"[|!][ \t]*\S|\{\||\|\}|[^|\n]+(?: \| |\t[^\t\n]+\t)")
_FIELD = re.compile(r"[ \t]*[A-Za-z][\w-]{0,30}:(?:[ \t]|$)")
_RULE = re.compile(r"[ \t]*([-=_*~+.])(?:[ \t]*\1){2,}[ \t]*$")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_LINE = re.compile(r"[^\n]*\n?")
# A wrapped line is at least this long; a shorter one ends where its author ended it.
_WRAP_CHARS = 45
# sentencex breaks after these although a number follows; and it takes the "3." of a numbered line for a sentence.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:Eqs?|Figs?|Vols?|Nos?|Nrs?|Secs?|Chs?|Refs?|Tabs?|Arts?|Abs|Abb|Kap|Bd|approx|ca|pp?|cap|núm|vs)\.$",
    re.IGNORECASE,
)
_ABBREVIATION_CHARS = 12  # more than any of them with the character before it
_NUMBERING = re.compile(r"\(?\d{1,3}[.)]")


def split_sentences(text: str, language: str = "en") -> list[Span]:
    """Split a whole normalised document. Spans are in order, do not overlap and cover every other character
    than white space."""
    spans: list[Span] = []
    position = 0
    for comment in _COMMENT.finditer(text):
        spans.extend(_split_outside_comments(text, position, comment.start(), language))
        spans.extend(_stripped(text, comment.start(), comment.end(), Layout.COMMENT))
        position = comment.end()
    spans.extend(_split_outside_comments(text, position, len(text), language))
    return spans


def _split_outside_comments(text: str, start: int, end: int, language: str) -> Iterator[Span]:
    for first, last, layout in _paragraphs(text, start, end):
        if layout in (Layout.PROSE, Layout.LIST_ITEM):
            yield from _split_paragraph(text, first, last, layout, language)
        else:
            yield from _stripped(text, first, last, layout)


def _paragraphs(text: str, start: int, end: int) -> Iterator[tuple[int, int, Layout]]:
    """Yield runs of lines that belong together: wrapped prose, or a single line of anything else."""
    run_start, run_layout, previous = start, Layout.PROSE, ""
    in_code = False
    position = start
    while position < end:
        line_end = min(_LINE.match(text, position).end(), end)  # type: ignore[union-attr]
        line = text[position:line_end].rstrip()
        if _FENCE.match(line):
            in_code = not in_code
            layout, continues = Layout.CODE, False
        elif in_code:
            layout, continues = Layout.CODE, False
        else:
            layout = _layout(line.lstrip(" \t"))
            continues = layout is Layout.PROSE and _wraps(previous, run_layout, line)
        if not continues:
            if position > run_start:
                yield run_start, position, run_layout
            run_start, run_layout = position, layout
        previous = line
        position = line_end
    if end > run_start:
        yield run_start, end, run_layout


def _layout(line: str) -> Layout:
    """Judge a line without the white space at its ends."""
    if _HEADING.match(line):
        return Layout.HEADING
    if _LIST_ITEM.match(line):
        return Layout.LIST_ITEM
    if ("|" in line or "\t" in line) and _TABLE_ROW.match(line):
        return Layout.TABLE
    return Layout.PROSE


def _wraps(previous: str, layout: Layout, line: str) -> bool:
    """Whether `line` goes on with the sentence of the line before."""
    return (
        len(previous) >= _WRAP_CHARS
        and layout in (Layout.PROSE, Layout.LIST_ITEM)
        and bool(line)
        and not previous.endswith((":", "：", "  "))
        and not _FIELD.match(line)
        and not _RULE.match(line)
        and not _RULE.match(previous)
    )


def _split_paragraph(text: str, start: int, end: int, layout: Layout, language: str) -> Iterator[Span]:
    # Newlines inside a run only wrap it; replaced one for one, so that offsets hold.
    run = text[start:end].replace("\n", " ")
    position = 0
    while position < len(run):
        piece = run[position : position + MAX_SENTENCE_CHARS]
        ends = _sentence_ends(piece, language)
        if position + len(piece) < len(run) and len(ends) > 1:
            ends.pop()  # the piece's last sentence goes on in the next one
        first = 0
        for sentence_end in ends:
            yield from _stripped(text, start + position + first, start + position + sentence_end, layout)
            first = sentence_end
        position += first


def _sentence_ends(piece: str, language: str) -> list[int]:
    """Return the end of each sentence of `piece`; the last one is its length."""
    ends: list[int] = []
    first = 0
    for boundary in get_sentence_boundaries(language, piece):
        end = boundary["end_index"]
        sentence = piece[first:end].strip()
        if end < len(piece) and (
            _ABBREVIATION.search(sentence[-_ABBREVIATION_CHARS:]) or _NUMBERING.fullmatch(sentence)
        ):
            continue
        ends.append(end)
        first = end
    if first < len(piece):
        ends.append(len(piece))
    return ends


def _stripped(text: str, start: int, end: int, layout: Layout) -> Iterator[Span]:
    """Yield [start, end) without white space at its ends, in pieces of at most MAX_SENTENCE_CHARS."""
    while start < end:
        stop = min(start + MAX_SENTENCE_CHARS, end)
        piece = text[start:stop]
        if stripped := piece.strip():
            first = start + piece.index(stripped[0])
            yield Span(first, first + len(stripped), layout)
        start = stop
