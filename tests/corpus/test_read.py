"""Broken input, one kind after the other: it costs itself alone, and says what and where it was."""

import gzip
import json
import random
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfstudy.config import CorpusConfig
from selfstudy.corpus.read import Item, RawDocument, read_split
from selfstudy.corpus.splits import Split, list_sources, slice_large
from selfstudy.reasons import DocumentReject, Stage
from selfstudy.records import Reject
from tests.factories import source_of, split_of, write_jsonl

GOOD = {"id": "good", "text": "A whole sentence."}


def config(**fields: Any) -> CorpusConfig:
    return CorpusConfig(paths=["unused"], id_field="id", **fields)


def read(path: Path, **fields: Any) -> list[Item]:
    return list(read_split(split_of(path), config(**fields)))


def reasons_of(items: list[Item]) -> list[str]:
    return [item.reason if isinstance(item, Reject) else "document" for item in items]


def texts_of(items: list[Item]) -> list[str]:
    return [item.text for item in items if isinstance(item, RawDocument)]


def write_lines(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def dump(row: object) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


# --- text files ---------------------------------------------------------------------------------------------------


def test_a_text_file_is_one_document_named_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("# Ä\n")
    (item,) = read(file)
    assert item == RawDocument(doc_id="a.md", source_uri=f"file://{file}", text="# Ä\n", text_format="markdown")


def test_an_empty_file_is_an_empty_document(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert texts_of(read(tmp_path / "a.txt")) == [""]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8"])
def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("Grüße, 日本".encode(encoding))
    (text,) = texts_of(read(file))
    assert text.removeprefix("\ufeff") == "Grüße, 日本"


def test_a_few_invalid_bytes_cost_themselves(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"A long line of plain text. " * 20 + b"\xff" + b" And on it goes.")
    items = read(file)
    assert reasons_of(items) == [DocumentReject.INVALID_UTF8, "document"]
    assert isinstance(items[0], Reject)
    assert items[0].detail.startswith("byte 540 is not utf-8")
    assert texts_of(items)[0].endswith("\ufffd And on it goes.")


@pytest.mark.parametrize(
    "data",
    [b"\x89PNG\r\n\x1a\n" + random.Random(0).randbytes(5000), "ÄÖÜ ß ".encode("latin-1") * 99, b"\xff\xfe\x00"],
    ids=["png", "latin-1", "half a character of UTF-16"],
)
def test_what_is_no_text_is_a_reject(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(data)
    items = read(file)
    assert reasons_of(items) == [DocumentReject.INVALID_UTF8]
    assert isinstance(items[0], Reject)
    assert items[0].id == items[0].source_uri == f"file://{file}"
    assert items[0].stage is Stage.READ


def test_a_text_that_holds_replacement_characters_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("\ufffd" * 10 + " debris of an older conversion")
    assert reasons_of(read(file)) == ["document"]


# --- JSON lines ---------------------------------------------------------------------------------------------------


def test_rows_carry_id_title_and_kept_fields(tmp_path: Path) -> None:
    row = {"id": 7, "text": "x", "headline": "T", "lang": None, "tags": ["a"], "score": 1.5}
    file = write_jsonl(tmp_path / "a.jsonl", [row])
    (item,) = read(file, title_field="headline", keep_fields=["lang", "tags", "score", "absent"], text_format="html")
    assert isinstance(item, RawDocument)
    assert (item.doc_id, item.title, item.text_format) == ("7", "T", "html")
    assert item.kept == {"lang": "", "tags": '["a"]', "score": "1.5", "absent": ""}


def test_rows_without_an_id_are_named_by_their_text(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"text": "b"}, {"id": None, "text": "a"}, {"id": "", "text": "a"}]
    ids = [item.doc_id for item in read(write_jsonl(tmp_path / "a.jsonl", rows)) if isinstance(item, RawDocument)]
    assert ids[0] == ids[2] == ids[3] != ids[1]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": 1', DocumentReject.INVALID_JSON),
        (b"not json", DocumentReject.INVALID_JSON),
        (b'{"id": 1, "text": "\\ud800"}', DocumentReject.INVALID_JSON),
        (b'{"id": 1, "text": NaN}', DocumentReject.INVALID_JSON),
        (b"[" * 100_000, DocumentReject.INVALID_JSON),
        (b'{"text": "a\xff"}', DocumentReject.INVALID_UTF8),
        (b'["text", "a list"]', DocumentReject.NOT_AN_OBJECT),
        (b'"text"', DocumentReject.NOT_AN_OBJECT),
        (b"null", DocumentReject.NOT_AN_OBJECT),
        (b'{"id": 1}', DocumentReject.MISSING_TEXT),
        (b'{"id": 1, "text": null}', DocumentReject.MISSING_TEXT),
        (b'{"id": 1, "text": 17}', DocumentReject.WRONG_TYPE),
        (b'{"id": 1, "text": ["a"]}', DocumentReject.WRONG_TYPE),
    ],
)
def test_a_broken_line_costs_itself_alone(tmp_path: Path, line: bytes, reason: DocumentReject) -> None:
    file = write_lines(tmp_path / "a.jsonl", dump(GOOD), line, b"", dump(GOOD))
    items = read(file)
    assert reasons_of(items) == ["document", reason, "document"]
    assert isinstance(items[1], Reject)
    assert items[1].id == f"file://{file}#line=2"
    assert items[1].source_uri == f"file://{file}"
    assert items[1].detail


