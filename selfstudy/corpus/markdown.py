"""Markdown -> the text that a reader of the rendered page sees, in the light marks of `normalise`."""

import re
from functools import cache

import yaml
from markdown_it import MarkdownIt
from markdown_it.token import Token

from selfstudy.corpus.html import Page, html_to_text

# More than this is no front matter but a text between two rules.
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
# The parser drops what is nested deeper. Its own limit of 20 costs nine nested lists their text.
_MAX_NESTING = 100


def markdown_to_text(markdown: str) -> Page:
    """Return the text that a reader of the rendered page sees, with headings, lists, tables and code marked."""
    page = Page()
    front_matter = _FRONT_MATTER.match(markdown)
    if front_matter:
        markdown = markdown[front_matter.end() :]
        page.markup.append(front_matter.group(1))
        page.title = _title_of(front_matter.group(1))
    tokens = _parser().parse(markdown)
    if any(token.level >= _MAX_NESTING - 1 for token in tokens):
        page.text = markdown  # nobody writes that; as it stands, nothing of it is lost
        return page
    lines = _Lines(page.markup)
    for token in tokens:
        lines.take(token)
    page.text = "".join(lines.pieces)
    return page


@cache
def _parser() -> MarkdownIt:
    """Made once: that takes longer than a short document."""
    return MarkdownIt("commonmark", {"maxNesting": _MAX_NESTING}).enable("table")


def _title_of(front_matter: str) -> str:
    try:
        # Every value as text: building dates and numbers fails in ways of its own.
        fields = yaml.load(front_matter, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        return ""
    title = fields.get("title") if isinstance(fields, dict) else None
    return title if isinstance(title, str) else ""


class _Lines:
    """Renders Markdown tokens, block by block."""

    def __init__(self, markup: list[str]) -> None:
        self.pieces: list[str] = []
        self.markup = markup
        self.depth = 0
        self.first_cell = True

    def take(self, token: Token) -> None:
        match token.type:
            case "heading_open":
                self.pieces.append("#" * int(token.tag[1]) + " ")
            case "bullet_list_open" | "ordered_list_open":
                self.depth += 1
            case "bullet_list_close" | "ordered_list_close":
                self.depth -= 1
                if self.depth == 0:
                    self.pieces.append("\n")
            case "list_item_open":
                number = f"{token.info}. " if token.info else "- "
                self.pieces.append("  " * (self.depth - 1) + number)
            case "inline":
                self.pieces.append(self.inline(token.children or []))
            case "paragraph_close":
                self.pieces.append("\n" if self.depth and token.hidden else "\n\n")
            case "heading_close" | "table_close":
                self.pieces.append("\n\n" if token.type == "heading_close" else "\n")
            case "tr_open":
                self.first_cell = True
            case "th_open" | "td_open":
                self.pieces.append("" if self.first_cell else " | ")
                self.first_cell = False
            case "tr_close":
                self.pieces.append("\n")
            case "fence" | "code_block":
                language = token.info.split()[0] if token.info.strip() else ""
                self.pieces.append(f"```{language}\n{token.content.rstrip()}\n```\n\n")
            case "html_block":
                page = html_to_text(token.content)
                self.markup.extend(page.markup)
                if page.text.strip():
                    self.pieces.append(page.text.strip() + "\n\n")
            case _:
                pass

    def inline(self, tokens: list[Token]) -> str:
        pieces: list[str] = []
        for token in tokens:
            match token.type:
                case "text":
                    pieces.append(token.content)
                case "code_inline":
                    pieces.append(f"`{token.content}`")
                case "softbreak":
                    pieces.append(" ")
                case "hardbreak":
                    pieces.append("\n")
                case "image":
                    self.markup.append(self.inline(token.children or []))
                case "html_inline":
                    self.markup.extend(html_to_text(token.content).markup)
                    if token.content.startswith("<br"):
                        pieces.append("\n")
                case _:
                    pass
        return "".join(pieces)
