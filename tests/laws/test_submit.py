"""Law 3 on a cluster that is not ours: a job is submitted, stopped, and submitted again, on nodes that come and go."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.job_submission import JobSubmissionClient

from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.ray_nodes import RayNodes
from tests.runs import config_of, num_commits, parsed, published, run_here, wait_until, write_corpus

pytestmark = pytest.mark.fault

FINAL = {"SUCCEEDED", "FAILED", "STOPPED"}
# Slow enough for a node to come before the job ends, on a busy machine too.
SLOW = {"kind": "scripted", "latency_s": 0.3, "max_concurrency": 8}
# The filter's actors and a prepare task leave no room for an engine on one node.
RESOURCES = {"filter_actors": 2, "filter_cpus": 1, "engine_actors": 2, "engine_cpus": 1, "engine_gpus": 1}
PROGRESS = re.compile(
    r"^units [\d,]+  corpus \d+% of .*  pairs [\d,]+ \([\d,]+/s\)  .*tokens [\d,]+ \([\d,]+/s\)  .*left \S+", re.M
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayNodes]:
    with RayNodes(num_cpus=2) as nodes:
        nodes.add(num_cpus=3, num_gpus=1)
        yield nodes


def submit(cluster: RayNodes, folder: Path, name: str, config: dict[str, Any]) -> None:
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    environment = ["--runtime-env", "cluster/runtime-env.yaml", "--working-dir", "."]
    command = ["python", "jobs/generate.py", str(path)]
    cluster.job("submit", *environment, "--submission-id", name, "--no-wait", "--", *command)


def wait_for_end(cluster: RayNodes, name: str) -> tuple[str, str]:
    wait_until(lambda: cluster.job_status(name) in FINAL, f"the end of {name}")
    return cluster.job_status(name), JobSubmissionClient(cluster.job_server).get_job_logs(name)


def test_a_submitted_job_that_is_stopped_goes_on_with_the_next(cluster: RayNodes, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=60)
    output = tmp_path / "out"
    config = config_of(corpus, output, engine=SLOW, resources=RESOURCES)

    submit(cluster, tmp_path, "first", config)
    wait_until(lambda: num_commits(output) >= 2 or cluster.job_status("first") in FINAL, "two commits")
    assert cluster.num_nodes_with("GPU") == 1
    cluster.add(num_cpus=2, num_gpus=1)
    wait_until(lambda: cluster.num_nodes_with("GPU") == 2, "an engine on the node that came")
    cluster.job("stop", "first")
    status, log = wait_for_end(cluster, "first")
    assert status == "STOPPED"
    assert "2 GPUs do not fit into the cluster's 1. Starting with what there is" in log
    assert "stopped. What was committed stays; the same command goes on from there." in log
    assert "Traceback" not in log, log
    stored = num_commits(output)
    assert not list((output / "snapshots").glob("*"))

    submit(cluster, tmp_path, "second", config | {"engine": SLOW | {"latency_s": 0}})
    status, log = wait_for_end(cluster, "second")
    assert status == "SUCCEEDED", log
    assert PROGRESS.search(log) and "\x1b" not in log and "Traceback" not in log, log
    assert 0 < stored < num_commits(output)

    run_here(parsed(corpus, tmp_path / "calm", engine=SLOW | {"latency_s": 0}))
    ours, calm = published(output), published(tmp_path / "calm")
    for table, frame in ours.items():
        assert frame.equals(calm[table]), table
    verdict = verify(Folder.at(str(output)))
    assert verdict.ok, verdict.violations

    uploaded = [path.name for path in cluster.folder.glob("0/session_latest/runtime_resources/working_dir_files/*/*")]
    assert "selfstudy" in uploaded and "jobs" in uploaded
    assert not {".git", ".venv", "tests", "out"} & set(uploaded)


def test_a_job_that_never_fits_ends_with_one_line(cluster: RayNodes, tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=1)
    too_much = RESOURCES | {"engine_gpus": 8, "wait_minutes": 0.02}
    submit(cluster, tmp_path, "never", config_of(corpus, tmp_path / "out", engine=SLOW, resources=too_much))
    status, log = wait_for_end(cluster, "never")
    assert status == "FAILED"
    (line,) = [line for line in log.splitlines() if line.startswith("selfstudy:")]
    assert "8 GPUs do not fit" in line and "Traceback" not in log
    info = JobSubmissionClient(cluster.job_server).get_job_info("never")
    assert info.driver_exit_code == 2
