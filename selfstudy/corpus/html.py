"""HTML -> the text that a reader of the page sees, and what the page hid from the reader."""

import re
from dataclasses import dataclass, field
from typing import Any

from selectolax.lexbor import LexborHTMLParser

_SPACE_RUN = re.compile(r"[ \t\n]+")
_DROPPED_TAGS = {
    "script",
    "style",
    "noscript",
    "template",
    "svg",
    "nav",
    "iframe",
    "object",
    "head",
    "button",
}
_BLOCK_TAGS = {
    "address", "article", "aside", "blockquote", "body", "caption", "dd", "details", "dialog", "div", "dl", "dt",
    "fieldset", "figcaption", "figure", "footer", "form", "header", "hr", "html", "legend", "main", "ol", "p",
    "pre", "section", "summary", "table", "ul",
}  # fmt: skip
_LINE_TAGS = {"li", "tr", "br", "option", "tbody", "thead"}
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_HIDING_STYLE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?:\.0+)?\s*(?:;|$)|font-size\s*:\s*0",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Page:
    """What a page says: `text` for its readers, `markup` that it hid from them, `title` if it names itself."""

    text: str = ""
    title: str = ""
    markup: list[str] = field(default_factory=list)


def html_to_text(html: str) -> Page:
    """Return the visible text of a page or fragment, and what it hid."""
    parser = LexborHTMLParser(html)
    title = parser.css_first("head > title")
    page = Page(title=title.text() if title else "")
    pieces: list[str] = []
    # Comments before and after the page stand beside its root.
    node = parser.root
    while node is not None and node.prev is not None:
        node = node.prev
    while node is not None:
        _Walk(pieces, page.markup).node(node, preformatted=False)
        node = node.next
    page.text = "".join(pieces)
    return page


class _Walk:
    """Collects the text of a tree. Iterative, because broken pages nest thousands of levels deep."""

    def __init__(self, pieces: list[str], markup: list[str]) -> None:
        self.pieces = pieces
        self.markup = markup

    def node(self, root: Any, *, preformatted: bool) -> None:
        stack: list[tuple[Any, bool] | str] = [(root, preformatted)]
        while stack:
            entry = stack.pop()
            if isinstance(entry, str):
                self.mark(entry)
                continue
            node, preformatted = entry
            tag = node.tag
            if tag == "-text":
                self.text(node.text_content or "", preformatted)
            elif node.is_comment_node:
                self.markup.append(node.comment_content or "")
            elif tag not in _DROPPED_TAGS:
                before, after = self.element(node, tag)
                if before is None:
                    continue
                self.mark(before)
                if after:
                    stack.append(after)
                children = list(node.iter(include_text=True, skip_empty=False)) if tag != "img" else []
                stack.extend((child, preformatted or tag == "pre") for child in reversed(children))

    def element(self, node: Any, tag: str) -> tuple[str | None, str]:
        """Return the marks before and after an element's text; None if the element is not shown."""
        attributes = node.attributes
        alt = attributes.get("alt") or (attributes.get("title") if tag == "img" else None)
        if alt:
            self.markup.append(alt)
        if _is_hidden(attributes):
            self.markup.append(_SPACE_RUN.sub(" ", node.text(separator=" ")))
            return None, ""
        if tag in _HEADINGS:
            return "\n\n" + _HEADINGS[tag], "\n\n"
        if tag == "pre":
            return "\n\n```\n", "\n```\n\n"
        if tag == "li":
            return "\n- ", ""
        if tag in {"td", "th"}:
            return " | ", ""
        if tag in _BLOCK_TAGS:
            return "\n\n", "\n\n"
        return ("\n" if tag in _LINE_TAGS else ""), ""

    def mark(self, mark: str) -> None:
        """Add a mark without piling up blank lines or putting a cell border at the start of a row."""
        if not mark:
            return
        tail = self.pieces[-1] if self.pieces else "\n\n"
        if mark.startswith("\n"):
            while self.pieces and not (tail := self.pieces[-1]).strip(" \n"):
                self.pieces.pop()
            mark = mark if self.pieces else mark.lstrip("\n")
            # A paragraph inside a list item belongs on the item's line.
            if tail.endswith("- ") and not mark.strip():
                return
        elif mark == " | " and tail.endswith("\n"):
            return
        self.pieces.append(mark)

    def text(self, text: str, preformatted: bool) -> None:
        if not preformatted:
            text = _SPACE_RUN.sub(" ", text)
            if not self.pieces or self.pieces[-1].endswith(("\n", " ")):
                text = text.lstrip(" ")
        if text:
            self.pieces.append(text)


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or attributes.get("type") == "hidden"
        or bool(_HIDING_STYLE.search(attributes.get("style") or ""))
    )
