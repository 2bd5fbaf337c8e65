"""Documents to units: nothing is lost, nothing stops its neighbours, and names follow from content."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from selfstudy.config import Config
from selfstudy.corpus.splits import plan_splits
from selfstudy.prepare import SplitChangedError, prepare_document, prepare_split
from selfstudy.reasons import DocumentReject, Stage
from selfstudy.records import Chunk, Reject, Unit
from tests.factories import chunks_of, config_of, prose, raw_document, sentence, split_of, write_jsonl

PREFIX = "f" * 24


def prepare(*paths: Path, config: Config | None = None) -> list[Unit]:
    return list(prepare_split(split_of(*paths), config or config_of(), PREFIX))


def chunks_in(units: list[Unit]) -> list[Chunk]:
    return [chunk for unit in units for chunk in unit.chunks]


def rejects_in(units: list[Unit]) -> list[Reject]:
    return [reject for unit in units for reject in unit.rejects]


def check_conservation(units: list[Unit], num_documents: int) -> None:
    chunked = {(chunk.source_uri, chunk.doc_id) for chunk in chunks_in(units)}
    assert sum(unit.num_documents for unit in units) == num_documents == len(chunked) + len(rejects_in(units))
    assert [unit.last for unit in units] == [False] * (len(units) - 1) + [True]
    assert [unit.unit_id for unit in units] == [
        f"{PREFIX}-{number:06d}" + ("-last" if unit.last else "") for number, unit in enumerate(units)
    ]


def test_a_bundle_of_every_kind_of_broken_file(tmp_path: Path) -> None:
    good = prose(5)
    files = {
        "bad.jsonl": b'{"text": "' + good.encode() + b'"}\n[1]\n{"text": 3}\n{}\nnope\n',
        "blank.txt": b" \n\t\n\x00",
        "comment.html": b"<!-- nothing to see -->",
        "cut.jsonl.gz": b"\x1f\x8b\x08\x00",
        "empty.txt": b"",
        "good.txt": good.encode(),
        "image.txt": b"\x89PNG" + bytes(range(128, 256)) * 20,
        "junk.parquet": b"PAR1 not really PAR1",
        "twin.txt": good.encode(),
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    units = prepare(*(tmp_path / name for name in sorted(files)))
    check_conservation(units, num_documents=13)
    assert Counter(reject.reason for reject in rejects_in(units)) == {
        DocumentReject.NOT_AN_OBJECT: 1,
        DocumentReject.WRONG_TYPE: 1,
        DocumentReject.MISSING_TEXT: 1,
        DocumentReject.INVALID_JSON: 1,
        DocumentReject.EMPTY_DOCUMENT: 3,
        DocumentReject.TRUNCATED_FILE: 1,
        DocumentReject.INVALID_UTF8: 1,
        DocumentReject.UNREADABLE_FILE: 1,
    }
    texts = [chunk.text for chunk in chunks_in(units)]
    assert Counter(texts) == dict.fromkeys(set(texts), 3)
    assert all(reject.source_uri and reject.source_uri.startswith("file://") for reject in rejects_in(units))


@pytest.mark.parametrize("per_unit", [1, 3, 1000])
def test_units_hold_at_most_so_many_chunks_and_documents_count_where_they_start(tmp_path: Path, per_unit: int) -> None:
    rows = [{"id": str(number), "text": prose(3 + 9 * number, first=100 * number)} for number in range(6)]
    config = config_of(corpus={"paths": ["x"], "id_field": "id"}, chunks={"per_unit": per_unit})
    units = prepare(write_jsonl(tmp_path / "a.jsonl", rows), config=config)
    check_conservation(units, num_documents=6)
    assert all(len(unit.chunks) <= per_unit for unit in units)
    for unit in units:
        assert unit.num_documents == sum(chunk.start == 0 for chunk in unit.chunks)
    whole = prepare(tmp_path / "a.jsonl", config=config_of(corpus={"paths": ["x"], "id_field": "id"}))
    assert chunks_in(units) == chunks_in(whole)


def test_an_empty_split_gives_one_last_unit(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    (unit,) = prepare(tmp_path / "a.jsonl")
    assert (unit.unit_id, unit.last, unit.num_documents, unit.chunks) == (f"{PREFIX}-000000-last", True, 0, ())


def test_a_file_of_rejects_alone_is_cut_into_units_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("broken\n" * 100)
    units = prepare(tmp_path / "a.jsonl", config=config_of(chunks={"per_unit": 2}))
    check_conservation(units, num_documents=100)
    assert len(units) == 7


def test_twice_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Title\n\n" + prose(40))
    assert prepare(tmp_path / "a.md") == prepare(tmp_path / "a.md")


def test_committed_units_are_left_out_and_the_others_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(prose(60))
    config = config_of(chunks={"per_unit": 2})
    units = prepare(tmp_path / "a.txt", config=config)
    done = {unit.unit_id for unit in units[::2]}
    left = list(prepare_split(split_of(tmp_path / "a.txt"), config, PREFIX, done))
    assert left == units[1::2]


def test_a_second_document_of_the_same_id_is_a_reject(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": prose(5)}, {"id": "b", "text": "B. " + prose(5)}, {"id": "a", "text": prose(9)}]
    config = config_of(corpus={"paths": ["x"], "id_field": "id"})
    units = prepare(write_jsonl(tmp_path / "a.jsonl", rows), config=config)
    check_conservation(units, num_documents=3)
    (reject,) = rejects_in(units)
    assert (reject.reason, reject.doc_id, reject.stage) == (DocumentReject.DUPLICATE_DOCUMENT, "a", Stage.PREPARE)
    assert chunks_in(units)[0].text == prose(5)


def test_ids_do_not_depend_on_the_file_around_them(tmp_path: Path) -> None:
    rows = [{"id": str(number), "text": prose(30, first=50 * number)} for number in range(8)]
    config = config_of(corpus={"paths": ["x"], "id_field": "id"})
    one = prepare(write_jsonl(tmp_path / "one.jsonl", rows), config=config)
    random.Random(0).shuffle(rows)
    parts = [write_jsonl(tmp_path / f"part{n}.jsonl", rows[n::3]) for n in range(3)]
    others = [unit for part in parts for unit in prepare(part, config=config)]
    assert {chunk.chunk_id for chunk in chunks_in(one)} == {chunk.chunk_id for chunk in chunks_in(others)}


def overwriting(units: Iterator[Unit], path: Path) -> Iterator[Unit]:
    yield next(units)
    path.write_text("Something else altogether.\n")
    yield from units


def test_a_file_overwritten_while_it_is_read_stops_its_split(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "a.jsonl", [{"text": prose(40, first=50 * number)} for number in range(50)])
    units = prepare_split(split_of(file), config_of(chunks={"per_unit": 2}), PREFIX)
    taken = []
    with pytest.raises(SplitChangedError, match=r"a\.jsonl changed while it was read"):
        taken.extend(overwriting(units, file))
    assert not any(unit.last for unit in taken)


def test_a_file_replaced_by_another_of_the_same_size(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text(prose(3))
    split = split_of(file)
    file.write_text(prose(3).upper())
    os.utime(file, ns=(0, 0))
    with pytest.raises(SplitChangedError):
        list(prepare_split(split, config_of(), PREFIX))


def test_only_what_a_unit_holds_must_be_unchanged(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(prose(20))
    split = split_of(tmp_path / "a.txt", tmp_path / "b.txt")
    units = prepare_split(split, config_of(chunks={"per_unit": 1}), PREFIX)
    first = next(units)
    (tmp_path / "b.txt").unlink()
    assert first.chunks[0].doc_id == "a.txt"
    with pytest.raises(FileNotFoundError):
        list(units)


def test_a_title_is_the_field_or_the_page_and_never_the_file_name() -> None:
    assert chunks_of(prose(3))[0].title == ""
    page = f"<title>Of  the page</title><p>{prose(3)}</p>"
    assert chunks_of(page, text_format="html")[0].title == "Of the page"
    assert chunks_of(page, text_format="html", title="Of the row")[0].title == "Of the row"


def test_kept_fields_reach_every_chunk() -> None:
    chunks = chunks_of(prose(60), kept={"lang": "en"})
    assert len(chunks) > 2
    assert all(chunk.kept == {"lang": "en"} for chunk in chunks)


@pytest.mark.parametrize(
    ("text", "text_format"),
    [
        ("x" * 1_000_000, "plain"),
        ("word " * 200_000, "markdown"),
        ("\n".join(f"word{number}" for number in range(10_000)), "plain"),
        ("<p>" + "words without an end " * 50_000, "html"),
        ("مرحبا بالعالم، هذا نص طويل من اليمين إلى اليسار. " * 200, "plain"),
        ("👩\u200d👩\u200d👧\u200d👦 families of emoji e\u0301\u0323 and marks. " * 200, "markdown"),
        ("\x00".join("NUL bytes between letters are no sentence. ") * 20, "plain"),
        ("<div>" * 5000 + prose(5), "html"),
        ("> " * 5000 + prose(5), "markdown"),
    ],
    ids=["letters", "words", "lines", "page", "Arabic", "emoji", "NUL", "nested page", "nested quotes"],
)
def test_offsets_are_exact_whatever_the_text(text: str, text_format: str) -> None:
    chunks = chunks_of(text, text_format=text_format)
    position = 0
    for chunk in chunks:
        assert chunk.start >= position
        for index, span in enumerate(chunk.sentences):
            assert chunk.start <= span.start < span.end <= chunk.end
            assert chunk.sentence_text(index) == chunk.sentence_text(index).strip() != ""
        position = chunk.end


def test_a_document_of_fifty_megabytes() -> None:
    # Mostly the rows of a table, so that the test takes seconds; prose costs four times as much.
    rows = "".join(f"| {number:07d} | {'cell ' * 200}|\n" for number in range(47_500))
    text = f"{prose(10_000)}\n\n{rows}\n{prose(10_000, first=50_000)}"
    assert 49_000_000 < len(text) < 51_000_000
    chunks = chunks_of(text, config_of(chunks={"min_tokens": 5_000, "max_tokens": 20_000}))
    assert sum(len(chunk.sentences) for chunk in chunks) == 67_500
    assert chunks[-1].end == len(text)
    assert chunks[-1].text.endswith(sentence(59_999))


def test_a_folder_of_notes_is_read_in_bundles(tmp_path: Path) -> None:
    for number in range(1500):
        (tmp_path / f"{number:05d}.txt").write_text(prose(1, first=number))
    config = config_of(corpus={"paths": [str(tmp_path)]})
    splits = plan_splits(config.corpus, seed=0).splits
    units = [unit for split in splits for unit in prepare_split(split, config, PREFIX)]
    assert 2 < len(splits) < 60
    assert sum(unit.num_documents for unit in units) == len({c.doc_id for c in chunks_in(units)}) == 1500


def test_a_document_without_text_is_a_reject_with_its_id() -> None:
    result = prepare_document(raw_document("<!-- only -->", text_format="html"), config_of())
    assert isinstance(result, Reject)
    assert (result.reason, result.doc_id, result.detail) == (
        DocumentReject.EMPTY_DOCUMENT,
        "doc",
        "nothing but white space and markup",
    )
    empty = prepare_document(replace(raw_document(""), doc_id="e"), config_of())
    assert isinstance(empty, Reject)
    assert empty.detail == "empty"
