"""Split -> raw documents and rejects, streaming: memory is bounded by the largest document.

Every item that is read counts as one document: a RawDocument or a Reject with the uri and the reason. What cannot
be read does not stop what can: a broken line, row group or file costs itself alone.

Raises OSError for failures of storage (not of content), which make the split a gap of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from selfstudy.config import CorpusConfig
from selfstudy.corpus.lines import BrokenStreamError, read_lines, read_lines_between
from selfstudy.corpus.splits import Source, Split
from selfstudy.ids import content_hash
from selfstudy.reasons import DocumentReject, Stage
from selfstudy.records import Reject
from selfstudy.storage import is_remote, open_file

_MB = 1_000_000
_ROWS_PER_BATCH = 64
_FORMAT_OF_SUFFIX = {".md": "markdown", ".html": "html", ".htm": "html", ".txt": "plain"}
_COMPRESSION_OF_SUFFIX = {".jsonl": None, ".jsonl.gz": "gzip", ".jsonl.zst": "zstd"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# More undecodable bytes than this are not a flaw of a text but another encoding or no text at all.
_MAX_UNDECODABLE_SHARE = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class RawDocument:
    """A text as it stands in the corpus, not yet normalised."""

    doc_id: str
    source_uri: str
    text: str
    text_format: str
    title: str = ""
    kept: dict[str, str] = field(default_factory=dict)


Item = RawDocument | Reject


def read_split(split: Split, config: CorpusConfig) -> Iterator[Item]:
    """Yield the documents of a split in order, with a reject for each that cannot be read."""
    items = (item for source in split.sources for item in _read_source(source, split, config))
    return islice(items, split.max_documents)


def reject(reason: DocumentReject, uri: str, detail: str, *, stage: Stage = Stage.READ, doc_id: str = "") -> Reject:
    """A reject of a document; `uri` may end in #line=, #byte=, #row= or #row_group=."""
    source_uri = uri.rpartition("#")[0] or uri
    return Reject(stage=stage, reason=reason, id=uri, detail=detail, doc_id=doc_id or None, source_uri=source_uri)


def _read_source(source: Source, split: Split, config: CorpusConfig) -> Iterator[Item]:
    try:
        with open_file(source.uri) as file:
            if source.suffix == ".parquet":
                yield from _read_parquet(file, source, split, config)
            elif source.suffix.startswith(".jsonl"):
                yield from _read_jsonl(file, source, split, config)
            else:
                yield from _read_text(file, source, config)
    except PermissionError as error:
        if is_remote(source.uri):
            raise  # keys expire and rights change; a file of this machine is what it is
        yield reject(DocumentReject.UNREADABLE_FILE, source.uri, str(error.strerror))


def _read_text(file: Any, source: Source, config: CorpusConfig) -> Iterator[Item]:
    max_bytes = int(config.max_document_mb * _MB)
    data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        yield _too_large(source.uri, source.num_bytes, config)
        return
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
    text = data.decode(encoding, "replace")
    num_undecodable = text.count("\ufffd")
    if num_undecodable and (detail := _undecodable(data, encoding)):
        yield reject(DocumentReject.INVALID_UTF8, source.uri, detail)
        if num_undecodable > _MAX_UNDECODABLE_SHARE * len(text):
            return
    yield RawDocument(
        doc_id=source.name, source_uri=source.uri, text=text, text_format=_FORMAT_OF_SUFFIX[source.suffix]
    )


def _undecodable(data: bytes, encoding: str) -> str:
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        return f"byte {error.start} is not {encoding}: {error.reason}"
    return ""


def _read_jsonl(file: Any, source: Source, split: Split, config: CorpusConfig) -> Iterator[Item]:
    max_bytes = int(config.max_document_mb * _MB)
    if split.stop is None:
        lines = read_lines(file, _COMPRESSION_OF_SUFFIX[source.suffix], max_bytes)
    else:
        lines = read_lines_between(file, split.start, split.stop, max_bytes)
    place = "start"
    try:
        for line in lines:
            place = line.place
            if line.data is None:
                yield _too_large(f"{source.uri}#{place}", max_bytes, config)
            elif line.data.strip():
                yield _row_of_line(line.data, f"{source.uri}#{place}", source, config)
    except BrokenStreamError as error:
        yield reject(DocumentReject.TRUNCATED_FILE, f"{source.uri}#after:{place}", str(error))


