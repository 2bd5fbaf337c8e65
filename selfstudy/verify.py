"""The laws again, from the published files alone: checksums, schemas, ids, offsets, conservation, uniqueness.

Reads a snapshot and the unit files that the commits name; writes nothing. Memory is bounded by a shard, the removed
spans and the ids. A violation is one line that says which file or row, and what was expected.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from selfstudy.checks import normal_question
from selfstudy.cleaned import chunk_key_of, clean, removed_runs
from selfstudy.coverage import PublishedTables, corpus_coverage
from selfstudy.ids import content_hash
from selfstudy.publish.executor import Here
from selfstudy.publish.measure import measure
from selfstudy.publish.snapshot import CORPUS, DOCUMENTS, published_tables
from selfstudy.reasons import Ineligible
from selfstudy.records import Sentence
from selfstudy.store.filesystem import Folder
from selfstudy.store.snapshots import latest_manifest
from selfstudy.tables import TABLES
from selfstudy.targets import pair_id_of
from selfstudy.text.chunks import chunk_id_of
from selfstudy.verdict import Verdict
from selfstudy.verify_units import check_index, check_units, has_content


def verify(output: Folder, observer: Callable[[str], None] = lambda _: None) -> Verdict:
    """Check the current snapshot and all committed units of an output.

    Raises:
        FileNotFoundError: nothing was published there.
    """
    manifest = latest_manifest(output)
    if manifest is None:
        raise FileNotFoundError(f"{output.url}: nothing is published here (no latest.json)")
    verdict = Verdict(manifest["snapshot"])
    folder = output.child(f"snapshots/{manifest['snapshot']}")
    observer("units")
    check_units(output, verdict)
    observer("files")
    _check_files(folder, manifest, verdict)
    if verdict.ok:  # what cannot be read cannot be recomputed
        tables = published_tables(folder, manifest["files"])
        observer("ids and offsets")
        _check_chunks(folder, manifest, tables, verdict)
        _check_pairs(folder, manifest, tables, verdict)
        observer("conservation and coverage")
        _check_conservation(manifest, tables, verdict)
        _check_coverage(folder, manifest, verdict)
        observer("index")
        check_index(output, manifest, tables, verdict)
    return verdict


def _check_files(folder: Folder, manifest: dict[str, Any], verdict: Verdict) -> None:
    recipe = manifest["recipe"]
    verdict.expect("recipe", content_hash("recipe", recipe["ask"], recipe["shape"]), recipe["hash"], "manifest")
    verdict.expect("recipe", content_hash("ask", recipe["ask"]), recipe["ask_hash"], "manifest")
    listed = {file["name"] for file in manifest["files"]}
    for directory in {name.split("/", 1)[0] for name in listed}:
        present = {f"{directory}/{name}" for name in folder.names(directory) if name.endswith(".parquet")}
        for name in sorted(present - listed):
            verdict.violated("files", f"{name} is not in the manifest")
    keep_fields = manifest["config"]["corpus"]["keep_fields"]
    for file in manifest["files"]:
        verdict.checked["checksum"] += 1
        if not has_content(folder, file["name"], file["bytes"], file["sha256"]):
            verdict.violated("checksum", f"{file['name']} is missing or not what the manifest says")
            continue
        with folder.open(file["name"]) as handle:
            parquet = pq.ParquetFile(handle)
            verdict.expect("rows", parquet.metadata.num_rows, file["rows"], file["name"])
            table = TABLES[file["table"]]
            traced = "answer_token_ids" in parquet.schema_arrow.names
            expected = table.schema(keep_fields, with_optional=traced)
            verdict.expect("schema", _differences(parquet.schema_arrow, expected), [], file["name"])


def _check_chunks(folder: Folder, manifest: dict[str, Any], tables: PublishedTables, verdict: Verdict) -> None:
    removed: dict[str, dict[int, str]] = defaultdict(dict)
    for chunk_id, start, text in (
        tables.removed.filter(pl.col("field") == "text").select("chunk_id", "start", "text").collect().iter_rows()
    ):
        removed[chunk_id][start] = text
    _expect_unique(tables.chunks, ["chunk_id"], "chunk_id", verdict)
    chunks_in = dict(tables.chunks.group_by("doc_id").agg(pl.len()).collect(engine="streaming").iter_rows())
    ask_hash = manifest["recipe"]["ask_hash"]
    for row in _rows(folder, manifest, "chunks"):
        _check_chunk(row, removed.get(row["chunk_id"], {}), chunks_in[row["doc_id"]], ask_hash, verdict)


def _check_chunk(
    row: dict[str, Any], removed: dict[int, str], num_in_document: int, ask_hash: str, verdict: Verdict
) -> None:
    where = f"chunk {row['chunk_id']}"
    text, start = row["text"], row["start"]
    verdict.expect("offsets", row["end"] - start, len(text), where)
    sentences = [
        Sentence(span["start"], span["end"], Ineligible(span["reason"]) if span["reason"] else None)
        for span in row["sentences"]
    ]
    runs = removed_runs(sentences)
    verdict.expect("removed spans", sorted(removed), [run_start for run_start, _ in runs], where)
    restored = text
    for run_start, run_end in runs:
        first, last = run_start - start, run_end - start
        verdict.expect("removed spans", text[first:last].strip(), "", f"{where} at {run_start}")
        lifted = removed.get(run_start, "")
        verdict.expect("removed spans", len(lifted), last - first, f"{where} at {run_start}")
        restored = restored[:first] + lifted + restored[last:]
    _check_tiling(restored, start, sentences, where, verdict)
    verdict.checked["chunk_id"] += 1
    if row["chunk_id"] not in (chunk_id_of(row["doc_id"], restored, n) for n in range(num_in_document)):
        verdict.violated("chunk_id", f"{where}: is not the hash of its document and text")
    key = chunk_key_of(row["title"], clean(text, start, sentences), sentences, ask_hash)
    verdict.expect("chunk_key", row["chunk_key"], key, where)
    for target in row["targets"]:
        verdict.expect("pair_id", target["pair_id"], pair_id_of(key, target["rank"]), where)
        verdict.expect("target is eligible", sentences[target["sentence"]].eligible, True, where)


def _check_tiling(text: str, start: int, sentences: Sequence[Sentence], where: str, verdict: Verdict) -> None:
    """Sentences are stripped, in order, apart, and nothing but white space is between them."""
    verdict.checked["sentences tile the text"] += 1
    position = 0
    for sentence in sentences:
        first, last = sentence.start - start, sentence.end - start
        content = text[first:last]
        if first < position or content.strip() != content or not content or text[position:first].strip():
            verdict.violated("sentences tile the text", f"{where}: sentence at {sentence.start}")
        position = last
    if text[position:].strip():
        verdict.violated("sentences tile the text", f"{where}: text after the last sentence")


def _check_pairs(folder: Folder, manifest: dict[str, Any], tables: PublishedTables, verdict: Verdict) -> None:
    _expect_unique(tables.pairs, ["pair_id"], "pair_id", verdict)
    chunks = tables.chunks.select(
        "chunk_id",
        pl.col("chunk_key").alias("key_of_chunk"),
        pl.col("doc_id").alias("document_of_chunk"),
        "duplicate_of",
        pl.col("start").alias("chunk_start"),
        "text",
    )
    first = pl.col("target_start") - pl.col("chunk_start")
    target = pl.col("text").str.slice(first, pl.col("target_end") - pl.col("target_start"))
    laws = {
        "pair has its chunk": pl.col("text").is_not_null(),
        "chunk_key": pl.col("chunk_key") == pl.col("key_of_chunk"),
        "doc_id": pl.col("doc_id") == pl.col("document_of_chunk"),
        "published once": pl.col("duplicate_of").is_null(),
        "target offsets": (first >= 0) & (target == pl.col("target_text")),
    }
    held = (
        tables.pairs.join(chunks, on="chunk_id", how="left")
        .select("pair_id", *(law.fill_null(value=False).alias(name) for name, law in laws.items()))
        .filter(~pl.all_horizontal(*laws))
        .collect(engine="streaming")
    )
    for row in held.iter_rows(named=True):
        for name in laws:
            if not row[name]:
                verdict.violated(name, f"pair {row['pair_id']}")
    for name in laws:
        verdict.checked[name] += manifest["counts"]["pairs"]
    _check_questions(folder, manifest, verdict)


def _check_questions(folder: Folder, manifest: dict[str, Any], verdict: Verdict) -> None:
    seen: set[tuple[str, str]] = set()
    for row in _rows(folder, manifest, "pairs", ["pair_id", "chunk_key", "rank", "doc_id", "question"]):
        where = f"pair {row['pair_id']}"
        verdict.expect("pair_id", row["pair_id"], pair_id_of(row["chunk_key"], row["rank"]), where)
        verdict.checked["question asked once"] += 1
        asked = (row["doc_id"], content_hash("question", normal_question(row["question"])))
        if asked in seen and manifest["config"]["checks"]["enabled"]:
            verdict.violated("question asked once", f"{where}: {row['question']!r}")
        seen.add(asked)


def _check_conservation(manifest: dict[str, Any], tables: PublishedTables, verdict: Verdict) -> None:
    counts = manifest["counts"]
    about_document = pl.col("chunk_id").is_null()
    chunked = tables.chunks.select(pl.col("doc_id").n_unique()).collect(engine="streaming").item()
    rejected = tables.rejects.filter(about_document).select(pl.len()).collect(engine="streaming").item()
    verdict.expect("documents = chunked + rejected", counts["documents"], chunked + rejected, "manifest")
    planned = tables.chunks.select(pl.col("targets").explode().struct.field("pair_id")).drop_nulls()
    ended = pl.concat(
        [tables.pairs.select("pair_id"), tables.rejects.filter(~about_document).select(pl.col("id").alias("pair_id"))]
    )
    per_target = (
        planned.group_by("pair_id").agg(pl.len().alias("planned"))
        .join(ended.group_by("pair_id").agg(pl.len().alias("ended")), on="pair_id", how="full", coalesce=True)
        .with_columns(pl.col("planned", "ended").fill_null(0))
    )  # fmt: skip
    unequal = per_target.filter(pl.col("planned") != pl.col("ended")).collect(engine="streaming")
    verdict.checked["targets = pairs + rejects"] += counts["targets"]
    for row in unequal.iter_rows(named=True):
        detail = f"target {row['pair_id']}: planned {row['planned']} times, ended {row['ended']} times"
        verdict.violated("targets = pairs + rejects", detail)
    verdict.expect(
        "targets = pairs + rejects", counts["targets"], counts["pairs"] + counts["targets_rejected"], "manifest"
    )


def _check_coverage(folder: Folder, manifest: dict[str, Any], verdict: Verdict) -> None:
    with folder.open(DOCUMENTS) as file:
        published = pl.read_parquet(file)
    tallies = []
    first = 0
    for documents, tally in measure(folder, manifest["files"], Here()):
        found = published.slice(first, documents.height)
        verdict.expect("coverage", documents.equals(found), True, f"{DOCUMENTS} from row {first}")
        first += documents.height
        tallies.append(tally)
    verdict.expect("coverage", published.height, first, DOCUMENTS)
    corpus = corpus_coverage(tallies)
    verdict.expect("coverage", orjson.loads(folder.read(CORPUS)), corpus, CORPUS)
    verdict.expect("coverage", manifest["coverage"], corpus, "manifest")
    accounted = corpus["eligible"] + corpus["removed"] + sum(corpus["ineligible_by_reason"].values())
    verdict.expect("sentences = eligible + ineligible + removed", corpus["sentences"], accounted, "manifest")


def _expect_unique(frame: pl.LazyFrame, columns: list[str], law: str, verdict: Verdict) -> None:
    repeated = frame.group_by(columns).agg(pl.len()).filter(pl.col("len") > 1).collect(engine="streaming")
    for row in repeated.iter_rows():
        verdict.violated(f"{law} is unique", " ".join(map(str, row[:-1])))


def _rows(
    folder: Folder, manifest: dict[str, Any], table: str, columns: list[str] | None = None
) -> Iterator[dict[str, Any]]:
    for file in manifest["files"]:
        if file["table"] == table:
            with folder.open(file["name"]) as handle:
                for batch in pq.ParquetFile(handle).iter_batches(1024, columns=columns):
                    yield from batch.to_pylist()


def _differences(found: pa.Schema, expected: pa.Schema) -> list[str]:
    """Return the columns that differ; types are compared as such, since Parquet renames the items of lists."""
    if found.names != expected.names:
        return [f"columns {found.names} instead of {expected.names}"]
    pairs = zip(found, expected, strict=True)
    return [
        f"{column.name}: {column.type} instead of {wanted.type}"
        for column, wanted in pairs
        if column.type != wanted.type
    ]