def test_only_a_newline_ends_a_line(tmp_path: Path) -> None:
    text = "a\u2028b\u2029c\x85d"
    file = write_lines(tmp_path / "a.jsonl", dump({"text": text}), dump(GOOD) + b"\r")
    assert texts_of(read(file)) == [text, GOOD["text"]]


def test_nul_bytes_and_escapes_reach_the_normaliser(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", b'{"text": "a\\u0000b"}', b'{"text": "a\x00b"}', dump(GOOD))
    assert reasons_of(read(file)) == ["document", DocumentReject.INVALID_JSON, "document"]


def test_a_byte_order_mark_costs_nothing(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", b"\xef\xbb\xbf" + dump(GOOD), dump(GOOD))
    assert reasons_of(read(file)) == ["document", "document"]


def test_an_empty_file_of_lines_has_no_documents(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.jsonl.gz", "a.jsonl.zst"):
        (tmp_path / name).touch()
        assert read(tmp_path / name) == []


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_truncated_stream_gives_its_whole_lines(tmp_path: Path, suffix: str) -> None:
    rng = random.Random(0)
    data = b"".join(dump({"id": number, "text": rng.randbytes(100).hex()}) + b"\n" for number in range(2000))
    packed = gzip.compress(data) if suffix == ".gz" else bytes(pa.compress(data, "zstd", asbytes=True))
    file = tmp_path / f"a.jsonl{suffix}"
    file.write_bytes(packed[: len(packed) * 2 // 3])
    items = read(file)
    *documents, last = items
    assert len(documents) > 500
    assert [item.doc_id for item in documents if isinstance(item, RawDocument)] == [
        str(n) for n in range(len(documents))
    ]
    assert isinstance(last, Reject)
    assert last.reason == DocumentReject.TRUNCATED_FILE
    assert last.id == f"file://{file}#after:line={len(documents)}"
    assert last.source_uri == f"file://{file}"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=30), min_size=1, max_size=30), st.integers(1, 400))
def test_slices_of_jsonl_give_each_document_once(tmp_path: Path, texts: list[str], split_bytes: int) -> None:
    rows = [{"id": str(number), "text": text} for number, text in enumerate(texts)]
    file = write_jsonl(tmp_path / "a.jsonl", rows)
    found = [
        (item.doc_id, item.text)
        for split in slice_large(source_of(file), split_bytes / 1_000_000)
        for item in read_split(split, config())
        if isinstance(item, RawDocument)
    ]
    assert found == [(row["id"], row["text"]) for row in rows]


# --- Parquet ------------------------------------------------------------------------------------------------------


def write_parquet(path: Path, texts: list[Any], *, row_group_size: int = 10, **columns: list[Any]) -> Path:
    table = pa.table({"id": [str(number) for number in range(len(texts))], "text": texts, **columns})
    pq.write_table(table, path, row_group_size=row_group_size, compression="none", use_dictionary=False)
    return path


def test_parquet_rows_in_order_across_slices(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [f"text {number}" for number in range(55)], kept=list(range(55)))
    slices = [Split((source_of(file),), start=start, stop=min(start + 2, 6)) for start in range(0, 6, 2)]
    items = [item for split in slices for item in read_split(split, config(keep_fields=["kept"]))]
    assert texts_of(items) == [f"text {number}" for number in range(55)]
    assert [item.kept for item in items if isinstance(item, RawDocument)] == [{"kept": str(n)} for n in range(55)]


@pytest.mark.parametrize(
    "texts",
    [["a", None, "b"], pa.array(["a", None, "b"]).dictionary_encode(), pa.array(["a", None, "b"], pa.large_string())],
    ids=["string", "dictionary", "large string"],
)
def test_a_null_text_is_missing(tmp_path: Path, texts: Any) -> None:
    items = read(write_parquet(tmp_path / "a.parquet", texts))
    assert reasons_of(items) == ["document", DocumentReject.MISSING_TEXT, "document"]
    assert isinstance(items[1], Reject)
    assert items[1].id.endswith("#row_group=0&row=1")


@pytest.mark.parametrize("texts", [[1, 2], [b"a", b"b"], [["a"], ["b"]]], ids=["numbers", "bytes", "lists"])
def test_a_column_of_another_type_rejects_each_row(tmp_path: Path, texts: list[Any]) -> None:
    assert reasons_of(read(write_parquet(tmp_path / "a.parquet", texts))) == [DocumentReject.WRONG_TYPE] * 2


def test_a_missing_column_is_one_reject_that_names_the_others(tmp_path: Path) -> None:
    (item,) = read(write_parquet(tmp_path / "a.parquet", ["x"]), text_field="body")
    assert isinstance(item, Reject)
    assert item.reason == DocumentReject.MISSING_TEXT
    assert item.detail == "no column 'body'; it has id, text"


def test_an_invalid_string_costs_its_row(tmp_path: Path) -> None:
    texts = pa.StringArray.from_buffers(
        3, pa.py_buffer(struct.pack("<4i", 0, 1, 3, 4)), pa.py_buffer(b"a\xff\xfeb"), None, 0
    )
    items = read(write_parquet(tmp_path / "a.parquet", texts))
    assert reasons_of(items) == ["document", DocumentReject.INVALID_UTF8, "document"]
    assert texts_of(items) == ["a", "b"]


def test_a_corrupt_row_group_costs_itself_alone(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [f"the text with number {number}" for number in range(30)])
    offset = pq.read_metadata(file).row_group(1).column(1).data_page_offset
    data = bytearray(file.read_bytes())
    data[offset : offset + 40] = b"\xff" * 40
    file.write_bytes(data)
    items = read(file)
    assert texts_of(items) == [f"the text with number {n}" for n in (*range(10), *range(20, 30))]
    (broken,) = (item for item in items if isinstance(item, Reject))
    assert broken.reason == DocumentReject.TRUNCATED_FILE
    assert broken.id == f"file://{file}#row_group=1"


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -9])
def test_a_truncated_file_is_one_reject(tmp_path: Path, keep: int) -> None:
    file = write_parquet(tmp_path / "a.parquet", ["x" * 100] * 20)
    file.write_bytes(file.read_bytes()[:keep])
    (item,) = read(file)
    assert isinstance(item, Reject)
    assert item.reason == DocumentReject.UNREADABLE_FILE
    assert item.detail


