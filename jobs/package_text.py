"""A package's files -> the sentences of its documents, of its stories and of its prompts.

Documents: HTML, Markdown, DocBook and plain text. Stories: what games say to their players. Prompts: strings and files
that are named so.
"""

from __future__ import annotations

import ast
import gzip
import io
import re
import tarfile
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

from selfstudy.corpus.normalise import normalise
from selfstudy.text.sentences import split_sentences

_MIN_CHARS, _MAX_CHARS = 9, 600
_MAX_FILE_CHARS = 600_000
_HTML = re.compile(r"\.(?:x?html?|page|docbook)(?:\.[a-z-]+)?(?:\.utf-?8)?(?:\.gz)?$")
_PLAIN = re.compile(r"\.(?:txt|rst|ruleset)(?:\.gz)?$")
_PASSED_OVER = re.compile(r"copyright|changelog|genindex|/search|_sources|euc|iso-?8859|koi8")
_COOKIES = re.compile(r"games/fortunes/[^./]+$")
_WRAPPED = re.compile(r"(?<=[^\n])\n(?=[^\n\s*-])")
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
# _ "said" in Wesnoth's files, _("said") and _([[said]]) in Lua.
_SAID = re.compile(r'_\s*"((?:[^"\\]|\\.|"")+)"|_\(\s*(?:"((?:[^"\\]|\\.)+)"|\[\[(.+?)\]\])', re.DOTALL)
_MARKS_OF_SAID = re.compile(r"<[^>]{1,40}>|\\n|%[sd%]")
_PROMPT = re.compile(
    r"prompt|instruction|system_message|sys_msg|persona|guideline|template|backstory|goal|role|rubric|criteria", re.I
)
_PROMPT_FILE = re.compile(
    r"(?:prompt|instruction|template|agents?/|skills?/|rules).*\.(?:md|txt|j2|jinja2?|ya?ml|toml)$"
)
_PLACEHOLDER = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_WRAPPED_PROMPT = re.compile(r"(?<=[a-z,;])\n[ \t]*(?=[a-z])")


def documents_of(archive: Path) -> Iterator[str]:
    """Yield the sentences of a Debian package's unpacked tar archive."""
    with tarfile.open(archive) as files:
        for file in files:
            content = files.extractfile(file) if file.isfile() else None
            if content is not None and not _PASSED_OVER.search(file.name.lower()):
                yield from _of_file(file.name, content.read())


def _of_file(name: str, content: bytes) -> Iterator[str]:
    lower = name.lower()
    if lower.endswith((".cfg", ".lua")):
        for match in _SAID.finditer(content.decode(errors="ignore")):
            said = next(group for group in match.groups() if group)
            yield from sentences(_MARKS_OF_SAID.sub(" ", said).replace('\\"', '"').replace('""', '"'))
        return
    is_html, is_cookies = _HTML.search(lower), _COOKIES.search(lower)
    if not (is_html or is_cookies or _PLAIN.search(lower)):
        return
    if lower.endswith(".gz"):
        content = gzip.GzipFile(fileobj=io.BytesIO(content)).read()
    text = normalise(content[:_MAX_FILE_CHARS].decode(errors="ignore"), "html" if is_html else "plain").text
    yield from sentences(text if is_html or is_cookies else _WRAPPED.sub(" ", text))


def readme_of(description: str) -> Iterator[str]:
    """Yield the sentences of a package's long description, its code left out."""
    yield from sentences(_FENCE.sub("\n\n", normalise(description, "markdown").text))


def prompts_of(wheel: Path) -> Iterator[str]:
    """Yield the sentences of a wheel's prompts."""
    with zipfile.ZipFile(wheel) as files:
        for name in files.namelist():
            lower = name.lower()
            if lower.endswith(".py"):
                texts = _prompts_in(files.read(name).decode(errors="ignore"))
            elif _PROMPT_FILE.search(lower) and "dist-info" not in lower:
                texts = iter([files.read(name).decode(errors="ignore")])
            else:
                continue
            for text in texts:
                plain = _PLACEHOLDER.sub("X", _FENCE.sub("\n\n", text))
                yield from sentences(_WRAPPED_PROMPT.sub(" ", plain))


def _prompts_in(source: str) -> Iterator[str]:
    """Yield the strings that are assigned, passed or kept under a name that says prompt."""
    try:
        with warnings.catch_warnings():
            # Others' escapes are not ours to mend.
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        # Templates of code that are no code: what is looked for in them is missed, and counted as such at the end.
        return
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name), *_], value=value):
                named = [(name, value)]
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                named = [(name, value)]
            case ast.Call(keywords=keywords):
                named = [(keyword.arg or "", keyword.value) for keyword in keywords]
            case ast.Dict(keys=keys, values=values):
                named = [
                    (key.value, value)
                    for key, value in zip(keys, values, strict=True)
                    if isinstance(key, ast.Constant) and isinstance(key.value, str)
                ]
            case _:
                continue
        yield from (text for name, value in named if _PROMPT.search(name) or name == "content" for text in _text(value))


def _text(value: ast.expr) -> Iterator[str]:
    """Yield the string that an expression spells out, whatever is called on it."""
    match value:
        case ast.Constant(value=str() as text):
            yield text
        case ast.JoinedStr(values=parts):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{x}" for part in parts)
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            yield "".join([*_text(left), *_text(right)])
        case ast.Call(func=ast.Attribute(value=called)) if texts := list(_text(called)):
            yield from texts
        case ast.Call(args=[first, *_]):
            yield from _text(first)


def sentences(text: str) -> Iterator[str]:
    """Yield the sentences of a text, each on one line."""
    for span in split_sentences(text):
        sentence = " ".join(text[span.start : span.end].split())
        if _MIN_CHARS <= len(sentence) <= _MAX_CHARS:
            yield sentence
