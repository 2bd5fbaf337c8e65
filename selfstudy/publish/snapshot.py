"""Committed units -> one published, immutable snapshot.

    snapshots/ID/data/{train,validation}-0000i-of-0000N.parquet
    snapshots/ID/{chunks,removed,rejects}/...parquet, coverage/{documents.parquet,corpus.json}
    snapshots/ID/README.md, then manifest.json, and last of all latest.json, the pointer (law 8)

ID is a sequence number and a hash of what is published and how, so that publishing after a crash writes the same
files again. Nothing that was published before is touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
import polars as pl
import pyarrow.dataset

from selfstudy.config import Config
from selfstudy.coverage import PublishedTables, corpus_coverage, document_coverage
from selfstudy.ids import content_hash
from selfstudy.publish.card import render_card
from selfstudy.publish.duplicates import find_copies, find_repeats
from selfstudy.publish.executor import Executor
from selfstudy.publish.shards import ShardPlan, copy_rejects, deal_units, file_entry, plan_outputs, write_shard
from selfstudy.reasons import TargetReject
from selfstudy.recipe import Recipe
from selfstudy.redact import redacted
from selfstudy.store.commits import Commit, read_commit, to_parquet
from selfstudy.store.filesystem import Folder
from selfstudy.tables import COVERAGE

LATEST = "latest.json"
# What one task reads at a time; decompressed and dealt it is about ten times as much.
_GROUP_BYTES = 8_000_000
# A larger corpus has larger groups instead of ever more parts.
_MAX_GROUPS = 1_000
_READ_THREADS = 16


# Before so many targets are done, a share of rejects says little.
MIN_TARGETS_FOR_SHARE = 1000


class TooManyRejectsError(RuntimeError):
    """So many targets were rejected that the data would not be worth having."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of the corpus that is not in the snapshot, and why."""

    split_id: str
    uris: tuple[str, ...]
    reason: str


