"""What a run has done so far, how it ended, and its record in the store (runs/RUN.json)."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from selfstudy.config import Config
from selfstudy.publish.snapshot import Gap, reject_share
from selfstudy.reasons import TargetReject
from selfstudy.records import Outcome
from selfstudy.redact import redacted
from selfstudy.store.filesystem import Folder
from selfstudy.worker import UnitResult, versions

# What of a run's counts says how its engines fared.
ENGINE_COUNTS = ("prompt_tokens", "cached_tokens", "completion_tokens", "preemptions")


@dataclass(slots=True)
class Progress:
    """What a run has done so far; the driver adds each unit as it ends."""

    total_bytes: int
    num_splits: int
    done_bytes: int = 0
    units: int = 0
    started: float = field(default_factory=time.monotonic)
    counts: Counter[str] = field(default_factory=Counter)
    gaps: dict[str, str] = field(default_factory=dict)
    duplicates: int = 0

    def add(self, result: UnitResult, split_bytes: int) -> None:
        if result.outcome is Outcome.GAP:
            self.gaps[result.split_id] = result.message
            return
        self.units += 1
        self.duplicates += result.counts["targets_rejected"].get(TargetReject.DUPLICATE_CHUNK, 0)
        for name, value in result.counts.items():
            self.counts[name] += sum(value.values()) if isinstance(value, dict) else value
        if result.unit_id.endswith("-last"):
            self.done_bytes += split_bytes

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def reject_share(self) -> float:
        return reject_share(self.counts["targets"], self.counts["targets_rejected"] - self.duplicates)


class Observer(Protocol):
    """Shows a run to somebody."""

    def started(self, progress: Progress) -> None: ...

    def advanced(self, progress: Progress) -> None: ...

    def publishing(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """How a run ended. `reused` counts pairs that were copied from earlier units, `asked` the targets that were asked
    now, `retried_splits` those of which a retry began. `engine` holds the tokens of the run's pairs and how often a
    running request lost its cache (ENGINE_COUNTS). `manifest` is that of the current snapshot, None without one.

    `exit_code` is 0 if the snapshot is complete, 1 if there are gaps or nothing could be published.
    """

    run_id: str
    output: str
    units: int
    targets: int
    pairs: int
    reused: int
    asked: int
    retried_splits: int
    seconds: float
    engine: dict[str, int]
    published: bool
    stopped_by: str
    gaps: tuple[Gap, ...]
    manifest: dict[str, Any] | None

    @property
    def exit_code(self) -> int:
        return 0 if self.manifest is not None and not self.gaps and not self.stopped_by else 1

    @property
    def nothing_to_do(self) -> bool:
        return self.units == 0 and not self.published and not self.gaps


class Silent:
    """An observer that shows nothing."""

    def started(self, progress: Progress) -> None:
        pass

    def advanced(self, progress: Progress) -> None:
        pass

    def publishing(self) -> None:
        pass


class RunRecord:
    """runs/RUN.json: what was run, with what, and how it ended."""

    def __init__(self, output: Folder, config: Config, run_id: str) -> None:
        self.run_id = run_id
        self._output = output
        self._content: dict[str, Any] = {
            "run": run_id,
            "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "config": redacted(config.model_dump(mode="json")),
            "versions": versions(),
        }
        self._write()

    def finish(self, summary: RunSummary) -> None:
        self._content |= {
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": summary.seconds,
            "units": summary.units,
            "pairs": summary.pairs,
            "engine": summary.engine,
            "reused": summary.reused,
            "asked": summary.asked,
            "gaps": len(summary.gaps),
            "stopped_by": summary.stopped_by,
            "snapshot": summary.manifest["snapshot"] if summary.manifest else None,
        }
        self._write()

    def _write(self) -> None:
        self._output.write(f"runs/{self.run_id}.json", orjson.dumps(self._content, option=orjson.OPT_INDENT_2))
