"""Which snapshots stay, and how one is removed.

The current one always stays, and so does the newest complete one while the current has gaps.
"""

from __future__ import annotations

from selfstudy.store.filesystem import Folder
from selfstudy.store.snapshots import SNAPSHOTS, read_manifest


def published_snapshots(output: Folder, current: str) -> list[str]:
    """Return the snapshots that were published, oldest first. What is newer than `current` was not finished."""
    names = [name for name in output.names(SNAPSHOTS) if name <= current and _number(name) != _number(current)]
    return [*(name for name in names if output.exists(f"{SNAPSHOTS}/{name}/manifest.json")), current]


def beyond(output: Folder, current: str, keep: int | None) -> list[str]:
    """Return the published snapshots that a retention of `keep` (None: all) does not cover, oldest first."""
    snapshots = published_snapshots(output, current)
    if keep is None or len(snapshots) <= keep:
        return []
    newest_first = reversed(snapshots)
    complete = next((name for name in newest_first if read_manifest(output, name)["complete"]), None)
    return [name for name in snapshots[:-keep] if name != complete]


def remove_snapshot(output: Folder, snapshot: str) -> None:
    """Remove a snapshot, its manifest first: what is left of it if we are cut off is not one any more."""
    output.remove(f"{SNAPSHOTS}/{snapshot}/manifest.json")
    output.remove_folder(f"{SNAPSHOTS}/{snapshot}")


def _number(snapshot: str) -> str:
    return snapshot.split("-", 1)[0]
