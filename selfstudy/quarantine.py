"""What the filter removed from the latest snapshot, for a person to look through.

Reads: the snapshot's `removed` and `chunks`. The most doubtful spans come first: those that scored least.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from selfstudy.config import ConfigError
from selfstudy.filter.allow import span_id
from selfstudy.publish.snapshot import published_tables
from selfstudy.store.filesystem import Folder
from selfstudy.store.snapshots import latest_manifest

_CONTEXT_CHARS = 120
_SHOWN_CHARS = 600


@dataclass(frozen=True, slots=True)
class RemovedView:
    """A removed span between the text `before` and `after` it; `id` is what `filter.allow` takes."""

    id: str
    score: float
    judge: str
    field: str
    doc_id: str
    source_uri: str
    chunk_id: str
    start: int | None
    end: int | None
    text: str
    before: str
    after: str

    @property
    def shown(self) -> str:
        """The span on one line, without control characters, cut where it is long."""
        line = "".join(char if char.isprintable() else " " for char in self.text)
        return line if len(line) <= _SHOWN_CHARS else line[:_SHOWN_CHARS] + " …"

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def removed_spans(output: str) -> list[RemovedView]:
    """Return the removed spans of the latest snapshot, lowest score first.

    Raises:
        ConfigError: nothing is published there.
    """
    folder = Folder.at(output)
    manifest = latest_manifest(folder)
    if manifest is None:
        raise ConfigError([f"{output}: nothing is published here (no latest.json)"])
    tables = published_tables(folder.child(f"snapshots/{manifest['snapshot']}"), manifest["files"])
    chunks = tables.chunks.select("chunk_id", pl.col("text").alias("chunk_text"), pl.col("start").alias("chunk_start"))
    joined = tables.removed.join(chunks, on="chunk_id", how="left").collect()
    views = [_view(row) for row in joined.iter_rows(named=True)]
    return sorted(views, key=lambda view: (view.score, view.id, view.doc_id, view.start or 0))


def _view(row: dict[str, Any]) -> RemovedView:
    before = after = ""
    if row["start"] is not None and row["chunk_text"] is not None:
        start, end = row["start"] - row["chunk_start"], row["end"] - row["chunk_start"]
        before = " ".join(row["chunk_text"][max(0, start - _CONTEXT_CHARS) : start].split()) + " "
        after = " " + " ".join(row["chunk_text"][end : end + _CONTEXT_CHARS].split())
    fields = ("score", "judge", "field", "doc_id", "source_uri", "chunk_id", "start", "end", "text")
    return RemovedView(id=span_id(row["text"]), before=before, after=after, **{name: row[name] for name in fields})
