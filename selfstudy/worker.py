"""What one engine actor does with a unit: count the attempt, generate, check, commit. No Ray in here."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import platform
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from selfstudy.config import Config
from selfstudy.engines.base import Engine, EngineUnusable
from selfstudy.engines.load import load_engine
from selfstudy.generate import Generator, UnitFailedError, quarantine
from selfstudy.prompts import Prompts
from selfstudy.recipe import Recipe
from selfstudy.records import Unit
from selfstudy.store.attempts import Attempts, count_attempts, fail_attempt, forget_attempts, start_attempt
from selfstudy.store.commits import commit_unit
from selfstudy.store.filesystem import Folder
from selfstudy.turns import Turns
from selfstudy.unit_tables import counts_of, tables_of

logger = logging.getLogger(__name__)


class Outcome(StrEnum):
    COMMITTED = "committed"
    LOST_RACE = "lost_race"
    GAP = "gap"
    UNUSABLE = "unusable"
    STORAGE_FAILED = "storage_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """What the driver hears of a unit. `message` says why it was not committed; after UNUSABLE and STORAGE_FAILED
    the run has to end."""

    unit_id: str
    split_id: str
    outcome: Outcome
    message: str = ""
    counts: dict[str, Any] = field(default_factory=dict)


class Worker:
    """Holds the engines of one actor and works on several units at a time, each from a thread of its own.

    The engines live on one event loop in a thread that nothing else blocks.
    """

    def __init__(self, config: Config, recipe: Recipe, prompts: Prompts, run_id: str) -> None:
        self._config = config
        self._recipe = recipe
        self._run_id = run_id
        self._output = Folder.at(config.output)
        self._turns = Turns()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="engine", daemon=True).start()
        self._unusable = ""
        try:
            self._generator = self._load_generator(prompts)
        except EngineUnusable as error:
            # Told with the first unit: an actor that dies in its constructor would be started again and again.
            self._unusable = str(error)

    def work(self, unit: Unit) -> UnitResult:
        """Generate and commit one unit. Blocks; raises only what is a defect of ours."""
        if self._unusable:
            return self._result(unit, Outcome.UNUSABLE, self._unusable)
        if unit.failure:
            return self._result(unit, Outcome.GAP, unit.failure)
        try:
            is_suspect = count_attempts(self._output, unit.unit_id, self._run_id).died_in_this_run > 0
            with self._turns.take(alone=is_suspect):
                return self._attempt(unit)
        except EngineUnusable as error:
            return self._result(unit, Outcome.UNUSABLE, str(error))
        except OSError as error:
            return self._result(unit, Outcome.STORAGE_FAILED, f"{self._config.output}: {error}")

    def _attempt(self, unit: Unit) -> UnitResult:
        started = time.monotonic()
        attempts = start_attempt(self._output, unit.unit_id, self._run_id)
        try:
            finished = self._generate(unit, attempts)
        except UnitFailedError as error:
            fail_attempt(self._output, unit.unit_id, self._run_id)
            return self._result(unit, Outcome.GAP, str(error))
        return self._commit(finished, time.monotonic() - started)

    def _generate(self, unit: Unit, attempts: Attempts) -> Unit:
        limit = self._config.limits.unit_attempts
        if attempts.died_in_this_run >= limit:
            logger.warning("unit %s killed its worker %d times: quarantined", unit.unit_id, attempts.died_in_this_run)
            return quarantine(unit)
        last_attempt = attempts.runs_failed >= limit - 1
        future: Future[Unit] = asyncio.run_coroutine_threadsafe(
            self._generator.generate(unit, last_attempt=last_attempt), self._loop
        )
        return future.result()

    def _commit(self, unit: Unit, seconds: float) -> UnitResult:
        counts = counts_of(unit)
        created_at = datetime.now(UTC)
        tables = tables_of(
            unit, keep_fields=self._config.corpus.keep_fields, recipe=self._recipe.hash, created_at=created_at
        )
        won = commit_unit(
            self._output,
            tables,
            unit_id=unit.unit_id,
            split_id=unit.split_id,
            recipe=self._recipe.hash,
            created_at=created_at.isoformat(),
            seconds=round(seconds, 3),
            versions=versions(),
            counts=counts,
        )
        forget_attempts(self._output, unit.unit_id)
        return self._result(unit, Outcome.COMMITTED if won else Outcome.LOST_RACE, counts=counts)

    def _load_generator(self, prompts: Prompts) -> Generator:
        config = self._config
        engine = load_engine(config.engine, sampling=config.sampling, prompts=prompts)
        answer_engine: Engine = engine
        if config.answer_engine is not None:
            answer_engine = load_engine(config.answer_engine, sampling=config.sampling, prompts=prompts)
        return Generator(engine, answer_engine, config.checks, prompts.version)

    @staticmethod
    def _result(unit: Unit, outcome: Outcome, message: str = "", counts: dict[str, Any] | None = None) -> UnitResult:
        return UnitResult(
            unit_id=unit.unit_id, split_id=unit.split_id, outcome=outcome, message=message, counts=counts or {}
        )


def versions() -> dict[str, str]:
    """What the rows were made with."""
    packages = ("selfstudy", "ray", "pyarrow", "sentencex", "selectolax", "markdown-it-py")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
