"""One run from config to snapshot: plan, generate what is missing, publish what is complete.

The same call resumes a run that was cut off and refreshes one that is done: what is committed is never made again.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Generator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import orjson

from selfstudy import pipeline
from selfstudy.config import Config, ConfigError
from selfstudy.corpus.splits import Split
from selfstudy.engines.base import EngineUnusable
from selfstudy.planning import RunPlan, Work, estimate, plan_run
from selfstudy.publish.snapshot import Gap, TooManyRejectsError, publish
from selfstudy.recipe import differences
from selfstudy.records import Outcome
from selfstudy.redact import redacted
from selfstudy.retry import check_reasons, plan_retry
from selfstudy.reuse import Index
from selfstudy.run_state import ENGINE_COUNTS, Observer, Progress, RunRecord, RunSummary, Silent
from selfstudy.stages import Job
from selfstudy.store.attempts import count_attempts, died_line, split_attempts
from selfstudy.store.commits import CommittedUnits
from selfstudy.store.filesystem import Folder
from selfstudy.store.lock import RunLock
from selfstudy.store.snapshots import latest_manifest
from selfstudy.worker import UnitResult, versions

logger = logging.getLogger(__name__)


def run(
    config: Config,
    observer: Observer | None = None,
    *,
    new_recipe: bool = False,
    retry: Sequence[str] = (),
    steal_lock: bool = False,
) -> RunSummary:
    """Generate what is missing of `config` and publish a snapshot.

    `new_recipe` lets a run go on whose recipe asks everything anew; targets that were rejected for a reason of `retry`
    are asked once more; `steal_lock` takes the run lock from whoever has it.

    Raises:
        ConfigError: the config cannot be run: no corpus, output not writable, stages that do not fit the cluster,
            another recipe than the latest snapshot's.
        LockHeldError: another run is working on this output.
        EngineUnusable: a worker cannot start: the model cannot be loaded, or the endpoint refuses us.
        ClusterFailedError: Ray lost what the run stood on.
        OSError: storage failed on the way, for example a full disk. What was committed stays.
        KeyboardInterrupt: as it came; what was committed stays.
    """
    check_reasons(retry)
    plan = plan_run(config)
    config = plan.config
    output = _open_output(config)
    if not new_recipe:
        _refuse_another_recipe(plan, latest_manifest(output))
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
    try:
        lock = RunLock.take(output, run_id, config.limits.lock_lease_s, steal=steal_lock)
    except OSError as error:
        # The first write of a run: what fails here is the place, not the work.
        reason = error.strerror or error
        raise ConfigError([f"output: {redacted(config.output)}: cannot be written: {reason}"]) from None
    with lock, pipeline.stopping_ray():
        return _run_locked(plan, output, RunRecord(output, config, run_id), lock, observer or Silent(), retry)


def _run_locked(
    plan: RunPlan, output: Folder, record: RunRecord, lock: RunLock, observer: Observer, retry: Sequence[str]
) -> RunSummary:
    config = plan.config
    before = latest_manifest(output)
    committed = CommittedUnits.find(output)
    num_retried = 0
    if retry:
        plan, num_retried = plan_retry(plan, output, committed, retry)
    work = plan.work(committed)
    bytes_of = {item.split.split_id: item.split.num_bytes for item in work}
    progress = Progress(total_bytes=sum(bytes_of.values()), num_splits=len(work))
    stopped_by = ""
    if work:
        pipeline.start_ray()
        pipeline.check_resources(config)
        observer.started(progress)
        index = Index.of(before, plan.recipe.ask_hash)
        job = Job(config, plan.recipe, plan.prompts, record.run_id, index)
        with closing(_results(work, job)) as results:
            for result in results:
                progress.add(result, bytes_of[result.split_id])
                observer.advanced(progress)
                stopped_by = _limit_reached(config, progress) or lock.lost()
                if stopped_by:
                    break
        committed = CommittedUnits.find(output)
        if not plan.missing(committed):
            stopped_by = ""  # the limit was reached with the last unit
    lock.renew()
    stopped_by = lock.lost() or stopped_by
    gaps = _gaps(plan, output, record.run_id, committed, progress, stopped_by)
    manifest = before
    if progress.reject_share <= config.limits.max_reject_share and not lock.lost():
        try:
            manifest = _publish(plan, output, committed, gaps, observer)
        except TooManyRejectsError as error:
            stopped_by = str(error)
    summary = RunSummary(
        run_id=record.run_id,
        output=config.output,
        units=progress.units,
        targets=progress.counts["targets"],
        pairs=progress.counts["pairs"],
        reused=progress.counts["pairs_reused"],
        asked=progress.counts["targets_asked"],
        retried_splits=num_retried,
        seconds=round(progress.seconds, 3),
        engine={name: progress.counts[name] for name in ENGINE_COUNTS},
        published=manifest is not None and (before is None or manifest["snapshot"] != before["snapshot"]),
        stopped_by=stopped_by,
        gaps=tuple(gaps),
        manifest=manifest,
    )
    record.finish(summary)
    return summary


def recipe_changes(plan: RunPlan, latest: dict[str, Any] | None) -> list[str]:
    """Return what of the ask part of the recipe differs from the latest snapshot's: path, old -> new."""
    if latest is None or latest["recipe"]["ask_hash"] == plan.recipe.ask_hash:
        return []
    return differences(latest["recipe"]["ask"], orjson.loads(orjson.dumps(plan.recipe.ask)))


