"""How often a unit was tried, so that one that kills its worker or never gets through ends as a reject (law 7).

    units/attempts/UNIT/RUN.N.{started,failed,asked}     empty objects, removed when the unit is committed

A driver that is killed leaves attempts that were nobody's fault, so workers that died count within one run only;
requests that failed count once per run. `asked` ends an attempt of an actor that only asks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from selfstudy.store.filesystem import Folder

ATTEMPTS = "units/attempts"


@dataclass(frozen=True, slots=True)
class Attempts:
    """What happened to a unit before this attempt."""

    started_in_this_run: int
    died_in_this_run: int
    runs_failed: int


def start_attempt(output: Folder, unit_id: str, run_id: str) -> Attempts:
    """Record that work on a unit begins, and return what came before."""
    attempts = count_attempts(output, unit_id, run_id)
    output.write(f"{ATTEMPTS}/{unit_id}/{run_id}.{attempts.started_in_this_run}.started", b"")
    return attempts


def count_attempts(output: Folder, unit_id: str, run_id: str) -> Attempts:
    """Return what happened to a unit so far."""
    names = output.names(f"{ATTEMPTS}/{unit_id}")
    failed = {name.split(".", 1)[0] for name in names if name.endswith(".failed")}
    of_this_run = [name for name in names if name.startswith(f"{run_id}.")]
    num_started = sum(name.endswith(".started") for name in of_this_run)
    num_ended = sum(name.endswith((".failed", ".asked")) for name in of_this_run)
    return Attempts(started_in_this_run=num_started, died_in_this_run=num_started - num_ended, runs_failed=len(failed))


def end_attempt(output: Folder, unit_id: str, run_id: str, ending: Literal["failed", "asked"]) -> None:
    """Record that the attempt ended and the worker lives: requests failed, or another actor goes on."""
    names = output.names(f"{ATTEMPTS}/{unit_id}")
    number = sum(name.startswith(f"{run_id}.") and name.endswith(f".{ending}") for name in names)
    output.write(f"{ATTEMPTS}/{unit_id}/{run_id}.{number}.{ending}", b"")


def forget_attempts(output: Folder, unit_id: str) -> None:
    """Remove the record of a unit that is committed."""
    output.remove_folder(f"{ATTEMPTS}/{unit_id}")
