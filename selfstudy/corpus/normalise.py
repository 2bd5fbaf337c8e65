"""Raw text -> the normalised text that all offsets count in.

The normal form is plain text with light marks that models read well and that keep structure visible to
later stages: `# ` before headings, `- ` before list items, ` | ` between table cells, ``` around code.
What a reader of the HTML or Markdown page would not see (comments, alt texts, hidden elements, front matter)
leaves the text and is returned as `markup`, so that the filter can judge it before it is dropped.

Not covered: removal of navigation that is not marked as such, and PDF or office formats.
"""

import re
import unicodedata

from selfstudy.corpus.html import Page, html_to_text
from selfstudy.corpus.markdown import markdown_to_text

_NEWLINES = re.compile("[\r\x0b\x0c\x85\u2028\u2029]")
# Lone surrogates are no characters: nothing that stores UTF-8 takes them.
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff\ud800-\udfff]")
# Begins with a character to look for: what may stand before it is stripped, since a search would try each space.
_BLANK_RUN = re.compile(r"\n(?:[ \t]*\n){2,}")


def normalise(raw: str, text_format: str) -> Page:
    """Turn raw text of the format "plain", "markdown" or "html" into the normal form."""
    text = clean_characters(raw)
    if text_format == "html":
        page = html_to_text(text)
    elif text_format == "markdown":
        page = markdown_to_text(text)
    else:
        page = Page(text)
    # Entities decode to characters that the first pass never saw.
    page.text = _close_gaps(clean_characters(page.text)).strip()
    page.title = one_line(clean_characters(page.title))
    page.markup = [cleaned for piece in page.markup if (cleaned := clean_characters(piece).strip())]
    return page


def clean_characters(text: str) -> str:
    """NFC, one kind of newline and of space, no control characters."""
    text = _NEWLINES.sub("\n", text.replace("\r\n", "\n"))
    text = _CONTROL.sub("", text).replace("\xa0", " ")
    # Last, since a control character may stand between a letter and its accent.
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _close_gaps(text: str) -> str:
    """Leave at most one empty line between two lines."""
    *before, last = _BLANK_RUN.split(text)
    return "\n\n".join([*(part.rstrip(" \t") for part in before), last])


def one_line(text: str) -> str:
    return " ".join(text.split())
