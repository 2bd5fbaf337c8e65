"""The state of an output from the store alone: no process has to be running, none is asked."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson

from selfstudy.store.commits import COMMITS, Commit, CommittedUnits
from selfstudy.store.filesystem import Folder
from selfstudy.store.snapshots import latest_manifest

_THREADS = 16
# More commits than this are not all read: a million would be minutes on a disk, and half an hour on an object store.
_MAX_READ = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """`splits_started` counts splits with a committed unit, `splits_complete` those with all of them.

    `counts` is what all committed units hold, whatever recipe or night they are from. Of a large store it is an
    estimate from `units_read` commits, drawn evenly (names are hashes), and `last_commit_at` the newest of these.
    `last_run` is the content of the newest runs/RUN.json; without `finished_at` it still runs or was cut off.
    """

    units: int
    units_read: int
    splits_started: int
    splits_complete: int
    counts: dict[str, int]
    last_commit_at: str | None
    last_run: dict[str, Any] | None
    snapshot: str | None
    snapshot_complete: bool | None
    snapshot_pairs: int | None


def status(output: Folder) -> Status:
    """Read the commits, the newest run record and the current manifest of an output.

    Raises:
        FileNotFoundError: no run ever wrote there.
    """
    runs = [name for name in output.names("runs") if name.endswith(".json")]
    names = output.names(COMMITS)
    if not runs and not names:
        raise FileNotFoundError(f"{output.url}: no run has written here")
    committed = CommittedUnits.of_names(names)
    drawn = names[:: -(-len(names) // _MAX_READ) or 1]
    with ThreadPoolExecutor(_THREADS) as pool:
        commits = list(pool.map(lambda name: Commit.parse(output.read(f"{COMMITS}/{name}")), drawn))
    counts: Counter[str] = Counter()
    for commit in commits:
        for name, value in commit.counts.items():
            counts[name] += sum(value.values()) if isinstance(value, dict) else value
    manifest = latest_manifest(output)
    return Status(
        units=len(names),
        units_read=len(drawn),
        splits_started=len(committed.numbers),
        splits_complete=sum(committed.is_complete(prefix) for prefix in committed.numbers),
        counts={name: round(value * len(names) / len(drawn)) for name, value in counts.items()},
        last_commit_at=max((commit.created_at for commit in commits), default=None),
        last_run=orjson.loads(output.read(f"runs/{runs[-1]}")) if runs else None,
        snapshot=manifest["snapshot"] if manifest else None,
        snapshot_complete=manifest["complete"] if manifest else None,
        snapshot_pairs=manifest["counts"]["pairs"] if manifest else None,
    )
