"""`verify` recomputes: each thing that is tampered with is seen, by the law that it breaks."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selfstudy.store.filesystem import Folder
from selfstudy.verdict import Verdict
from selfstudy.verify import verify
from tests.runs import parsed, run_here, write_corpus

Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture
def output(tmp_path: Path) -> Path:
    run_here(parsed(write_corpus(tmp_path / "corpus", num_documents=5, num_sentences=20), tmp_path / "out"))
    return tmp_path / "out"


def tamper(output: Path, table: str, change: Change) -> Verdict:
    """Change the rows of a published table, and the manifest so that checksums and counts of rows agree."""
    manifest_path = next((output / "snapshots").glob("*/manifest.json"))
    manifest = json.loads(manifest_path.read_text())
    for entry in manifest["files"]:
        if entry["table"] == table:
            path = manifest_path.parent / entry["name"]
            schema = pq.read_schema(path)
            frame = change(pl.read_parquet(path))
            pq.write_table(frame.to_arrow().cast(schema), path)
            entry |= {"rows": frame.height, "bytes": path.stat().st_size}
            entry["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest_path.write_text(json.dumps(manifest))
    return verify(Folder.at(str(output)))


def first_row(column: str, value: Any) -> Change:
    def change(frame: pl.DataFrame) -> pl.DataFrame:
        changed = pl.when(pl.int_range(pl.len()) == 0).then(pl.lit(value)).otherwise(pl.col(column))
        return frame.with_columns(changed.alias(column))

    return change


def test_an_untouched_snapshot_has_no_violation(output: Path) -> None:
    verdict = verify(Folder.at(str(output)))
    assert verdict.ok and verdict.checked.total() > 500


@pytest.mark.parametrize(
    ("table", "change", "law"),
    [
        ("pairs", first_row("pair_id", "0" * 32), "pair_id"),
        ("pairs", first_row("target_start", 1), "target offsets"),
        ("pairs", first_row("target_text", "Another sentence."), "target offsets"),
        ("pairs", first_row("chunk_id", "0" * 32), "pair has its chunk"),
        ("pairs", lambda frame: frame[1:], "targets = pairs + rejects"),
        ("pairs", lambda frame: pl.concat([frame, frame[:1]]), "pair_id is unique"),
        ("pairs", lambda frame: frame.with_columns(question=pl.lit("Why?")), "question asked once"),
        ("chunks", first_row("start", 7), "offsets"),
        ("chunks", first_row("chunk_key", "0" * 32), "chunk_key"),
        ("chunks", first_row("title", "A title"), "chunk_key"),
        ("chunks", lambda frame: pl.concat([frame, frame[:1]]), "chunk_id is unique"),
        ("chunks", lambda frame: frame.with_columns(text=pl.col("text").str.replace("valve", "VALVE")), "chunk_id"),
        ("removed", lambda frame: frame[1:], "removed spans"),
        ("removed", lambda frame: frame.with_columns(text=pl.lit("x")), "removed spans"),
        ("coverage", first_row("asked", 0), "coverage"),
        ("index", lambda frame: frame[1:], "index"),
        ("index", lambda frame: pl.concat([frame, frame[:1]]), "index"),
        ("index", first_row("unit_id", "0" * 24 + "-000000"), "index"),
        ("units", first_row("unit_id", "0" * 24 + "-000000"), "unit is committed"),
        ("units", lambda frame: frame[1:], "units"),
    ],
)
def test_tampering_is_seen(output: Path, table: str, change: Change, law: str) -> None:
    verdict = tamper(output, table, change)
    assert not verdict.ok
    assert law in verdict.num_violations, verdict.violations


def test_a_dropped_document_is_seen(output: Path) -> None:
    verdict = tamper(output, "chunks", lambda frame: frame.filter(pl.col("doc_id") != "doc-001"))
    assert "documents = chunked + rejected" in verdict.num_violations


def test_a_changed_byte_and_a_stray_file_are_seen(output: Path) -> None:
    shard = next((output / "snapshots").glob("*/data/train-*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"X")
    (shard.parent / "train-00009-of-00009.parquet").write_bytes(b"")
    verdict = verify(Folder.at(str(output)))
    assert {"checksum", "files"} <= set(verdict.num_violations)


def test_another_schema_is_seen(output: Path) -> None:
    manifest_path = next((output / "snapshots").glob("*/manifest.json"))
    manifest = json.loads(manifest_path.read_text())
    entry = next(entry for entry in manifest["files"] if entry["table"] == "rejects")
    path = manifest_path.parent / entry["name"]
    pq.write_table(pa.table({"other": pa.array([], pa.string())}), path)
    entry |= {"rows": 0, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    manifest_path.write_text(json.dumps(manifest))
    assert "schema" in verify(Folder.at(str(output))).num_violations


def test_a_changed_recipe_is_seen(output: Path) -> None:
    manifest_path = next((output / "snapshots").glob("*/manifest.json"))
    manifest = json.loads(manifest_path.read_text())
    manifest["recipe"]["ask"]["seed"] = 99
    manifest_path.write_text(json.dumps(manifest))
    assert "recipe" in verify(Folder.at(str(output))).num_violations


def test_nothing_published_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing is published"):
        verify(Folder.at(str(tmp_path)))
