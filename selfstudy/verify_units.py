"""Of `verify`: the committed units, and the index by which the next night finds what they hold."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import pyarrow.compute as pc

from selfstudy.coverage import PublishedTables
from selfstudy.publish.index import UNITS_FILE
from selfstudy.store.commits import COMMITS, Commit, CommittedUnits, from_parquet
from selfstudy.store.filesystem import Folder
from selfstudy.verdict import Verdict

_THREADS = 8


def check_units(output: Folder, verdict: Verdict) -> None:
    """Check the files of every commit, and that its targets and reused pairs add up."""
    with ThreadPoolExecutor(_THREADS) as pool:
        for violations in pool.map(lambda name: _violations_of(output, name), output.names(COMMITS)):
            verdict.checked["unit checksum"] += 1
            for law, detail in violations:
                verdict.violated(law, detail)


def check_index(output: Folder, manifest: dict[str, Any], tables: PublishedTables, verdict: Verdict) -> None:
    """Check that each chunk is found in one unit, that all units named are committed, and how many are published."""
    folder = output.child(f"snapshots/{manifest['snapshot']}")
    units = pl.read_parquet(folder.read(UNITS_FILE))
    committed = CommittedUnits.find(output)
    for unit_id in units["unit_id"]:
        verdict.checked["unit is committed"] += 1
        if unit_id not in committed:
            verdict.violated("unit is committed", unit_id)
    verdict.expect("units", int(units["published"].sum()), manifest["units"], UNITS_FILE)
    names = [file["name"] for file in manifest["files"] if file["table"] == "index"]
    keys: set[str] = set()
    for name in names:
        rows = pl.read_parquet(folder.read(name))
        verdict.checked["index"] += rows.height
        unknown = rows.filter(~pl.col("unit_id").is_in(units["unit_id"].implode()))
        for key, unit_id in unknown.iter_rows():
            verdict.violated("index", f"{name}: {key} is in {unit_id}, which is not in {UNITS_FILE}")
        if rows.height != rows["chunk_key"].n_unique() or not rows["chunk_key"].is_sorted():
            verdict.violated("index", f"{name}: chunk_keys are not sorted, or not unique")
        keys.update(rows["chunk_key"])
    chunk_keys = tables.chunks.select(pl.col("chunk_key").unique()).collect(engine="streaming")["chunk_key"]
    for key in chunk_keys:
        if key not in keys:
            verdict.violated("index", f"chunk_key {key} is not in it")


def has_content(folder: Folder, name: str, num_bytes: int, sha256: str) -> bool:
    """Whether a file is there and is what was written."""
    try:
        with folder.open(name) as file:
            digest = hashlib.file_digest(file, "sha256")
            return digest.hexdigest() == sha256 and file.tell() == num_bytes
    except FileNotFoundError:
        return False


def _violations_of(output: Folder, name: str) -> list[tuple[str, str]]:
    commit = Commit.parse(output.read(f"{COMMITS}/{name}"))
    violations = [
        ("unit checksum", f"{file['name']} is not what {name} committed")
        for file in commit.files.values()
        if not has_content(output, file["name"], file["bytes"], file["sha256"])
    ]
    counts = commit.counts
    if counts["targets"] != counts["pairs"] + sum(counts["targets_rejected"].values()):
        violations.append(("unit conservation", f"{name}: targets are not pairs and rejects"))
    if not violations and "pairs" in commit.files:
        reused = from_parquet(output.read(commit.files["pairs"]["name"]), ["reused"])["reused"]
        if (len(reused), pc.sum(reused).as_py()) != (counts["pairs"], counts["pairs_reused"]):
            violations.append(("unit conservation", f"{name}: pairs are not those that it counts"))
    return violations
