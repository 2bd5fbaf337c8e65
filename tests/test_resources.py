"""What fits and what would hang, on machines that need not exist."""

from typing import Any

import pytest

from selfstudy import pipeline
from selfstudy.config import Config
from selfstudy.resources import ClusterFailedError, Node, Pool, pools_of, to_begin, too_small
from tests.runs import config_of

LAPTOP: list[Node] = [{"CPU": 2}]
GPU_NODES: list[Node] = [{"CPU": 8}, {"CPU": 16, "GPU": 4}, {"CPU": 16, "GPU": 4}]


def pools(**resources: float) -> dict[str, Pool]:
    raw = config_of("corpus", "out", resources=resources)
    return pools_of(Config.model_validate(raw))


def test_the_defaults_fit_on_a_machine_of_two_cores() -> None:
    assert too_small(1, pools(), LAPTOP) == []


def test_actors_that_leave_no_core_to_prepare_are_refused() -> None:
    (problem,) = too_small(1, pools(filter_cpus=1, engine_cpus=1), LAPTOP)
    assert "2 CPUs of actors and 1 of a prepare task do not fit into the cluster's 2" in problem
    assert too_small(1, pools(filter_cpus=0.5, engine_cpus=0.5), LAPTOP) == []


def test_gpus_that_are_not_there_are_named() -> None:
    (problem,) = too_small(1, pools(engine_gpus=1), LAPTOP)
    assert problem == "resources.engine_gpus: 1 GPUs do not fit into the cluster's 0"


@pytest.mark.parametrize(
    ("resources", "nodes", "expected"),
    [
        ({"engine_cpus": 3}, [{"CPU": 2}] * 4, "resources.engine_cpus: no machine of the cluster has 3 CPUs"),
        ({"engine_gpus": 8}, GPU_NODES, "resources.engine_cpus: no machine of the cluster has 0.25 CPUs and 8 GPUs"),
        ({"engine_gpus": 4, "engine_cpus": 20}, [{"CPU": 64}, *GPU_NODES], "no machine of the cluster has 20 CPUs"),
    ],
)
def test_what_fits_in_sum_and_on_no_machine_is_refused(
    resources: dict[str, float], nodes: list[Node], expected: str
) -> None:
    (problem,) = too_small(1, pools(**resources), nodes)
    assert expected in problem


def test_a_run_begins_with_the_gpus_that_are_there_and_one_at_least() -> None:
    wanted = pools(engine_actors=16, engine_gpus=1)
    assert to_begin(wanted, GPU_NODES)["engine"].actors == 8
    assert to_begin(wanted, LAPTOP)["engine"].actors == 1
    assert to_begin(pools(engine_actors=3), LAPTOP)["engine"].actors == 3


@pytest.mark.parametrize(
    ("failure", "error", "num_starts"),
    [
        (Exception("The current node timed out during startup. This could happen"), ClusterFailedError, 3),
        (ConnectionError("no cluster there"), ConnectionError, 1),
    ],
    ids=["late", "not there"],
)
def test_a_local_ray_that_never_comes_up_is_given_up(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, error: type[Exception], num_starts: int
) -> None:
    starts: list[Any] = []

    def fail(**options: Any) -> None:
        starts.append(options)
        raise failure

    monkeypatch.setattr(pipeline, "prepare_environment", lambda: None)
    monkeypatch.setattr(pipeline.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(pipeline.ray, "init", fail)
    with pytest.raises(error):
        pipeline.start_ray()
    assert len(starts) == num_starts
