"""What an output holds that nobody needs any more, and removing it.

Needed are the snapshots that `publish.keep` covers, the units that these name in their index, and every unit that was
committed after the current snapshot was published: an unfinished run will want it. Reads names, sizes and times; of
commits only those of units with files of several attempts.

Removed in an order in which being cut off leaves a valid store: a snapshot's manifest before its files, a commit before
its files. Not removed: the record of runs, and of failed attempts at units that are not committed.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from selfstudy.publish.index import units_of
from selfstudy.publish.retention import beyond, published_snapshots
from selfstudy.recipe import retried_prefix
from selfstudy.store.attempts import ATTEMPTS
from selfstudy.store.commits import COMMITS, UNIT_TABLES, read_commit
from selfstudy.store.filesystem import Entry, Folder
from selfstudy.store.retries import RETRIES
from selfstudy.store.snapshots import LATEST, SNAPSHOTS, latest_manifest

_THREADS = 16


class Kind(StrEnum):
    """What is removed, in this order."""

    MANIFEST = "manifests of old snapshots"
    SNAPSHOT_FILE = "files of old and unfinished snapshots"
    COMMIT = "commits of units that no snapshot needs"
    UNIT_FILE = "files of units that are not committed"
    ATTEMPT = "attempts that ended"
    RETRY = "retries of splits that are gone"
    TEMPORARY = "temporary files"


@dataclass(frozen=True, slots=True)
class Garbage:
    """An object that can go."""

    kind: Kind
    name: str
    num_bytes: int


def find_garbage(output: Folder, *, keep: int | None, min_age_s: float) -> list[Garbage]:
    """Return what can go, in the order of removal.

    `keep` is the number of snapshots that stay (None: all). What a live writer might be about to finish stays for
    `min_age_s`.

    Raises:
        FileNotFoundError: nothing was ever written there.
    """
    before = time.time() - min_age_s
    latest = latest_manifest(output)
    if latest is None and not output.names("runs") and not output.names(COMMITS):
        raise FileNotFoundError(f"{output.url}: no run has written here")
    found = [*_snapshot_files(output, latest, keep, before)]
    found += _unit_files(output, _needed_units(output, latest, keep), _published_at(output), before)
    found += [
        Garbage(Kind.TEMPORARY, entry.name, entry.num_bytes)
        for entry in output.entries("")
        if entry.is_temporary and entry.modified < before
    ]
    order = list(Kind)
    return sorted(found, key=lambda garbage: order.index(garbage.kind))


def remove(output: Folder, garbage: Collection[Garbage]) -> None:
    """Remove what `find_garbage` found, one kind after the other."""
    for kind in Kind:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(output.remove, (item.name for item in garbage if item.kind is kind)))
    output.remove_empty_folders(SNAPSHOTS)
    output.remove_empty_folders(ATTEMPTS)


def totals(garbage: Collection[Garbage]) -> dict[str, dict[str, int]]:
    """Return the number and bytes of each kind."""
    number, num_bytes = Counter[str](), Counter[str]()
    for item in garbage:
        number[item.kind] += 1
        num_bytes[item.kind] += item.num_bytes
    return {kind.value: {"objects": number[kind], "bytes": num_bytes[kind]} for kind in Kind}


def _snapshot_files(
    output: Folder, latest: dict[str, Any] | None, keep: int | None, before: float
) -> Iterator[Garbage]:
    old = set(beyond(output, latest["snapshot"], keep)) if latest else set()
    published = set(published_snapshots(output, latest["snapshot"])) if latest else set()
    for snapshot in output.names(SNAPSHOTS):
        if snapshot in published - old:
            continue
        entries = list(output.entries(f"{SNAPSHOTS}/{snapshot}"))
        if snapshot not in old and any(entry.modified >= before for entry in entries):
            continue  # it may be in the making
        for entry in entries:
            is_manifest = entry.name == f"{SNAPSHOTS}/{snapshot}/manifest.json"
            yield Garbage(Kind.MANIFEST if is_manifest else Kind.SNAPSHOT_FILE, entry.name, entry.num_bytes)


def _needed_units(output: Folder, latest: dict[str, Any] | None, keep: int | None) -> set[str] | None:
    """Return the units that a snapshot which stays needs; None if nothing tells."""
    if latest is None:
        return None
    old = beyond(output, latest["snapshot"], keep)
    kept = [name for name in published_snapshots(output, latest["snapshot"]) if name not in old]
    return {unit_id for snapshot in kept for unit_id in units_of(output, snapshot)}


def _published_at(output: Folder) -> float:
    return next((entry.modified for entry in output.entries("") if entry.name == LATEST), 0.0)


def _unit_files(output: Folder, needed: set[str] | None, published_at: float, before: float) -> Iterator[Garbage]:
    staying: set[str] = set()
    for entry in output.entries(COMMITS):
        if entry.is_temporary:
            continue
        unit_id = entry.base.removesuffix(".json")
        if needed is None or unit_id in needed or entry.modified >= published_at:
            staying.add(unit_id)
        else:
            yield Garbage(Kind.COMMIT, entry.name, entry.num_bytes)
    yield from _files_without_commit(output, staying, before)
    for entry in output.entries(ATTEMPTS):
        unit_id = entry.name.split("/")[-2]
        # What was started counts within one run only, and this one is over.
        if unit_id in staying or entry.name.endswith(".started"):
            yield Garbage(Kind.ATTEMPT, entry.name, entry.num_bytes)
    prefixes = {unit_id.split("-", 1)[0] for unit_id in staying}
    for entry in output.entries(RETRIES):
        first, number = entry.base.removesuffix(".json").split("-")
        is_used = any(retried_prefix(first, later) in prefixes for later in range(int(number), int(number) + 2))
        if not is_used and entry.modified < published_at:
            yield Garbage(Kind.RETRY, entry.name, entry.num_bytes)


def _files_without_commit(output: Folder, staying: set[str], before: float) -> Iterator[Garbage]:
    """Yield the files of units that go or never came, and those of attempts that lost."""
    first_seen: dict[str, str] = {}
    several: set[str] = set()
    for table in UNIT_TABLES:
        for entry in _files(output, table):
            unit_id, attempt = _unit_and_attempt(entry)
            if unit_id not in staying:
                if entry.modified < before:
                    yield Garbage(Kind.UNIT_FILE, entry.name, entry.num_bytes)
            elif first_seen.setdefault(unit_id, attempt) != attempt:
                several.add(unit_id)
    attempts_of = {unit_id: read_commit(output, unit_id).attempt for unit_id in sorted(several)}
    # A unit that has files of one attempt has those of the one that was committed: each attempt writes its chunks.
    for table in UNIT_TABLES if attempts_of else ():
        for entry in _files(output, table):
            unit_id, attempt = _unit_and_attempt(entry)
            if attempts_of.get(unit_id, attempt) != attempt and entry.modified < before:
                yield Garbage(Kind.UNIT_FILE, entry.name, entry.num_bytes)


def _files(output: Folder, table: str) -> Iterator[Entry]:
    return (entry for entry in output.entries(f"units/{table}") if not entry.is_temporary)


def _unit_and_attempt(entry: Entry) -> tuple[str, str]:
    unit_id, attempt = entry.base.removesuffix(".parquet").rsplit("-", 1)
    return unit_id, attempt
