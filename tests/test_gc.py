"""Retention, gc and diff: what is needed stays, whatever was cut off where."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from selfstudy import gc
from selfstudy.gc import Garbage, Kind, find_garbage, remove, totals
from selfstudy.publish.diff import diff
from selfstudy.publish.executor import Here
from selfstudy.store.attempts import end_attempt, start_attempt
from selfstudy.store.commits import COMMITS
from selfstudy.store.filesystem import Folder
from selfstudy.store.retries import RETRIES, find_retries, write_retry
from selfstudy.store.snapshots import manifests_to_compare
from tests.test_refresh import RANDOM, TEXTS, Nights


def folder_of(nights: Nights) -> Folder:
    return Folder.at(str(nights.output))


def collect(nights: Nights, keep: int | None = None, min_age_s: float = 0) -> dict[str, int]:
    """Run gc for good and return the number of objects of each kind."""
    garbage = find_garbage(folder_of(nights), keep=keep, min_age_s=min_age_s)
    remove(folder_of(nights), garbage)
    return {kind: total["objects"] for kind, total in totals(garbage).items() if total["objects"]}


def rename(nights: Nights, name: str) -> None:
    nights.write({name: nights.rows})


def files_below(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


def test_nothing_is_garbage_after_a_run(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    nights.run()
    assert collect(nights) == {}


def test_units_go_with_the_last_snapshot_that_needs_them(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    nights.run()
    rename(nights, "again")
    before = nights.run()
    assert collect(nights) == {}
    old = nights.snapshots[0]
    collected = collect(nights, keep=1)
    assert set(collected) == {Kind.MANIFEST, Kind.SNAPSHOT_FILE, Kind.COMMIT, Kind.UNIT_FILE}
    assert not (nights.output / "snapshots" / old).exists()
    commits = [path.stem for path in (nights.output / COMMITS).glob("*.json")]
    assert set(before["unit_id"]) <= set(commits) and len(commits) == collected[Kind.COMMIT]
    assert {path.name.rsplit("-", 1)[0] for path in (nights.output / "units/pairs").iterdir()} <= set(commits)
    nights.check()
    assert collect(nights, keep=1) == {}
    rename(nights, "third")
    after = nights.run()
    assert nights.asked == 0 and after.select(TEXTS).equals(before.select(TEXTS))


def test_what_was_committed_after_the_snapshot_stays(tmp_path: Path) -> None:
    nights = Nights(tmp_path, chunks={"per_unit": 4})
    nights.run()
    snapshot = (nights.output / "latest.json").read_bytes()
    rename(nights, "again")
    nights.run()
    (nights.output / "latest.json").write_bytes(snapshot)  # the second run was killed before it published
    stamp = (nights.output / "snapshots" / nights.snapshots[0] / "manifest.json").stat().st_mtime
    os.utime(nights.output / "latest.json", (stamp, stamp))
    collected = collect(nights)
    assert set(collected) == {Kind.MANIFEST, Kind.SNAPSHOT_FILE}  # the snapshot that never became current
    nights.run()
    assert nights.asked == 0 and not nights.last_commits
    nights.check()


def test_units_of_gaps_stay(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    first = nights.run()
    nights.write({f"{place}": [row] for place, row in enumerate(nights.rows)})
    nights.run(limits={"max_documents": 2})
    assert not nights.manifest["complete"]
    assert Kind.COMMIT not in collect(nights, keep=1)  # the index of the gaps leads to the first night's units
    assert (nights.output / "snapshots" / nights.snapshots[0]).exists()  # the newest complete one
    after = nights.run()
    assert nights.asked == 0 and after.select(TEXTS).equals(first.select(TEXTS))
    assert Kind.COMMIT in collect(nights, keep=1)
    nights.check()


def test_leftovers_go_once_they_are_old(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    pairs = nights.run()
    output = folder_of(nights)
    unit = pairs["unit_id"][0]
    winner = next((nights.output / "units/pairs").glob(f"{unit}-*"))
    lost = [winner.with_name(f"{unit}-{'0' * 16}.parquet"), winner.with_name(f"{'f' * 24}-000000-{'1' * 16}.parquet")]
    lost.append(nights.output / "units/chunks" / ".x.parquet.abc.tmp")
    lost.append(nights.output / "snapshots/000002-abcdef/data/train-00000-of-00001.parquet")
    for path in lost:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"left behind")
    start_attempt(output, unit, "old-run")
    start_attempt(output, "e" * 24 + "-000000", "old-run")
    end_attempt(output, "e" * 24 + "-000000", "old-run", "failed")
    write_retry(output, "d" * 24, 1, ["refusal"])
    stamp = (nights.output / "latest.json").stat().st_mtime - 10
    os.utime(nights.output / RETRIES / f"{'d' * 24}-1.json", (stamp, stamp))
    before = files_below(nights.output)
    young = collect(nights, min_age_s=3600)
    assert young == {Kind.ATTEMPT: 2, Kind.RETRY: 1} and all(path.exists() for path in lost)
    assert collect(nights) == {Kind.UNIT_FILE: 2, Kind.SNAPSHOT_FILE: 1, Kind.TEMPORARY: 1}
    assert not any(path.exists() for path in lost) and winner.exists()
    gone = before - files_below(nights.output)
    assert len(gone) == 7
    assert f"units/attempts/{'e' * 24}-000000/old-run.0.failed" in files_below(nights.output)
    nights.check()


def test_a_retry_in_use_stays(tmp_path: Path) -> None:
    nights = Nights(tmp_path, engine=RANDOM | {"refusal_rate": 0.3})
    nights.run()
    nights.run(retry=("refusal",))
    nights.run(retry=("refusal",))
    before = nights.pairs()
    collect(nights, keep=1)
    assert set(find_retries(folder_of(nights)).values()) == {2}
    nights.run()
    assert nights.asked == 0 and nights.pairs().equals(before)


@pytest.mark.parametrize("seed", range(4))
def test_a_gc_that_is_killed_anywhere_leaves_a_valid_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    nights = Nights(tmp_path, chunks={"per_unit": 4})
    nights.run()
    rename(nights, "again")
    before = nights.run()
    garbage = find_garbage(folder_of(nights), keep=1, min_age_s=0)
    left = random.Random(seed).randrange(len(garbage))
    removed = 0
    original = Folder.remove

    def cut_off(folder: Folder, name: str) -> None:
        nonlocal removed
        if removed >= left:
            raise KeyboardInterrupt
        removed += 1
        original(folder, name)

    monkeypatch.setattr(Folder, "remove", cut_off)
    monkeypatch.setattr(gc, "_THREADS", 1)
    with pytest.raises(KeyboardInterrupt):
        remove(folder_of(nights), garbage)
    monkeypatch.undo()
    nights.check()
    for commit in (nights.output / COMMITS).glob("*.json"):
        names = [file["name"] for file in json.loads(commit.read_text())["files"].values()]
        assert all((nights.output / name).exists() for name in names)
    for manifest in (nights.output / "snapshots").glob("*/manifest.json"):
        names = [file["name"] for file in json.loads(manifest.read_text())["files"]]
        assert all((manifest.parent / name).exists() for name in names)
    collect(nights, keep=1)
    assert collect(nights, keep=1) == {}
    rename(nights, "third")
    assert nights.run().select(TEXTS).equals(before.select(TEXTS)) and nights.asked == 0


def test_keep_removes_old_snapshots_when_a_new_one_is_published(tmp_path: Path) -> None:
    nights = Nights(tmp_path, publish={"keep": 2})
    for number in range(4):
        rename(nights, f"night-{number}")
        nights.run()
    assert sorted(path.name for path in (nights.output / "snapshots").iterdir()) == nights.snapshots[-2:]
    nights.run(publish={"keep": 1})  # what is published does not depend on it: nothing new, nothing removed
    assert len(list((nights.output / "snapshots").iterdir())) == 2
    rename(nights, "last")
    nights.run(publish={"keep": 1})
    assert [path.name for path in (nights.output / "snapshots").iterdir()] == nights.snapshots[-1:]
    nights.check()


def _drop(nights: Nights) -> None:
    nights.write({"documents": nights.rows[1:]})


def _add(nights: Nights) -> None:
    new = nights.rows[2] | {"id": "new", "text": nights.rows[2]["text"].replace("valve", "boiler")}
    nights.write({"documents": [*nights.rows, new]})


@pytest.mark.parametrize("change", [_drop, _add, lambda nights: rename(nights, "again")])
@pytest.mark.parametrize("shard_mb", [32, 0.004])
def test_the_diff_is_that_of_the_tables(tmp_path: Path, change: Callable[[Nights], None], shard_mb: float) -> None:
    nights = Nights(tmp_path)
    old = nights.run()
    change(nights)
    new = nights.run(publish={"shard_mb": shard_mb})
    found = nights.manifest["diff"]
    for table, column in (("pairs", "pair_id"), ("chunks", "chunk_key")):
        before, after = (set(frame[column]) for frame in (old, new))
        if table == "chunks":  # also those without a pair
            before, after = (keys_of(nights, snapshot) for snapshot in nights.snapshots)
        expected = {"kept": len(before & after), "added": len(after - before), "dropped": len(before - after)}
        assert found[table] == expected, table
    assert found["figures"]["pairs"] == [old.height, new.height]
    assert diff(folder_of(nights), *manifests_to_compare(folder_of(nights)), Here()) == found
    card = (nights.output / "snapshots" / nights.snapshots[1] / "README.md").read_text()
    assert f"Since snapshot `{nights.snapshots[0]}`" in card
    back = diff(folder_of(nights), *manifests_to_compare(folder_of(nights), "000002", "000001"), Here())
    assert back["pairs"]["added"] == found["pairs"]["dropped"]


def keys_of(nights: Nights, snapshot: str) -> set[str]:
    paths = (nights.output / "snapshots" / snapshot / "chunks").glob("*.parquet")
    chunks = pl.concat(pl.read_parquet(path) for path in paths)
    return set(chunks.filter(pl.col("duplicate_of").is_null())["chunk_key"])


def test_snapshots_that_are_not_there(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    with pytest.raises(FileNotFoundError, match="nothing is published"):
        manifests_to_compare(folder_of(nights))
    nights.run()
    with pytest.raises(FileNotFoundError, match="is the first snapshot"):
        manifests_to_compare(folder_of(nights))
    with pytest.raises(FileNotFoundError, match="0 snapshots have a name"):
        manifests_to_compare(folder_of(nights), "000007")


def test_a_store_without_a_snapshot_keeps_its_units(tmp_path: Path) -> None:
    nights = Nights(tmp_path)
    nights.run()
    (nights.output / "latest.json").unlink()
    found: list[Garbage] = find_garbage(folder_of(nights), keep=None, min_age_s=0)
    assert not [item for item in found if item.kind in (Kind.COMMIT, Kind.UNIT_FILE)]
