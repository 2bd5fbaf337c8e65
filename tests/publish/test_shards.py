"""Units to shards without Ray: every row once, in an order and split that content decides, and nothing unaccounted."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from selfstudy.config import Config
from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.factories import ORDER, commit_corpus, config_of, prose, publish_corpus, write_jsonl


def corpus(folder: Path, files: dict[str, list[dict[str, Any]]]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, rows in files.items():
        write_jsonl(folder / name, rows)
    return folder


def config_for(folder: Path, output: Path, **sections: Any) -> Config:
    paths = {"paths": [str(folder / "*.jsonl")], "id_field": "id", "keep_fields": ["lang"]}
    return config_of(corpus=paths, output=str(output), **sections)


def documents(number: int, first: int = 0) -> list[dict[str, Any]]:
    return [
        {"id": f"doc {n}", "lang": "en", "text": prose(12, first=100 * n) + (f" {ORDER}" if n % 5 == 0 else "")}
        for n in range(first, first + number)
    ]


def read(config: Config, manifest: dict[str, Any], table: str, prefix: str = "") -> pl.DataFrame:
    folder = Folder.at(config.output).child(f"snapshots/{manifest['snapshot']}")
    names = [file["name"] for file in manifest["files"] if file["table"] == table and file["name"].startswith(prefix)]
    return pl.concat([pl.read_parquet(folder.path(name)) for name in names])


def check(config: Config, manifest: dict[str, Any]) -> None:
    """Law 4 on the manifest, and all laws on the files."""
    counts = manifest["counts"]
    assert counts["documents"] == counts["documents_chunked"] + counts["documents_rejected"]
    assert counts["targets"] == counts["pairs"] + counts["targets_rejected"]
    verdict = verify(Folder.at(config.output))
    assert verdict.violations == []


def test_every_row_is_published_once(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "in", {"a.jsonl": [*documents(20), {"id": "bad"}], "b.jsonl": documents(20, first=20)})
    config = config_for(folder, tmp_path / "out", publish={"shard_mb": 0.004, "validation_fraction": 0.3})
    manifest = publish_corpus(config)
    check(config, manifest)
    pairs = read(config, manifest, "pairs")
    assert pairs["pair_id"].n_unique() == pairs.height == manifest["counts"]["pairs"] > 100
    assert read(config, manifest, "chunks")["doc_id"].n_unique() == 40
    assert read(config, manifest, "removed").height == 8
    assert read(config, manifest, "rejects").filter(pl.col("reason") == "missing_text").height == 1
    assert set(pairs["lang"]) == {"en"}
    assert len([file for file in manifest["files"] if file["name"].startswith("data/train-")]) > 2


def test_shards_are_sized_named_and_sorted(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "in", {"a.jsonl": documents(60)})
    config = config_for(folder, tmp_path / "out", publish={"shard_mb": 0.01, "validation_fraction": 0.2})
    manifest = publish_corpus(config)
    train = [file for file in manifest["files"] if file["name"].startswith("data/train-")]
    number = len(train)
    assert [file["name"] for file in train] == [f"data/train-{n:05d}-of-{number:05d}.parquet" for n in range(number)]
    rows = [file["rows"] for file in train]
    assert min(rows) > 0.3 * sum(rows) / number
    pairs = read(config, manifest, "pairs", "data/train-")
    order = pairs.select("chunk_key", "rank").rows()
    assert order == sorted(order)
    # Sorted by a hash, the corpus's order is gone: neighbours come from other documents.
    numbers = [int(doc_id.removeprefix("doc ")) for doc_id in pairs["doc_id"].unique(maintain_order=True)]
    assert numbers != sorted(numbers)
    assert sum(abs(one - other) for one, other in pairwise(numbers)) > 5 * len(numbers)


def test_validation_holds_whole_documents_and_stays(tmp_path: Path) -> None:
    folder = corpus(tmp_path / "in", {"a.jsonl": documents(40)})
    publish_settings = {"validation_fraction": 0.3}
    one = config_for(folder, tmp_path / "one", publish=publish_settings)
    manifest = publish_corpus(one)
    validation = set(read(one, manifest, "pairs", "data/validation-")["doc_id"])
    train = set(read(one, manifest, "pairs", "data/train-")["doc_id"])
    assert not validation & train
    assert 4 <= len(validation) <= 22
    corpus(folder, {"b.jsonl": documents(40, first=40)})
    two = config_for(folder, tmp_path / "two", publish=publish_settings)
    later = set(read(two, publish_corpus(two), "pairs", "data/validation-")["doc_id"])
    assert validation <= later
    assert not later & train


def test_how_rows_are_dealt_shows_in_no_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks read groups of units, sort buckets, count buckets of documents: none of these borders can be seen."""
    rows = [*documents(30), {"id": "bad"}]
    rows += [{**row, "id": f"again {row['id']}"} for row in rows[:3]]
    folder = corpus(tmp_path / "in", {f"{n}.jsonl": rows[n::3] for n in range(3)})
    tables = []
    for name in ("whole", "cut"):
        config = config_for(folder, tmp_path / name, chunks={"per_unit": 3})
        if name == "cut":
            monkeypatch.setattr("selfstudy.publish.survey._GROUP_BYTES", 9_000)
            monkeypatch.setattr("selfstudy.publish.survey._UNITS_PER_BATCH", 2)
            monkeypatch.setattr("selfstudy.publish.shards._BUCKET_BYTES", 1_000)
            monkeypatch.setattr("selfstudy.publish.measure._CHUNKS_PER_BUCKET", 2)
            monkeypatch.setattr("selfstudy.publish.measure._ROWS_PER_PART", 5)
        manifest = publish_corpus(config)
        check(config, manifest)
        folder_of = Folder.at(config.output).child(f"snapshots/{manifest['snapshot']}")
        coverage = pl.read_parquet(folder_of.path("coverage/documents.parquet")).sort("doc_id")
        found = {table: read(config, manifest, table) for table in ("pairs", "chunks", "removed", "rejects")}
        found["pairs"] = found["pairs"].drop("created_at")
        found["rejects"] = found["rejects"].sort("id", "stage", "unit_id")
        tables.append(({**found, "coverage": coverage}, manifest["coverage"]))
    (whole, figures), (cut, figures_of_cut) = tables
    assert figures == figures_of_cut
    for name, table in whole.items():
        assert table.equals(cut[name]), name


