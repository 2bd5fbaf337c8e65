"""What each stage of the graph does with a row: thin shells around the pure functions of other modules. No Ray in here.

A row is one unit (law 1), and before the first stage one split. A stage that fails hands on a unit that says why.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import pyarrow as pa

from selfstudy.config import Config, ConfigError
from selfstudy.engines.base import EngineUnusable
from selfstudy.filter.judge import Judge
from selfstudy.filter.lift import lift
from selfstudy.filter.load import load_judge
from selfstudy.planning import Work
from selfstudy.prepare import SplitChangedError, prepare_split
from selfstudy.prompts import Prompts
from selfstudy.recipe import Recipe
from selfstudy.records import Failure, Outcome, Unit
from selfstudy.reuse import Index
from selfstudy.store.attempts import KeepsDyingError, counting_deaths, split_attempts
from selfstudy.store.filesystem import Folder
from selfstudy.targets import sample_targets
from selfstudy.wire import from_json, to_json, unit_from_table, unit_to_table
from selfstudy.worker import Role, Worker, unit_result

logger = logging.getLogger(__name__)

_MAX_STARTS = 3
_Started = TypeVar("_Started")


@dataclass(frozen=True, slots=True)
class Job:
    """What every stage needs to know of the run; sent to the workers once. `index` is where reuse looks."""

    config: Config
    recipe: Recipe
    prompts: Prompts
    run_id: str
    index: Index | None = None


class Prepare:
    """Stage 1, tasks: one split in, its units out. Deterministic, so it may emit many rows (law 1).

    A split that kills its process again and again gives none in the end: Ray counts the rows that it had of a task that
    died, and would drop another row in their place. The run reads the attempts instead.
    """

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        work, job = from_json(Work, batch["work"][0].as_py()), self.job
        output, limit = Folder.at(job.config.output), job.config.limits.unit_attempts
        failure = Unit(unit_id=f"{work.prefix}-gap", split_id=work.split.split_id, last=False, num_documents=0)
        try:
            with counting_deaths(output, split_attempts(work.prefix), job.run_id, limit):
                for unit in self._units(work):
                    yield unit_to_table(unit if isinstance(unit, Unit) else replace(failure, failure=unit))
        except KeepsDyingError as error:
            logger.warning("%s: cannot be prepared: %s", work.split.sources[0].uri, error)
        except OSError as error:
            yield unit_to_table(replace(failure, failure=_storage_failed(job, error)))

    def _units(self, work: Work) -> Iterator[Unit | Failure]:
        try:
            for unit in prepare_split(work.split, self.job.config, work.prefix, set(work.committed)):
                yield replace(unit, retry=work.retry)
        except SplitChangedError as error:
            yield Failure(Outcome.GAP, str(error))
        except OSError as error:
            yield Failure(Outcome.GAP, f"{work.split.sources[0].uri}: {error}")


class Filter:
    """Stage 2, actors: lift instruction-like spans. A batch is one unit, so scores do not depend on neighbours."""

    def __init__(self, job: Job, actor_id: Callable[[], str]) -> None:
        self.job = job
        self.judge = _start(job, actor_id(), lambda: load_judge(job.config.filter))

    def __call__(self, batch: pa.Table) -> pa.Table:
        unit = unit_from_table(batch)
        if isinstance(self.judge, Failure):
            return unit_to_table(replace(unit, failure=self.judge))
        return unit_to_table(self._lifted(unit, self.judge) if unit.chunks else unit)

    def _lifted(self, unit: Unit, judge: Judge | None) -> Unit:
        config = self.job.config
        name, limit = f"filter-{unit.unit_id}", config.limits.unit_attempts
        try:
            with counting_deaths(Folder.at(config.output), name, self.job.run_id, limit):
                chunks, removed = lift(unit.chunks, judge, config.filter)
        except KeepsDyingError as error:
            return replace(unit, failure=Failure(Outcome.GAP, f"unit {unit.unit_id}: cannot be filtered: {error}"))
        except OSError as error:
            return replace(unit, failure=_storage_failed(self.job, error))
        return replace(unit, chunks=chunks, removed=removed)


class Sample:
    """Stage 3, tasks: choose the targets. One unit in, one unit out (law 1)."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def __call__(self, batch: pa.Table) -> pa.Table:
        unit = unit_from_table(batch)
        config, ask = self.job.config, self.job.recipe.ask_hash
        chunks = tuple(sample_targets(chunk, config.targets, seed=config.seed, ask=ask) for chunk in unit.chunks)
        return unit_to_table(replace(unit, chunks=chunks))


class Engine:
    """Stage 4, actors with an engine: one worker each."""

    def __init__(self, job: Job, role: Role, actor_id: Callable[[], str]) -> None:
        self.worker = _start(
            job,
            actor_id(),
            lambda: Worker(job.config, job.recipe, job.prompts, job.run_id, role, index=job.index),
        )


class Ask(Engine):
    """One unit in, the unit with its questions out (law 1)."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        unit, worker = unit_from_table(batch), self.worker
        return unit_to_table(replace(unit, failure=worker) if isinstance(worker, Failure) else worker.ask(unit))


class Finish(Engine):
    """What is not asked yet is asked, answered, checked and committed. Gives a small result, never the rows."""

    def __call__(self, batch: pa.Table) -> pa.Table:
        unit, worker = unit_from_table(batch), self.worker
        result = unit_result(unit, worker) if isinstance(worker, Failure) else worker.finish(unit)
        return pa.table({"result": [to_json(result)]})


def _start(job: Job, actor_id: str, make: Callable[[], _Started]) -> _Started | Failure:
    """Return what an actor holds, or why it cannot, which is told with the first unit."""
    try:
        with counting_deaths(Folder.at(job.config.output), f"actor-{actor_id}", job.run_id, _MAX_STARTS):
            return make()
    except (EngineUnusable, ConfigError, ImportError, KeepsDyingError) as error:
        return Failure(Outcome.UNUSABLE, f"a worker cannot start: {error}")
    except OSError as error:
        return _storage_failed(job, error)


def _storage_failed(job: Job, error: OSError) -> Failure:
    return Failure(Outcome.STORAGE_FAILED, f"{job.config.output}: {error}")
