"""Labelled spans: what the trained judge learns from and is measured on.

Reads: JSON Lines (plain or .gz) with `text`, `label` (1 instruction-like, 0 clean) and, where they are known,
`family` (what shares templates; splits go by it), `genre`, `lang`, `hard` (a clean span that a naive filter
deletes), `kind` (the block it stands in). Refuses rows without text or label, with their line number.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from selfstudy.config import ConfigError
from selfstudy.filter.judge import BlockKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One labelled span. `label` is True for an instruction to a model."""

    text: str
    label: bool
    family: str = "unknown"
    genre: str = "unknown"
    lang: str = "en"
    hard: bool = False
    kind: BlockKind = BlockKind.PARAGRAPH


def read_examples(path: str | Path) -> list[Example]:
    """Read a JSONL file.

    Raises:
        ConfigError: it cannot be read, or a row lacks text or label.
    """
    path = Path(path)
    examples: list[Example] = []
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    examples.append(_example(json.loads(line), f"{path}:{number}"))
    except (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {' '.join(str(error).split())}"]) from None
    return examples


def sha256_of(path: str | Path) -> str:
    """Return the hash of a file's bytes, which the model card names."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def _example(row: Any, where: str) -> Example:
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or row.get("label") not in (0, 1):
        raise ConfigError([f"{where}: expected an object with text and label (0 or 1)"])
    return Example(
        text=row["text"],
        label=bool(row["label"]),
        family=str(row.get("family") or "unknown"),
        genre=str(row.get("genre") or "unknown"),
        lang=str(row.get("lang") or "en"),
        hard=bool(row.get("hard")),
        kind=BlockKind(row["kind"]) if row.get("kind") in set(BlockKind) else BlockKind.PARAGRAPH,
    )
