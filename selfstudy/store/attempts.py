"""How often a unit was tried, so that one that kills its worker or never gets through ends as a reject (law 7).

    units/attempts/UNIT/RUN.N.{started,failed,asked}     empty objects, removed when the unit is committed
    units/attempts/{split,filter,actor}-ID/...           of a split, of a unit in the filter, of an actor's start

A driver that is killed leaves attempts that were nobody's fault, so workers that died count within one run only;
requests that failed count once per run. `asked` ends an attempt of an actor that only asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
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


class KeepsDyingError(RuntimeError):
    """The process that does this dies again and again."""


@contextmanager
def counting_deaths(output: Folder, name: str, run_id: str, limit: int) -> Iterator[None]:
    """Note that the block is entered, until it is left. Ray repeats for ever what its process did not survive.

    Raises:
        KeepsDyingError: it died in here `limit` times in this run; the notes stay.
    """
    attempts = count_attempts(output, name, run_id)
    if attempts.died_in_this_run >= limit:
        raise KeepsDyingError(died_line(attempts))
    _note(output, name, run_id, attempts.started_in_this_run, "started")
    try:
        yield
    finally:
        forget_attempts(output, name)


def split_attempts(prefix: str) -> str:
    """Return the name under which the attempts at preparing a split are noted."""
    return f"split-{prefix}"


def died_line(attempts: Attempts) -> str:
    return f"its process died {attempts.died_in_this_run} times on the way; out of memory?"


def start_attempt(output: Folder, unit_id: str, run_id: str) -> Attempts:
    """Record that work on a unit begins, and return what came before."""
    attempts = count_attempts(output, unit_id, run_id)
    _note(output, unit_id, run_id, attempts.started_in_this_run, "started")
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
    _note(output, unit_id, run_id, number, ending)


def forget_attempts(output: Folder, unit_id: str) -> None:
    """Remove the record of a unit that is committed."""
    output.remove_folder(f"{ATTEMPTS}/{unit_id}")


def _note(output: Folder, unit_id: str, run_id: str, number: int, what: str) -> None:
    output.write(f"{ATTEMPTS}/{unit_id}/{run_id}.{number}.{what}", b"")
