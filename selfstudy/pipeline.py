"""The Ray graph: splits -> prepare -> filter -> sample -> generate and commit. The only module that imports ray.

With another model for the answers, generating is two stages: actors that ask, and actors that answer and commit.

One row is one unit (law 1). Each stage is a thin shell around a pure function of another module; what Ray retries
is either deterministic or ends in a commit that only one attempt can make.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.data import ActorPoolStrategy, DataContext, TaskPoolStrategy
from ray.exceptions import RayActorError, RayError, RaySystemError, RayTaskError

from selfstudy.config import Config, ConfigError, ResourcesConfig
from selfstudy.engines.base import EngineUnusable
from selfstudy.planning import Work
from selfstudy.publish.executor import Executor
from selfstudy.ray_environment import prepare_environment
from selfstudy.resources import ClusterFailedError, Node, Pool, pools_of, to_begin, too_small
from selfstudy.stages import Ask, Filter, Finish, Job, Prepare, Sample
from selfstudy.wire import from_json, to_json
from selfstudy.worker import Role, UnitResult

logger = logging.getLogger(__name__)

_MAX_INPUT_BLOCKS = 10_000
# A moment's work per unit; what an engine actor holds for life may be many CPUs.
_SAMPLE_CPUS = 0.25
_ANY_NUMBER = 100_000
_RAY_DATA_THREADS = ("iter_threaded", "StreamingExecutor")
_JOIN_S = 30
_MAX_STARTS = 3
_STARTED_LATE = "timed out during startup"


def start_ray() -> None:
    """Join the cluster that RAY_ADDRESS or a submitted job names, else start a local one that ends with us.

    Raises:
        ClusterFailedError: no local one came up.
    """
    if not ray.is_initialized():
        prepare_environment()
        on_sigterm = signal.getsignal(signal.SIGTERM)
        _init_ray()
        # Ray takes the signal for itself and exits at once; a stopped run is to say how it goes on.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_sigterm)


def _init_ray() -> None:
    for _ in range(_MAX_STARTS):
        try:
            ray.init(
                # Without an address Ray would join whatever cluster somebody has started on this machine.
                address=os.environ.get("RAY_ADDRESS", "local"),
                logging_level=logging.WARNING,
                log_to_driver=logger.isEnabledFor(logging.DEBUG),
                include_dashboard=False,
                configure_logging=False,
            )
            return
        except Exception as error:
            # A raylet that died or is late; Ray has no type for that.
            if _STARTED_LATE not in str(error):
                raise
            logger.warning("Ray did not come up on this machine in time")
    raise ClusterFailedError(f"Ray did not come up on this machine, {_MAX_STARTS} times: it may be overloaded")


@contextmanager
def stopping_ray() -> Iterator[None]:
    """Stop in the end what was started within; a Ray that runs already is left running."""
    was_running = ray.is_initialized()
    try:
        yield
    finally:
        if not was_running:
            stop_ray()


def stop_ray() -> None:
    ray.shutdown()


def check_resources(config: Config) -> None:
    """Refuse a config whose stages cannot start, which would hang.

    On our own machine all of it has to fit. A cluster that we joined may grow, and its machines come and go: there as
    many engine actors as there are GPUs for have to fit, one at least, and get time for that.

    Raises:
        ConfigError: one line with what is asked and what the cluster has.
    """
    prepare_cpus, pools = config.resources.prepare_cpus, pools_of(config)
    if not _joined():
        if problems := too_small(prepare_cpus, pools, _nodes()):
            raise ConfigError(problems)
        return
    problems = too_small(prepare_cpus, to_begin(pools, _nodes()), _nodes())
    if problems:
        problems = _wait_for_room(config.resources, pools, problems)
    if problems:
        raise ConfigError(problems)
    for problem in too_small(prepare_cpus, pools, _nodes()):
        logger.warning("%s. Starting with what there is; more is used as it comes", problem)


def _joined() -> bool:
    """Whether the cluster is not our own: `ray job submit`, KubeRay and cluster/slurm.sbatch set the address."""
    return os.environ.get("RAY_ADDRESS", "local") != "local"


def _nodes() -> list[Node]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _wait_for_room(resources: ResourcesConfig, pools: dict[str, Pool], problems: list[str]) -> list[str]:
    """Ask an autoscaler, if there is one, for enough to begin; return what is still missing in the end."""
    bundles = [pool.bundle() for pool in to_begin(pools, _nodes()).values() for _ in range(pool.actors)]
    request_resources(bundles=[{"CPU": resources.prepare_cpus}, *bundles])
    logger.warning("%s. Waiting up to %g minutes for more", problems[0], resources.wait_minutes)
    end = time.monotonic() + 60 * resources.wait_minutes
    try:
        while problems and time.monotonic() < end:
            time.sleep(1)
            problems = too_small(resources.prepare_cpus, to_begin(pools, _nodes()), _nodes())
    finally:
        request_resources(bundles=[])  # the actors hold their room by themselves; a request would outlive the job
    return problems


def stream(work: Sequence[Work], job: Job) -> Generator[UnitResult]:
    """Run the graph over the splits and yield a result per unit as it ends.

    Closing it stops the graph. What a stage raises is a defect of ours and surfaces with Ray's trace.

    Raises:
        EngineUnusable: workers cannot start at all.
        ClusterFailedError: Ray lost what the graph stood on.
    """
    resources = job.config.resources
    _configure(DataContext.get_current())
    rows = rows_of(work)
    dataset = (
        ray.data.from_items(rows, override_num_blocks=min(len(rows), _MAX_INPUT_BLOCKS))
        .map_batches(
            Prepare(job),
            batch_size=1,
            batch_format="pyarrow",
            compute=TaskPoolStrategy(size=_max_prepare_tasks(resources)),
            num_cpus=resources.prepare_cpus,
        )
        .map_batches(
            Filter,
            fn_constructor_args=(job, _actor_id),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(size=resources.filter_actors),
            num_cpus=resources.filter_cpus,
        )
        .map_batches(Sample(job), batch_size=1, batch_format="pyarrow", num_cpus=_SAMPLE_CPUS)
    )
    pools = pools_of(job.config)
    if "answer" in pools:
        dataset = _through_engines(dataset, job, Role.ASK, pools["engine"])
        dataset = _through_engines(dataset, job, Role.ANSWER, pools["answer"])
    else:
        dataset = _through_engines(dataset, job, Role.ASK_AND_ANSWER, pools["engine"])
    # Without prefetching: it would hold back every result until the one after it is there.
    blocks = iter(dataset.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0))
    try:
        with closing(blocks):
            for block in blocks:
                for result in block["result"].to_pylist():
                    yield from_json(UnitResult, result)
    except KeyboardInterrupt as stop:
        # Ray Data ends the graph when its iterator is let go, but for a stop that comes while the first block is
        # handed over the traceback holds it: until Ray has stopped, where ending the graph fails.
        traceback.clear_frames(stop.__traceback__)
        raise
    except (RayActorError, RayTaskError) as error:
        if isinstance(error, RayTaskError) and not isinstance(error.cause, RaySystemError):
            raise
        # Not even our code could be loaded there: a package is missing, or another version of one.
        raise EngineUnusable(f"a worker cannot start: {str(error).strip().splitlines()[-1]}") from None
    except RayError as error:
        raise _cluster_failed(error) from None
    finally:
        _join_ray_data()


def _join_ray_data() -> None:
    """Wait for the threads that iterated over the graph. One that lets go of a block after Ray has stopped ends this
    process with exit code 1 and without a word."""
    end = time.monotonic() + _JOIN_S
    for thread in threading.enumerate():
        if thread.name.startswith(_RAY_DATA_THREADS):
            thread.join(max(end - time.monotonic(), 0))


def rows_of(work: Sequence[Work]) -> list[dict[str, str]]:
    """Return the first rows of the graph, one per split."""
    return [{"work": to_json(item)} for item in work]


def _through_engines(dataset: ray.data.Dataset, job: Job, role: Role, pool: Pool) -> ray.data.Dataset:
    """Add a pool of engine actors to the graph."""
    num_units = job.config.resources.units_in_flight
    return dataset.map_batches(
        Ask if role is Role.ASK else Finish,
        fn_constructor_args=(job, role, _actor_id),
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(
            size=pool.actors,
            max_concurrent_calls_per_actor=num_units,
            max_tasks_in_flight_per_actor=num_units + 1,
            enable_true_multi_threading=True,
        ),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
    )


def _actor_id() -> str:
    """Return the id of the actor that calls, which survives its restarts."""
    return str(ray.get_runtime_context().get_actor_id())


def _configure(context: DataContext) -> None:
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # Each unit becomes a block of its own and moves on at once; by default they would wait for 128 MB of company.
    context.target_max_block_size = 1
    # A model may answer its first unit after an hour of loading and prefill; the default gives up after half of one.
    context.execution_no_progress_timeout_s = -1
    # Failures of single units are dealt with below Ray. What still surfaces must end the run, not be skipped.
    context.max_errored_blocks = 0
    # A node may be taken away while an actor starts on it; a model that cannot be loaded says so itself.
    context.max_consecutive_actor_init_deaths = 3


def _max_prepare_tasks(resources: ResourcesConfig) -> int:
    """As many as the cluster has CPUs, or will have. Never the size of the filter pool: equal sizes would let Ray
    fuse the tasks into that pool, and read the corpus on as few cores as it has actors."""
    if _joined():
        return _ANY_NUMBER
    num_cpus = int(ray.cluster_resources().get("CPU", 1) / resources.prepare_cpus)
    return max(num_cpus, 1) + (num_cpus == resources.filter_actors)


class OnRay(Executor):
    """As Ray tasks. Parts and results wait in the object store, which spills to disk: no process ever holds more than
    a bucket."""

    def call(self, function: Callable[..., Sequence[Any]], arguments: Sequence[Any], num_results: int) -> list[Any]:
        start_ray()
        handles = _task().options(num_returns=num_results).remote(function, num_results, *arguments)
        return [handles] if num_results == 1 else handles

    def fetch(self, handles: Sequence[Any]) -> list[Any]:
        try:
            return list(ray.get(list(handles)))
        except RayTaskError as error:
            # Storage failed in a task: the user wants that line, not where Ray was at the time.
            raise error.cause if isinstance(error.cause, OSError) else error from None
        except RayError as error:
            raise _cluster_failed(error) from None


def _cluster_failed(error: RayError) -> ClusterFailedError:
    return ClusterFailedError(f"Ray: {str(error).strip().splitlines()[0]}")


@cache
def _task() -> Any:
    return ray.remote(_call)


def _call(function: Callable[..., Sequence[Any]], num_results: int, *arguments: Any) -> Any:
    results = function(*arguments)
    return results[0] if num_results == 1 else results
