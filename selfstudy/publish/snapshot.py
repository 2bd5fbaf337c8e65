"""Committed units -> one published, immutable snapshot.

    snapshots/ID/data/{train,validation}-0000i-of-0000N.parquet
    snapshots/ID/{chunks,removed,rejects,index}/...parquet, coverage/{documents.parquet,corpus.json}
    snapshots/ID/README.md, then manifest.json, and last of all latest.json, the pointer (law 8)

ID is a sequence number and a hash of what is published and how, so that publishing after a crash writes the same
files again. Nothing that was published before is touched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
import polars as pl
import pyarrow.dataset

from selfstudy.config import Config
from selfstudy.coverage import PublishedTables, corpus_coverage
from selfstudy.ids import content_hash
from selfstudy.publish.card import render_card
from selfstudy.publish.diff import diff
from selfstudy.publish.duplicates import find_copies, find_repeats
from selfstudy.publish.executor import Executor
from selfstudy.publish.files import parquet_file
from selfstudy.publish.index import write_index
from selfstudy.publish.measure import measure
from selfstudy.publish.retention import beyond, remove_snapshot
from selfstudy.publish.shards import ShardPlan, copy_rejects, deal_units, plan_outputs, sort_bucket, write_shard
from selfstudy.publish.survey import Survey, group_units, survey_units
from selfstudy.reasons import TargetReject
from selfstudy.recipe import Recipe
from selfstudy.redact import redacted
from selfstudy.reuse import Index
from selfstudy.store.filesystem import Folder
from selfstudy.store.snapshots import LATEST, latest_manifest
from selfstudy.tables import COVERAGE

DOCUMENTS = "coverage/documents.parquet"
CORPUS = "coverage/corpus.json"
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
    partial_ids: Sequence[str] = (),
    on_start: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Publish the units of all complete splits and return the manifest; the current one if it says the same.

    `partial_ids` are committed units of other splits, which enter the index only. `on_start` is called if there is
    something to publish.

    Raises:
        TooManyRejectsError: more targets were rejected than limits.max_reject_share allows.
        OSError: storage failed; the snapshot before stays current.
    """
    latest = latest_manifest(output)
    fingerprint = fingerprint_of(unit_ids, config, gaps)
    if latest is not None and latest["fingerprint"] == fingerprint:
        return latest
    on_start()
    unit_ids = sorted(unit_ids)
    survey = survey_units(output, unit_ids, executor)
    _refuse_too_many_rejects(survey, config)
    number = 1 + (int(latest["snapshot"].split("-", 1)[0]) if latest else 0)
    snapshot = f"{number:06d}-{fingerprint[:12]}"
    target = output.child(f"snapshots/{snapshot}")
    files = _write_tables(output, target, unit_ids, survey, config, executor)
    documents, coverage = _write_coverage(target, files, executor)
    files.append(documents)
    files += write_index(
        output,
        snapshot,
        published=unit_ids,
        partial_ids=partial_ids,
        before=Index.of(latest, recipe.ask_hash) if gaps else None,
        num_chunks=survey.counts["chunks"],
        executor=executor,
    )
    manifest = {
        "snapshot": snapshot,
        "fingerprint": fingerprint,
        "previous": latest["snapshot"] if latest else None,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "complete": not gaps,
        "epoch": config.targets.epoch_number,
        "exhausted": coverage["targeted"] == coverage["eligible"],
        "gaps": [{"split_id": gap.split_id, "uris": list(gap.uris[:10]), "reason": gap.reason} for gap in gaps],
        "config": redacted(config.model_dump(mode="json")),
        "recipe": {"hash": recipe.hash, "ask_hash": recipe.ask_hash, "ask": recipe.ask, "shape": recipe.shape},
        "versions": versions,
        "units": survey.num_units,
        "counts": _published_counts(survey, coverage),
        "rows": {
            split: sum(file["rows"] for file in files if file["name"].startswith(f"data/{split}-"))
            for split in ("train", "validation")
        },
        "coverage": coverage,
        "files": files,
    }
    manifest["diff"] = diff(output, latest, manifest, executor) if latest else None
    target.write("README.md", render_card(redacted(manifest)).encode())
    target.write("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))
    output.write(LATEST, orjson.dumps({"snapshot": snapshot}))
    for old in beyond(output, snapshot, config.publish.keep):
        remove_snapshot(output, old)
    return manifest


def fingerprint_of(unit_ids: Sequence[str], config: Config, gaps: Sequence[Gap]) -> str:
    """Name what is published and how. Units are immutable, so their ids stand for their content."""
    settings = config.publish.model_dump(mode="json", exclude={"keep"})
    return content_hash("snapshot", sorted(unit_ids), settings, config.seed, sorted(gap.split_id for gap in gaps))


def reject_share(targets: int, rejected: int) -> float:
    """Return the share of rejected targets, 0 while there are too few to judge."""
    return rejected / targets if targets >= MIN_TARGETS_FOR_SHARE else 0.0


def _refuse_too_many_rejects(survey: Survey, config: Config) -> None:
    targets = survey.counts["targets"]
    # A corpus that repeats itself is no failure of the generator.
    rejected = Counter({reason: n for reason, n in survey.rejected.items() if reason != TargetReject.DUPLICATE_CHUNK})
    share = reject_share(targets, rejected.total())
    if share > config.limits.max_reject_share:
        most = ", ".join(f"{reason} {number:,}" for reason, number in rejected.most_common(3))
        raise TooManyRejectsError(
            f"limits.max_reject_share: {share:.0%} of {targets:,} targets were rejected, more than "
            f"{config.limits.max_reject_share:.0%} ({most}); nothing is published"
        )


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
    output: Folder, target: Folder, unit_ids: Sequence[str], survey: Survey, config: Config, executor: Executor
) -> list[dict[str, Any]]:
    groups = group_units(unit_ids, survey.num_bytes.total())
    copies = find_copies(output, groups, executor, len(groups))
    repeats: list[str] = []
    if config.checks.enabled:
        repeats = find_repeats(output, groups, copies, executor, len(groups))
    outputs = plan_outputs(
        survey.num_bytes, shard_mb=config.publish.shard_mb, validation_fraction=config.publish.validation_fraction
    )
    plan = ShardPlan(
        source=output,
        target=target,
        outputs=outputs,
        copies=copies,
        repeats=tuple(repeats),
        keep_fields=tuple(config.corpus.keep_fields),
        seed=config.seed,
        validation_fraction=config.publish.validation_fraction,
    )
    items: list[Any] = [*groups, copy_rejects(copies)]
    buckets = executor.shuffle(partial(deal_units, plan), items, partial(sort_bucket, plan), plan.num_buckets)
    written = executor.combine(partial(write_shard, plan), plan.by_shard(buckets))
    return [entry for entries in executor.fetch(written) for entry in entries]