def publish(
    output: Folder,
    unit_ids: Sequence[str],
    *,
    config: Config,
    recipe: Recipe,
    gaps: Sequence[Gap],
    versions: dict[str, str],
    executor: Executor,
    on_start: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Publish the units of all complete splits and return the manifest; the current one if it says the same.

    `on_start` is called if there is something to publish.

    Raises:
        TooManyRejectsError: more targets were rejected than limits.max_reject_share allows.
        OSError: storage failed; the snapshot before stays current.
    """
    latest = latest_manifest(output)
    fingerprint = fingerprint_of(unit_ids, config, gaps)
    if latest is not None and latest["fingerprint"] == fingerprint:
        return latest
    on_start()
    commits = read_commits(output, unit_ids)
    _refuse_too_many_rejects(commits, config)
    number = 1 + (int(latest["snapshot"].split("-", 1)[0]) if latest else 0)
    snapshot = f"{number:06d}-{fingerprint[:12]}"
    target = output.child(f"snapshots/{snapshot}")
    files = _write_tables(output, target, commits, config, executor)
    tables = published_tables(target, files)
    documents = document_coverage(tables)
    coverage = corpus_coverage(tables, documents)
    files += _write_coverage(target, documents, coverage)
    manifest = {
        "snapshot": snapshot,
        "fingerprint": fingerprint,
        "previous": latest["snapshot"] if latest else None,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "complete": not gaps,
        "gaps": [{"split_id": gap.split_id, "uris": list(gap.uris[:10]), "reason": gap.reason} for gap in gaps],
        "config": redacted(config.model_dump(mode="json")),
        "recipe": {"hash": recipe.hash, "ask_hash": recipe.ask_hash, "ask": recipe.ask, "shape": recipe.shape},
        "versions": versions,
        "units": len(commits),
        "counts": _published_counts(tables, commits, coverage),
        "rows": {
            split: sum(file["rows"] for file in files if file["name"].startswith(f"data/{split}-"))
            for split in ("train", "validation")
        },
        "coverage": coverage,
        "files": files,
    }
    target.write("README.md", render_card(redacted(manifest)).encode())
    target.write("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    output.write(LATEST, orjson.dumps({"snapshot": snapshot}))
    return manifest


def latest_manifest(output: Folder) -> dict[str, Any] | None:
    """Return the manifest of the current snapshot, None if nothing was published yet."""
    try:
        snapshot = orjson.loads(output.read(LATEST))["snapshot"]
    except FileNotFoundError:
        return None
    manifest: dict[str, Any] = orjson.loads(output.read(f"snapshots/{snapshot}/manifest.json"))
    return manifest


def fingerprint_of(unit_ids: Sequence[str], config: Config, gaps: Sequence[Gap]) -> str:
    """Name what is published and how. Units are immutable, so their ids stand for their content."""
    settings = config.publish.model_dump(mode="json")
    return content_hash("snapshot", sorted(unit_ids), settings, config.seed, sorted(gap.split_id for gap in gaps))


def reject_share(targets: int, rejected: int) -> float:
    """Return the share of rejected targets, 0 while there are too few to judge."""
    return rejected / targets if targets >= MIN_TARGETS_FOR_SHARE else 0.0


def _refuse_too_many_rejects(commits: Sequence[Commit], config: Config) -> None:
    targets = sum(commit.counts["targets"] for commit in commits)
    rejected: Counter[str] = Counter()
    for commit in commits:
        rejected.update(commit.counts["targets_rejected"])
    # A corpus that repeats itself is no failure of the generator.
    rejected.pop(TargetReject.DUPLICATE_CHUNK.value, None)
    share = reject_share(targets, rejected.total())
    if share > config.limits.max_reject_share:
        most = ", ".join(f"{reason} {number:,}" for reason, number in rejected.most_common(3))
        raise TooManyRejectsError(
            f"limits.max_reject_share: {share:.0%} of {targets:,} targets were rejected, more than "
            f"{config.limits.max_reject_share:.0%} ({most}); nothing is published"
        )


def read_commits(output: Folder, unit_ids: Sequence[str]) -> list[Commit]:
    with ThreadPoolExecutor(_READ_THREADS) as pool:
        return list(pool.map(partial(read_commit, output), sorted(unit_ids)))


def published_tables(target: Folder, files: Sequence[dict[str, Any]]) -> PublishedTables:
    """Open the shards that a manifest names."""

    def scan(table: str) -> pl.LazyFrame:
        return scan_parquet(target, [file["name"] for file in files if file["table"] == table])

    return PublishedTables(scan("pairs"), scan("chunks"), scan("removed"), scan("rejects"))


def scan_parquet(folder: Folder, names: Sequence[str]) -> pl.LazyFrame:
    """Scan Parquet files of a folder; their order is kept."""
    paths = [folder.path(name) for name in names]
    if folder.is_local:
        return pl.scan_parquet(paths, missing_columns="insert", extra_columns="ignore")
    return pl.scan_pyarrow_dataset(pyarrow.dataset.dataset(paths, filesystem=folder.fs))


def _write_tables(
    output: Folder, target: Folder, commits: Sequence[Commit], config: Config, executor: Executor
) -> list[dict[str, Any]]:
    groups = list(_groups(commits))
    copies = find_copies(output, groups, executor, len(groups))
    repeats: list[str] = []
    if config.checks.enabled:
        repeats = find_repeats(output, groups, copies, executor, len(groups))
    plan = ShardPlan(
        source=output,
        target=target,
        outputs=plan_outputs(
            commits, shard_mb=config.publish.shard_mb, validation_fraction=config.publish.validation_fraction
        ),
        copies=copies,
        repeats=tuple(repeats),
        keep_fields=tuple(config.corpus.keep_fields),
        seed=config.seed,
        validation_fraction=config.publish.validation_fraction,
    )
    items: list[Any] = [*groups, copy_rejects(copies)]
    written = executor.shuffle(partial(deal_units, plan), items, partial(write_shard, plan), plan.num_buckets)
    return [entry for entries in executor.fetch(written) for entry in entries]


def _groups(commits: Sequence[Commit]) -> Iterator[list[Commit]]:
    """Cut the commits into groups whose files have about _GROUP_BYTES together."""
    sizes = [sum(file["bytes"] for file in commit.files.values()) for commit in commits]
    group_bytes = max(_GROUP_BYTES, sum(sizes) // _MAX_GROUPS)
    group: list[Commit] = []
    num_bytes = 0
    for commit, size in zip(commits, sizes, strict=True):
        group.append(commit)
        num_bytes += size
        if num_bytes >= group_bytes:
            yield group
            group, num_bytes = [], 0
    if group:
        yield group


def _published_counts(tables: PublishedTables, commits: Sequence[Commit], coverage: dict[str, Any]) -> dict[str, int]:
    """What law 4 adds up. Documents come from the units, all else from the published tables."""
    num_targets = tables.chunks.select(pl.col("targets").list.len().sum()).collect(engine="streaming").item()
    return {
        "documents": sum(commit.counts["documents"] for commit in commits),
        "documents_chunked": coverage["documents"],
        "documents_rejected": sum(coverage["document_rejects_by_reason"].values()),
        "targets": int(num_targets or 0),
        "pairs": coverage["pairs"],
        "targets_rejected": sum(coverage["target_rejects_by_reason"].values()),
    } | {
        name: sum(commit.counts[name] for commit in commits)
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
    }


def _write_coverage(target: Folder, documents: pl.DataFrame, coverage: dict[str, Any]) -> list[dict[str, Any]]:
    table = documents.to_arrow().cast(COVERAGE.schema())
    data = to_parquet(table)
    target.write("coverage/documents.parquet", data)
    target.write("coverage/corpus.json", orjson.dumps(coverage, option=orjson.OPT_INDENT_2))
    return [file_entry("coverage/documents.parquet", "coverage", table.num_rows, data)]
