"""What the units of a snapshot hold together, and groups of them for tasks to read: the driver holds only their ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from selfstudy.publish.executor import Executor
from selfstudy.store.commits import read_commits
from selfstudy.store.filesystem import Folder

_UNITS_PER_BATCH = 2_000
# What one task reads at a time; decompressed and dealt it is about ten times as much.
_GROUP_BYTES = 8_000_000
# A larger corpus has larger groups instead of ever more parts.
_MAX_GROUPS = 1_000


@dataclass(slots=True)
class Survey:
    """`counts` adds up the units' counts, `rejected` rejected targets by reason, `num_bytes` files by table."""

    num_units: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    num_bytes: Counter[str] = field(default_factory=Counter)


def survey_units(output: Folder, unit_ids: Sequence[str], executor: Executor) -> Survey:
    """Read all commits, some thousands in a task, and add them up."""
    batches = [[unit_ids[first : first + _UNITS_PER_BATCH]] for first in range(0, len(unit_ids), _UNITS_PER_BATCH)]
    total = Survey()
    for part in executor.fetch(executor.combine(partial(_survey, output), batches)):
        total.num_units += part.num_units
        total.counts.update(part.counts)
        total.rejected.update(part.rejected)
        total.num_bytes.update(part.num_bytes)
    return total


def group_units(unit_ids: Sequence[str], num_bytes: int) -> list[Sequence[str]]:
    """Cut units of this many bytes together into groups that a task can read at once."""
    num_groups = min(_MAX_GROUPS, len(unit_ids), 1 + num_bytes // _GROUP_BYTES)
    borders = [len(unit_ids) * place // num_groups for place in range(num_groups + 1)]
    return [unit_ids[first:after] for first, after in pairwise(borders)]


def _survey(output: Folder, _index: int, batches: list[Sequence[str]]) -> Survey:
    found = Survey()
    for commit in read_commits(output, batches[0]):
        found.num_units += 1
        for name, value in commit.counts.items():
            found.counts[name] += sum(value.values()) if isinstance(value, dict) else value
        found.rejected.update(commit.counts["targets_rejected"])
        found.num_bytes.update({table: file["bytes"] for table, file in commit.files.items()})
    return found
