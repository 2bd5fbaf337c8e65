"""`run --retry REASON`: which splits hold such rejects, and the plan in which they are asked again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from selfstudy.config import ConfigError
from selfstudy.planning import RunPlan
from selfstudy.reasons import RETRIABLE
from selfstudy.store.commits import CommittedUnits, read_commits
from selfstudy.store.filesystem import Folder
from selfstudy.store.retries import read_retry, write_retry


def check_reasons(reasons: Sequence[str]) -> None:
    """Raises ConfigError with one line per reason that no target can be asked again for."""
    known = ", ".join(RETRIABLE)
    problems = [f"--retry: {reason!r}: expected one of {known}" for reason in reasons if reason not in RETRIABLE]
    if problems:
        raise ConfigError(problems)


def plan_retry(plan: RunPlan, output: Folder, committed: CommittedUnits, reasons: Sequence[str]) -> tuple[RunPlan, int]:
    """Mark the splits that hold rejects of these reasons; return the plan with them and their number.

    Reads the commits of the plan's splits, one split at a time. A split whose last retry is not finished goes on with
    its reasons and these.
    """
    retries = dict(plan.retries)
    num_marked = 0
    for split in plan.splits:
        first, prefix = plan.first_prefix(split), plan.prefix(split)
        number = retries.get(first, 0)
        wanted = set(reasons)
        if number and not committed.is_complete(prefix):
            wanted |= set(read_retry(output, first, number).reasons)
        elif not any(
            set(reasons) & commit.counts["targets_rejected"].keys()
            for commit in read_commits(output, committed.unit_ids(prefix))
        ):
            continue
        retries[first] = number + 1
        write_retry(output, first, number + 1, sorted(wanted))
        num_marked += 1
    return replace(plan, retries=retries), num_marked
