"""Published snapshots by name: which is current, and what their manifests say."""

from __future__ import annotations

from typing import Any

import orjson

from selfstudy.store.filesystem import Folder

LATEST = "latest.json"
SNAPSHOTS = "snapshots"


def latest_manifest(output: Folder) -> dict[str, Any] | None:
    """Return the manifest of the current snapshot, None if nothing was published yet."""
    try:
        snapshot = orjson.loads(output.read(LATEST))["snapshot"]
    except FileNotFoundError:
        return None
    return read_manifest(output, snapshot)


def read_manifest(output: Folder, snapshot: str) -> dict[str, Any]:
    """Return the manifest of a snapshot. Raises FileNotFoundError."""
    manifest: dict[str, Any] = orjson.loads(output.read(f"{SNAPSHOTS}/{snapshot}/manifest.json"))
    return manifest


def next_epoch(latest: dict[str, Any] | None) -> int:
    """Return the epoch after that of the current snapshot; the same while it has gaps to fill or if it is exhausted."""
    if latest is None:
        return 0
    epoch: int = latest["epoch"]
    return epoch + (latest["complete"] and not latest["exhausted"])


def manifests_to_compare(
    output: Folder, before: str | None = None, after: str | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the manifests of two snapshots, given by id or the beginning of one; by default the last two.

    Raises:
        FileNotFoundError: there is no such snapshot, or none before.
    """
    newer = read_manifest(output, _named(output, after)) if after else latest_manifest(output)
    if newer is None:
        raise FileNotFoundError(f"{output.url}: nothing is published here (no {LATEST})")
    name = _named(output, before) if before else newer["previous"]
    if name is None:
        raise FileNotFoundError(f"{output.url}: {newer['snapshot']} is the first snapshot")
    try:
        return read_manifest(output, name), newer
    except FileNotFoundError:
        raise FileNotFoundError(f"{output.url}: the snapshot {name} is not there any more") from None


def _named(output: Folder, name: str) -> str:
    names = [each for each in output.names(SNAPSHOTS) if each.startswith(name)]
    if len(names) != 1:
        raise FileNotFoundError(f"{output.url}: {len(names)} snapshots have a name that begins with {name!r}")
    return names[0]