def _published_counts(survey: Survey, coverage: dict[str, Any]) -> dict[str, int]:
    """What law 4 adds up. Documents come from the units, all else from the published tables."""
    return {
        "documents": survey.counts["documents"],
        "documents_chunked": coverage["documents"],
        "documents_rejected": sum(coverage["document_rejects_by_reason"].values()),
        "targets": coverage["targets"],
        "pairs": coverage["pairs"],
        "targets_rejected": sum(coverage["target_rejects_by_reason"].values()),
    } | {
        # Of all pairs, whichever night asked them.
        name: survey.counts[name] + survey.counts[f"reused_{name}"]
        for name in ("prompt_tokens", "cached_tokens", "completion_tokens")
    }


def _write_coverage(
    target: Folder, files: Sequence[dict[str, Any]], executor: Executor
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the coverage and return the entry of its documents and the corpus's figures."""
    tallies = []
    with parquet_file(target, DOCUMENTS, COVERAGE.name, COVERAGE.schema()) as (file, entry):
        for documents, tally in measure(target, files, executor):
            file.write(documents.to_arrow().cast(COVERAGE.schema()))
            tallies.append(tally)
    coverage = corpus_coverage(tallies)
    target.write(CORPUS, orjson.dumps(coverage, option=orjson.OPT_INDENT_2))
    return entry, coverage