@pytest.mark.parametrize(("fraction", "empty"), [(0.0, "validation"), (1.0, "train")])
def test_without_validation_or_without_train(tmp_path: Path, fraction: float, empty: str) -> None:
    folder = corpus(tmp_path / "in", {"a.jsonl": documents(5)})
    config = config_for(folder, tmp_path / "out", publish={"validation_fraction": fraction})
    manifest = publish_corpus(config)
    assert manifest["rows"][empty] == 0
    check(config, manifest)


def test_the_order_of_files_and_units_changes_no_row(tmp_path: Path) -> None:
    rows = documents(30)
    one = corpus(tmp_path / "one", {"a.jsonl": rows})
    other = corpus(tmp_path / "other", {"x.jsonl": rows[20:], "y.jsonl": rows[:20][::-1]})
    tables = []
    for folder in (one, other):
        # Near duplicates are judged within a unit, and units follow the files; all else must not.
        config = config_for(folder, tmp_path / f"out-{folder.name}", checks={"enabled": False})
        manifest = publish_corpus(config)
        tables.append(read(config, manifest, "pairs").drop("unit_id", "source_uri", "created_at").sort("pair_id"))
    assert tables[0].equals(tables[1])


def test_equal_chunks_of_different_documents_are_published_once(tmp_path: Path) -> None:
    text = prose(10)
    folder = corpus(
        tmp_path / "in",
        {f"{name}.jsonl": [{"id": name, "text": text}, *documents(2, first=10 * n)] for n, name in enumerate("abc")},
    )
    config = config_for(folder, tmp_path / "out")
    # In one bundle, and each file a split of its own.
    for max_files in (1024, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("selfstudy.corpus.splits._BUNDLE_MAX_FILES", max_files)
            config = config_for(folder, tmp_path / f"out{max_files}")
            manifest = publish_corpus(config)
        check(config, manifest)
        chunks = read(config, manifest, "chunks").filter(pl.col("doc_id").is_in(["a", "b", "c"]))
        twins = chunks.filter(pl.col("duplicate_of").is_not_null())
        assert twins.height * 3 == chunks.height * 2
        assert (twins["duplicate_of"] < twins["chunk_id"]).all()
        rejects = read(config, manifest, "rejects").filter(pl.col("reason") == "duplicate_chunk")
        assert rejects.height > 0
        pairs = read(config, manifest, "pairs")
        assert pairs["pair_id"].n_unique() == pairs.height


def test_a_document_id_in_two_splits_is_published_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selfstudy.corpus.splits._BUNDLE_MAX_FILES", 1)
    again = {"id": "twice", "text": prose(4, first=900)}
    files = {
        "a.jsonl": [{"id": "twice", "text": prose(8)}, again, *documents(2)],
        "b.jsonl": [{"id": "twice", "text": prose(9, first=500)}, again, *documents(2, first=5)],
        # The same text under the same id; and in each split the id once more.
        "c.jsonl": [{"id": "twice", "text": prose(8)}, again],
    }
    config = config_for(corpus(tmp_path / "in", files), tmp_path / "out")
    manifest = publish_corpus(config)
    check(config, manifest)
    assert manifest["counts"]["documents"] == 10
    assert manifest["counts"]["documents_chunked"] == 5
    rejects = read(config, manifest, "rejects").filter(pl.col("reason") == "duplicate_document")
    assert Counter(rejects["stage"]) == {"publish": 2, "prepare": 3}
    chunks = read(config, manifest, "chunks").filter(pl.col("doc_id") == "twice")
    assert chunks["unit_id"].str.slice(0, 24).n_unique() == 1


def test_questions_that_a_document_repeats_across_units_are_dropped_in_its_order(tmp_path: Path) -> None:
    part = "The lamp of the tower burned whale oil in every winter of the war."
    text = "\n\n".join(
        f"## Part {n}\n\n{prose(9, first=20 * n)} {part[:-1]}, says witness {chr(65 + n)}." for n in range(9)
    )
    folder = corpus(tmp_path / "in", {"a.jsonl": [{"id": "d", "text": text}]})
    config = config_for(folder, tmp_path / "out", chunks={"per_unit": 1}, targets={"fraction": 1.0})
    manifest = publish_corpus(config)
    check(config, manifest)
    pairs = read(config, manifest, "pairs")
    normal = pairs["question"].str.to_lowercase()
    assert normal.n_unique() == pairs.height


def test_a_corpus_of_rejects_alone_has_its_tables(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jsonl").write_text("no\nnot\n")
    config = config_for(folder, tmp_path / "out")
    manifest = publish_corpus(config)
    check(config, manifest)
    assert manifest["counts"]["documents_rejected"] == 2
    assert manifest["coverage"]["document_rejects_by_reason"] == {"invalid_json": 2}


def test_publishing_again_says_the_same(tmp_path: Path) -> None:
    config = config_for(corpus(tmp_path / "in", {"a.jsonl": documents(5)}), tmp_path / "out")
    one = publish_corpus(config)
    assert publish_corpus(config) == one
    assert len(commit_corpus(config)) == one["units"]