def _row_of_line(line: bytes, uri: str, source: Source, config: CorpusConfig) -> Item:
    try:
        row = orjson.loads(line.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        if detail := _undecodable(line, "utf-8"):
            return reject(DocumentReject.INVALID_UTF8, uri, detail)
        return reject(DocumentReject.INVALID_JSON, uri, str(error))
    if not isinstance(row, dict):
        return reject(DocumentReject.NOT_AN_OBJECT, uri, f"expected a JSON object, got {type(row).__name__}")
    return _document_of_row(row, uri, source, config)


def _document_of_row(row: dict[str, Any], uri: str, source: Source, config: CorpusConfig) -> Item:
    text = row.get(config.text_field)
    if text is None:
        return reject(DocumentReject.MISSING_TEXT, uri, f"no field {config.text_field!r}; it has {', '.join(row)}")
    if not isinstance(text, str):
        return reject(DocumentReject.WRONG_TYPE, uri, f"{config.text_field!r} is {type(text).__name__}, not a string")
    doc_id = _as_string(row.get(config.id_field)) if config.id_field else ""
    return RawDocument(
        doc_id=doc_id or content_hash("document", text),
        source_uri=source.uri,
        text=text,
        text_format=config.text_format,
        title=_as_string(row.get(config.title_field)) if config.title_field else "",
        kept={name: _as_string(row.get(name)) for name in config.keep_fields},
    )


def _as_string(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return orjson.dumps(value, default=str).decode() if isinstance(value, list | dict) else str(value)


def _read_parquet(file: Any, source: Source, split: Split, config: CorpusConfig) -> Iterator[Item]:
    try:
        parquet = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        _raise_if_storage_failed(error)
        yield reject(DocumentReject.UNREADABLE_FILE, source.uri, _first_line(error))
        return
    names = parquet.schema_arrow.names
    if config.text_field not in names:
        yield reject(
            DocumentReject.MISSING_TEXT, source.uri, f"no column {config.text_field!r}; it has {', '.join(names)}"
        )
        return
    wanted = [config.text_field, config.id_field, config.title_field, *config.keep_fields]
    columns = [name for name in dict.fromkeys(wanted) if name is not None and name in names]
    groups = range(split.start, parquet.num_row_groups if split.stop is None else split.stop)
    for group in groups:
        try:
            yield from _read_row_group(parquet, group, columns, source, config)
        except (pa.ArrowException, OSError) as error:
            _raise_if_storage_failed(error)
            yield reject(DocumentReject.TRUNCATED_FILE, f"{source.uri}#row_group={group}", _first_line(error))


def _raise_if_storage_failed(error: Exception) -> None:
    """Raise what is not the file's fault: Arrow's own errors carry no errno."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def _read_row_group(
    parquet: pq.ParquetFile, group: int, columns: list[str], source: Source, config: CorpusConfig
) -> Iterator[Item]:
    max_bytes = int(config.max_document_mb * _MB)
    row_number = 0
    for batch in parquet.iter_batches(_ROWS_PER_BATCH, row_groups=[group], columns=columns):
        texts = batch.column(config.text_field)
        for index, size in enumerate(_byte_sizes(texts)):
            uri = f"{source.uri}#row_group={group}&row={row_number + index}"
            if size is not None and size > max_bytes:
                yield _too_large(uri, size, config)
                continue
            try:
                row = {name: batch.column(name)[index].as_py() for name in columns}
            except UnicodeDecodeError as error:
                yield reject(DocumentReject.INVALID_UTF8, uri, f"byte {error.start} is not utf-8: {error.reason}")
                continue
            yield _document_of_row(row, uri, source, config)
        row_number += len(batch)


def _byte_sizes(texts: pa.Array) -> list[int | None]:
    """Return the size of each text without making Python objects of them; 0 for what is no text."""
    kind = texts.type.value_type if pa.types.is_dictionary(texts.type) else texts.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        return [0] * len(texts)
    if pa.types.is_dictionary(texts.type) or pa.types.is_string_view(kind):
        texts = texts.cast(pa.large_string())
    sizes: list[int | None] = pc.binary_length(texts).to_pylist()
    return sizes


def _too_large(uri: str, num_bytes: int, config: CorpusConfig) -> Reject:
    detail = f"{num_bytes / _MB:.0f} MB or more; corpus.max_document_mb is {config.max_document_mb:g}"
    return reject(DocumentReject.DOCUMENT_TOO_LARGE, uri, detail)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