def _refuse_another_recipe(plan: RunPlan, latest: dict[str, Any] | None) -> None:
    changes = recipe_changes(plan, latest)
    if changes:
        assert latest is not None
        targets = estimate(plan)[0]["targets"].value
        why = (
            f"the recipe differs from that of snapshot {latest['snapshot']}, so about {targets:,} targets would be "
            "asked anew; --new-recipe does that"
        )
        raise ConfigError([*changes, why])


def _results(work: list[Work], job: Job) -> Generator[UnitResult]:
    with closing(pipeline.stream(work, job)) as stream:
        for result in stream:
            if result.outcome is Outcome.UNUSABLE:
                raise EngineUnusable(redacted(result.message))
            if result.outcome is Outcome.STORAGE_FAILED:
                raise OSError(redacted(result.message))
            yield result


def _limit_reached(config: Config, progress: Progress) -> str:
    limits = config.limits
    if limits.max_hours is not None and progress.seconds > 3600 * limits.max_hours:
        return f"limits.max_hours: {limits.max_hours:g} h are over"
    tokens = progress.counts["completion_tokens"]
    if limits.max_completion_tokens is not None and tokens >= limits.max_completion_tokens:
        return f"limits.max_completion_tokens: {tokens:,} tokens were generated"
    if progress.reject_share > limits.max_reject_share:
        return (
            f"limits.max_reject_share: {progress.reject_share:.0%} of {progress.counts['targets']:,} targets were "
            f"rejected, more than {limits.max_reject_share:.0%}; nothing is published"
        )
    return ""


def _gaps(
    plan: RunPlan, output: Folder, run_id: str, committed: CommittedUnits, progress: Progress, stopped_by: str
) -> list[Gap]:
    def gap(split: Split, reason: str) -> Gap:
        return Gap(split.split_id, tuple(source.uri for source in split.sources), reason)

    def why_unfinished(split: Split) -> str:
        attempts = count_attempts(output, split_attempts(plan.prefix(split)), run_id)
        return f"cannot be prepared: {died_line(attempts)}" if attempts.died_in_this_run else "not finished"

    gaps = [
        gap(split, progress.gaps.get(split.split_id) or stopped_by or why_unfinished(split))
        for split in plan.missing(committed)
    ]
    return gaps + [gap(split, "limits.max_documents") for split in plan.left_out]


def _publish(
    plan: RunPlan, output: Folder, committed: CommittedUnits, gaps: list[Gap], observer: Observer
) -> dict[str, Any] | None:
    unit_ids = plan.complete_units(committed)
    if not unit_ids:
        return latest_manifest(output)
    return publish(
        output,
        unit_ids,
        config=plan.config,
        recipe=plan.recipe,
        gaps=gaps,
        versions=versions(),
        executor=pipeline.OnRay(),
        partial_ids=plan.partial_units(committed),
        on_start=observer.publishing,
    )


def _open_output(config: Config) -> Folder:
    if config.output.startswith("memory:") or any(path.startswith("memory:") for path in config.corpus.paths):
        raise ConfigError(["output, corpus.paths: memory: lives in one process, and a run has many; use a folder"])
    try:
        return Folder.at(config.output)
    except ConfigError as error:
        raise ConfigError([f"output: {error}"]) from None
