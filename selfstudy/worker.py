"""What one engine actor does with a unit: count the attempt, generate, check, hand on or commit. No Ray in here."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from selfstudy.config import Config
from selfstudy.engines.base import EngineUnusable
from selfstudy.engines.load import load_engine
from selfstudy.generate import Generator, UnitFailedError, quarantine
from selfstudy.prompts import Prompts
from selfstudy.recipe import Recipe
from selfstudy.records import Failure, Outcome, Unit
from selfstudy.reuse import Index, Reuse
from selfstudy.store.attempts import count_attempts, end_attempt, forget_attempts, start_attempt
from selfstudy.store.commits import commit_unit
from selfstudy.store.filesystem import Folder
from selfstudy.turns import Turns
from selfstudy.unit_tables import counts_of, tables_of

logger = logging.getLogger(__name__)
_End = TypeVar("_End")


class Role(StrEnum):
    """Which calls a worker makes: both, or one where another model makes the other."""

    ASK_AND_ANSWER = "ask_and_answer"
    ASK = "ask"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """What the driver hears of a unit. `message` says why it was not committed."""

    unit_id: str
    split_id: str
    outcome: Outcome
    message: str = ""
    counts: dict[str, Any] = field(default_factory=dict)


class Worker:
    """Holds the engine of one actor and works on several units at a time, each from a thread of its own.

    The engine lives on one event loop in a thread that nothing else blocks. A worker with the role ASK hands its
    units on (`ask`), any other commits them (`finish`).

    Raises:
        EngineUnusable: the model cannot be loaded.
    """

    def __init__(
        self,
        config: Config,
        recipe: Recipe,
        prompts: Prompts,
        run_id: str,
        role: Role = Role.ASK_AND_ANSWER,
        *,
        index: Index | None = None,
    ) -> None:
        self._config = config
        self._recipe = recipe
        self._run_id = run_id
        self._output = Folder.at(config.output)
        self._reuse = Reuse(self._output, index)
        self._turns = Turns()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="engine", daemon=True).start()
        engine_config = config.answer_engine if role is Role.ANSWER else config.engine
        assert engine_config is not None
        self._engine = load_engine(engine_config, sampling=config.sampling, prompts=prompts)
        self._num_preemptions = 0
        self._generator = Generator(
            None if role is Role.ANSWER else self._engine,
            None if role is Role.ASK else self._engine,
            config.checks,
            prompts.version,
        )

    def ask(self, unit: Unit) -> Unit:
        """Return the unit with its questions, or with a failure. Blocks; raises only what is a defect of ours."""
        result = self._work(unit, self._hand_on)
        return replace(unit, failure=result) if isinstance(result, Failure) else result

    def finish(self, unit: Unit) -> UnitResult:
        """Generate what a unit lacks and commit it. Blocks; raises only what is a defect of ours."""
        result = self._work(unit, self._commit)
        if isinstance(result, Failure):
            return unit_result(unit, result)
        return result

    def _work(self, unit: Unit, end: Callable[[Unit, float], _End]) -> _End | Failure:
        """Generate, and pass the unit and the seconds that it took to `end`."""
        if unit.failure is not None:
            return unit.failure
        try:
            is_suspect = count_attempts(self._output, unit.unit_id, self._run_id).died_in_this_run > 0
            with self._turns.take(alone=is_suspect):
                started = time.monotonic()
                generated = self._attempt(unit)
                return end(generated, time.monotonic() - started)
        except UnitFailedError as error:
            return Failure(Outcome.GAP, str(error))
        except EngineUnusable as error:
            return Failure(Outcome.UNUSABLE, f"engine: {error}")
        except OSError as error:
            return Failure(Outcome.STORAGE_FAILED, f"{self._config.output}: {error}")

    def _attempt(self, unit: Unit) -> Unit:
        limit = self._config.limits.unit_attempts
        unit = self._reuse.fill(unit)
        attempts = start_attempt(self._output, unit.unit_id, self._run_id)
        if attempts.died_in_this_run >= limit:
            logger.warning("unit %s killed its worker %d times: quarantined", unit.unit_id, attempts.died_in_this_run)
            return quarantine(unit)
        last_attempt = attempts.runs_failed >= limit - 1
        future = asyncio.run_coroutine_threadsafe(self._generate(unit, last_attempt), self._loop)
        try:
            return future.result()
        except UnitFailedError:
            end_attempt(self._output, unit.unit_id, self._run_id, "failed")
            raise

    async def _generate(self, unit: Unit, last_attempt: bool) -> Unit:
        unit = await self._generator.generate(unit, last_attempt=last_attempt)
        # Of an engine that works on several units, each unit reports what is new when it ends: the sum is right.
        before, self._num_preemptions = self._num_preemptions, self._engine.num_preemptions()
        return replace(unit, preemptions=unit.preemptions + self._num_preemptions - before)

    def _hand_on(self, unit: Unit, _seconds: float) -> Unit:
        end_attempt(self._output, unit.unit_id, self._run_id, "asked")
        return unit

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
        outcome = Outcome.COMMITTED if won else Outcome.LOST_RACE
        return UnitResult(unit_id=unit.unit_id, split_id=unit.split_id, outcome=outcome, counts=counts)


def unit_result(unit: Unit, failure: Failure) -> UnitResult:
    return UnitResult(unit_id=unit.unit_id, split_id=unit.split_id, outcome=failure.outcome, message=failure.message)


def versions() -> dict[str, str]:
    """What the rows were made with."""
    packages = ("selfstudy", "ray", "pyarrow", "sentencex", "selectolax", "markdown-it-py")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
