"""What a run pays to find out what is left to do, when a store holds many commits.

A corpus of sparse files, which are cut into splits as real ones are, and an output with a commit for each unit of each
split, one split in a hundred unfinished. Then, in a process of its own, what a run does before its first unit and
before it publishes. Nothing is read of the corpus, and of the commits only what `status` reads.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from selfstudy.config import parse_config
from selfstudy.planning import RunPlan, plan_run
from selfstudy.store.commits import COMMITS, Commit, commit_name
from selfstudy.worker import versions

AT_MOST = {"resume_s": 60.0, "peak_rss_mb": 1000.0}

_SPLITS_PER_FILE = 1_000
_SPLIT_BYTES = 64_000_000
_UNFINISHED_EVERY = 100
# File systems allow some 65,000 names for one file.
_LINKS_PER_FILE = 50_000


def bench_store(*, num_commits: int = 1_000_000, units_per_split: int = 5, folder: str | None = None) -> dict[str, Any]:
    """Make a store of `num_commits` (kept in `folder`, if given, for another time), and resume from it."""
    with tempfile.TemporaryDirectory(prefix="bench-store-") as temporary:
        root = Path(folder or temporary)
        config = _config(root)
        started = time.monotonic()
        num_made = 0
        if not (root / "out").exists():
            _make_corpus(root / "corpus", num_commits // units_per_split)
            num_made = _make_commits(root / "out", plan_run(parse_config(config)), units_per_split)
        made_s = time.monotonic() - started
        return {"commits_made": num_made, "making_s": round(made_s, 1)} | _measured(config)


def _config(root: Path) -> dict[str, Any]:
    return {
        "corpus": {"paths": [str(root / "corpus")], "id_field": "id", "split_mb": _SPLIT_BYTES / 1e6},
        "output": str(root / "out"),
        "engine": {"kind": "extractive"},
        "filter": {"kind": "rules"},
    }


def _make_corpus(folder: Path, num_splits: int) -> None:
    folder.mkdir(parents=True)
    for number, first in enumerate(range(0, num_splits, _SPLITS_PER_FILE)):
        with (folder / f"{number:05d}.jsonl").open("wb") as file:
            file.truncate(_SPLIT_BYTES * min(_SPLITS_PER_FILE, num_splits - first))


def _make_commits(output: Path, plan: RunPlan, units_per_split: int) -> int:
    """Each commit is a name for one of a few contents: names are what is measured, and links are quick to make."""
    (output / COMMITS).mkdir(parents=True)
    content = output / "content"
    num_made = 0
    for number, split in enumerate(plan.splits):
        prefix = plan.prefix(split)
        for unit in range(units_per_split - (number % _UNFINISHED_EVERY == 0)):
            if num_made % _LINKS_PER_FILE == 0:
                content.unlink(missing_ok=True)
                content.write_bytes(_commit(prefix).dump())
            last = "-last" if unit == units_per_split - 1 else ""
            os.link(content, f"{output}/{commit_name(f'{prefix}-{unit:06d}{last}')}")
            num_made += 1
    return num_made


def _commit(unit_id: str) -> Commit:
    file = {
        "name": f"units/pairs/{unit_id}-0123456789abcdef.parquet",
        "rows": 900,
        "bytes": 400_000,
        "sha256": "0" * 64,
    }
    return Commit(
        unit_id=unit_id,
        split_id="0" * 32,
        attempt="0" * 16,
        recipe="0" * 32,
        created_at="2026-01-01T00:00:00+00:00",
        seconds=100.0,
        versions=versions(),
        counts={"chunks": 128, "targets": 1000, "pairs": 900, "targets_rejected": {"off_target": 100}},
        files=dict.fromkeys(("pairs", "chunks", "rejects"), file),
    )


def _measured(config: dict[str, Any]) -> dict[str, Any]:
    """Resume in a process of its own, so that its peak of memory is that of this alone."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.bench_store", json.dumps(config)],
        cwd=Path(__file__).resolve().parent.parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def _resume(config: dict[str, Any]) -> dict[str, Any]:
    """Do what a run does before its first unit, and before it publishes; the seconds of each step."""
    import resource

    from selfstudy import pipeline
    from selfstudy.status import status
    from selfstudy.store.commits import CommittedUnits
    from selfstudy.store.filesystem import Folder

    parsed = parse_config(config)
    output = Folder.at(parsed.output)
    before_mb = _peak_mb(resource)
    seconds: dict[str, float] = {}

    def timed(name: str, step: Any) -> Any:
        started = time.monotonic()
        result = step()
        seconds[name] = round(time.monotonic() - started, 2)
        return result

    plan = timed("plan", lambda: plan_run(parsed))
    committed = timed("find", lambda: CommittedUnits.find(output))
    work = timed("work", lambda: plan.work(committed))
    rows = timed("rows", lambda: pipeline.rows_of(work))
    complete = timed("complete_units", lambda: plan.complete_units(committed))
    peak_mb = _peak_mb(resource)
    found = timed("status", lambda: status(output))
    return {
        "splits": len(plan.splits),
        "splits_missing": len(work),
        "rows": len(rows),
        "units_complete": len(complete),
        "commits": found.units,
        "resume_s": round(sum(seconds.values()) - seconds["status"], 2),
        "seconds": seconds,
        "rss_before_mb": before_mb,
        "peak_rss_mb": peak_mb,
        "peak_rss_with_status_mb": _peak_mb(resource),
    }


def _peak_mb(resource: Any) -> float:
    return round(float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024 / 1e6, 1)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_resume(json.loads(sys.argv[1]))) + "\n")