def test_no_damage_stops_the_reader(tmp_path: Path) -> None:
    file = write_parquet(tmp_path / "a.parquet", [f"text {number}" for number in range(30)])
    whole = file.read_bytes()
    rng = random.Random(0)
    for _ in range(150):
        data = bytearray(whole)
        place = rng.randrange(len(data))
        data[place : place + 4] = rng.randbytes(4)
        file.write_bytes(data)
        list(read_split(split_of(file), config()))


def test_a_parquet_file_in_memory() -> None:
    fs = fsspec.filesystem("memory")
    with fs.open("/read/a.parquet", "wb") as file:
        pq.write_table(pa.table({"text": ["a"]}), file)
    fs.pipe("/read/b.jsonl.gz", gzip.compress(dump(GOOD)))
    split = Split(tuple(list_sources("memory://read")))
    assert texts_of(list(read_split(split, config()))) == ["a", GOOD["text"]]
    fs.rm("/read", recursive=True)


# --- size ---------------------------------------------------------------------------------------------------------

MANY_BYTES = 40_000_000


def oversized(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    text = folder / "a.txt"
    text.write_bytes(b"words and " * (MANY_BYTES // 10))
    yield text, [DocumentReject.DOCUMENT_TOO_LARGE]
    lines = write_lines(folder / "a.jsonl", dump(GOOD), b'{"text": "' + b"x" * MANY_BYTES + b'"}', dump(GOOD))
    yield lines, ["document", DocumentReject.DOCUMENT_TOO_LARGE, "document"]
    packed = folder / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(lines.read_bytes(), compresslevel=1))
    yield packed, ["document", DocumentReject.DOCUMENT_TOO_LARGE, "document"]


def test_a_document_above_the_limit_is_rejected_and_not_held(tmp_path: Path) -> None:
    for file, expected in oversized(tmp_path):
        split = split_of(file)
        tracemalloc.start()
        items = list(read_split(split, config(max_document_mb=1)))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert reasons_of(items) == expected
        assert peak < 6_000_000
        (too_large,) = (item for item in items if isinstance(item, Reject))
        assert "corpus.max_document_mb is 1" in too_large.detail


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_a_row_above_the_limit_costs_itself(tmp_path: Path, kind: pa.DataType) -> None:
    file = write_parquet(tmp_path / "a.parquet", pa.array(["a", "ü" * 600_000, "b"], kind))
    items = read(file, max_document_mb=1)
    assert reasons_of(items) == ["document", DocumentReject.DOCUMENT_TOO_LARGE, "document"]


def test_a_limited_split_ends_early(tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", dump(GOOD), b"broken", dump(GOOD), dump(GOOD))
    split = split_of(file, max_documents=3)
    assert reasons_of(list(read_split(split, config()))) == ["document", DocumentReject.INVALID_JSON, "document"]


def test_a_vanished_file_is_a_failure_of_storage(tmp_path: Path) -> None:
    gone = tmp_path / "gone.txt"
    gone.write_text("x")
    split = split_of(gone)
    gone.unlink()
    with pytest.raises(FileNotFoundError):
        list(read_split(split, config()))


def test_a_file_without_permission_is_a_reject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret.txt"
    file.write_text("x")
    split = split_of(file)

    # Tests may run as root, whom no mode keeps out.
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("selfstudy.corpus.read.open_file", denied)
    (item,) = read_split(split, config())
    assert isinstance(item, Reject)
    assert (item.reason, item.detail) == (DocumentReject.UNREADABLE_FILE, "Permission denied")


def test_a_bundle_is_read_file_by_file(tmp_path: Path) -> None:
    for name, data in (("a.txt", b"one"), ("b.txt", b"\xff" * 50), ("c.jsonl", dump(GOOD)), ("d.parquet", b"junk")):
        (tmp_path / name).write_bytes(data)
    split = split_of(*(tmp_path / name for name in ("a.txt", "b.txt", "c.jsonl", "d.parquet")))
    assert reasons_of(list(read_split(split, config()))) == [
        "document",
        DocumentReject.INVALID_UTF8,
        "document",
        DocumentReject.UNREADABLE_FILE,
    ]
