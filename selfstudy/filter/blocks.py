"""Chunk text -> its blocks: where a person would say that one thing ends and another begins.

A block is what an instruction hides in as a whole: a comment, a fence, a chat turn, a quote, a list item, a
paragraph. Blocks are in order, do not overlap and cover all lines that are not blank. A chunk may start inside
a fence: a first fence line that cannot open one (nothing after the ticks, odd count) closes it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from selfstudy.filter.judge import BlockKind


@dataclass(frozen=True, slots=True)
class Block:
    """text[start:end) of the chunk."""

    start: int
    end: int
    kind: BlockKind


_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_LINE = re.compile(r"[^\n]*\n?")
_FENCE = re.compile(r"[ \t]*(```+|~~~+)[ \t]*([^\n`]*)")
_HEADING = re.compile(r"[ \t]*(?:#{1,6}[ \t]|=+[^=\n]+=+[ \t]*$)")
_QUOTE = re.compile(r"[ \t]*>")
_LIST = re.compile(r"[ \t]*(?:[-*+•·–▪◦]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)])[ \t]")
_TABLE = re.compile(r"[ \t]*(?:[|!][ \t]*\S|\{\||[^|\n]+ \| )")
# A line that begins like the next speaker's: "[09:18] ", "2024-05-01 ...", "Dana (customer): ".
_SPEAKER = re.compile(
    r"[ \t]*(?:\[?\d{1,2}:\d\d(?::\d\d)?\]?[ \t]|\[?\d{4}-\d\d-\d\d\b|"
    r"[^\W\d_][\w.'-]{0,20}(?: [\w.'-]{1,20}){0,2}(?: \([^()\n]{1,20}\))?: )"
)
_ROLES = (
    r"system|assistant|user|human|ai|bot|developer|model|chatgpt|gpt|claude|gemini|llm|instructions?|"
    r"system[ _-]?(?:prompt|message|note|notice)|response|answer|output|input|task|"
    r"系统|助手|用户|システム|アシスタント|ユーザー|система|ассистент|пользователь|النظام|المساعد|المستخدم|"
    r"système|utilisateur|sistema|usuario|asistente|benutzer|nutzer|assistent"
)
TURN_LABEL = re.compile(
    rf"""[ \t>*_#-]*(?:
        <\|\s*(?:im_start|im_end|system|user|assistant|start_header_id|end_header_id|eot_id|endoftext|begin_of_text)
        [^|\n]{{0,20}}\|>
      | \[/?(?:INST|SYS|SYSTEM|ASSISTANT|USER)\] | <</?SYS>> | </?s>\s*\[INST\]
      | <(?:start_of_turn|end_of_turn)>
      | \#{{2,4}}\s*(?:{_ROLES})\s*:?\s*$
      | </?(?:system|assistant|user|instructions?|system[_-]?prompt|admin)>
      | [\[({{]\s*(?:{_ROLES})\s*[\])}}]\s*:?
      | \*{{0,2}}(?:{_ROLES})\*{{0,2}}\s*[:：]
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def find_blocks(text: str) -> list[Block]:
    """Return the blocks of a chunk."""
    blocks: list[Block] = []
    position = 0
    if "<!--" in text:
        for comment in _COMMENT.finditer(text):
            blocks.extend(_line_blocks(text, position, comment.start()))
            blocks.append(Block(comment.start(), comment.end(), BlockKind.COMMENT))
            position = comment.end()
    blocks.extend(_line_blocks(text, position, len(text)))
    return blocks


def _line_blocks(text: str, start: int, end: int) -> Iterator[Block]:
    """Group the lines of text[start:end) into blocks."""
    lines = list(_lines(text, start, end))
    in_fence = _starts_in_fence(text, lines)
    current: BlockKind | None = BlockKind.FENCE if in_fence else None
    first, last = start, start
    for line_start, line_end in lines:
        line = text[line_start:line_end]
        is_fence_mark = line.lstrip().startswith(("```", "~~~"))
        kind = BlockKind.FENCE if in_fence or is_fence_mark else _kind(line, current)
        opens = _opens_block(kind, current, is_fence_mark and not in_fence, line)
        if opens and current is not None and last > first:
            yield Block(first, last, current)
        if opens:
            first = line_start
        current = kind
        if kind is not None:
            last = line_end
        if is_fence_mark:
            in_fence = not in_fence
            if not in_fence:
                yield Block(first, last, BlockKind.FENCE)
                current, first = None, line_end
    if current is not None and last > first:
        yield Block(first, last, current)


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        after = text.find("\n", start, end)
        after = end if after < 0 else after + 1
        yield start, after
        start = after


def _starts_in_fence(text: str, lines: list[tuple[int, int]]) -> bool:
    if "```" not in text and "~~~" not in text:
        return False
    marks = [match for start, end in lines if (match := _FENCE.match(text, start, end))]
    if not marks or marks[0][2].strip():
        return False
    # Bare ticks that come first close a fence if that makes the marks after them pair up.
    return len(marks) % 2 == 1 or any(mark[2].strip() for mark in marks[1::2])


def _kind(line: str, current: BlockKind | None) -> BlockKind | None:
    """Return the kind of a line outside fences and comments; None for a blank one."""
    if not line.strip():
        return None
    if TURN_LABEL.match(line):
        return BlockKind.TURN
    if current is BlockKind.TURN and not _SPEAKER.match(line):
        return BlockKind.TURN
    if _HEADING.match(line):
        return BlockKind.HEADING
    if _QUOTE.match(line):
        return BlockKind.QUOTE
    if _LIST.match(line):
        return BlockKind.LIST
    if "|" in line and _TABLE.match(line):
        return BlockKind.TABLE
    # A line below a list item or inside a quote that starts nothing of its own goes on with it.
    return current if current in (BlockKind.LIST, BlockKind.QUOTE) else BlockKind.PARAGRAPH


def _opens_block(kind: BlockKind | None, current: BlockKind | None, opens_fence: bool, line: str) -> bool:
    if kind is None or kind is not current or opens_fence:
        return True
    if kind is BlockKind.TURN:
        return bool(TURN_LABEL.match(line))
    if kind is BlockKind.LIST:
        return bool(_LIST.match(line))
    if kind is BlockKind.PARAGRAPH:
        return bool(_SPEAKER.match(line))
    return kind in (BlockKind.HEADING, BlockKind.TABLE)
