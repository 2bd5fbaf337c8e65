"""cluster/slurm.sbatch for real, but for Slurm: `srun` runs its command here, `scontrol` writes down what it hears."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.ray_nodes import BIN, ROOT, free_port, has_argument
from tests.runs import config_of, num_commits, published, wait_until, write_corpus

pytestmark = pytest.mark.fault

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
if [[ $1 == hostname ]]; then echo 127.0.0.1; exit; fi
# Two nodes are one machine here, and want ports of their own.
[[ $* == *--head* ]] || set -- "$@" "--temp-dir=/tmp/ray-$SLURM_JOB_ID/two"
exec "$@" --node-ip-address=127.0.0.1 --object-store-memory=100000000 --min-worker-port=0 --max-worker-port=0
"""
SCONTROL = """#!/bin/bash
if [[ $1 == show ]]; then printf 'one\\ntwo\\n'; else echo "$@" >> "$SCONTROL_LOG"; fi
"""


class Allocation:
    """One start of the job by Slurm."""

    def __init__(self, folder: Path, config: Path) -> None:
        bin_folder = folder / "bin"
        bin_folder.mkdir(exist_ok=True)
        for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
            (bin_folder / name).write_text(text)
            (bin_folder / name).chmod(0o755)
        self.requeued = folder / "scontrol.log"
        self.log = folder / "job.log"
        # The script makes its port of the job's id.
        port = 0
        while not 20_000 <= port < 40_000:
            port = free_port()
        self.job_id = port - 20_000
        env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "SLURM_JOB_ID": str(self.job_id),
            "SLURM_JOB_NODELIST": "one,two",
            "SLURM_SUBMIT_DIR": str(ROOT),
            "SLURM_CPUS_PER_TASK": "2",
            "VENV": str(BIN.parent),
            "SCONTROL_LOG": str(self.requeued),
        }
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "bash", "cluster/slurm.sbatch", str(config)],
                cwd=ROOT,
                env=env,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def rays(self) -> list[psutil.Process]:
        """What of this allocation's Ray is alive."""
        return [each for each in psutil.process_iter() if has_argument(each, f"/tmp/ray-{self.job_id}")]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(60)
        for each in self.rays():
            each.kill()


@pytest.fixture
def started() -> Iterator[list[Allocation]]:
    allocations: list[Allocation] = []
    yield allocations
    for each in allocations:
        each.end()


def test_a_job_that_runs_out_of_time_is_requeued_and_goes_on(tmp_path: Path, started: list[Allocation]) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=40)
    output, path = tmp_path / "out", tmp_path / "config.yaml"
    slow = {"kind": "scripted", "latency_s": 0.2, "max_concurrency": 4}
    # More CPUs than one of the two nodes has.
    resources = {"filter_actors": 1, "engine_actors": 2, "filter_cpus": 1, "engine_cpus": 1}
    path.write_text(yaml.safe_dump(config_of(corpus, output, engine=slow, resources=resources)))
    first = Allocation(tmp_path, path)
    started.append(first)
    wait_until(lambda: num_commits(output) >= 1 or first.process.poll() is not None, "a commit")
    assert first.process.poll() is None, first.log.read_text()[-3000:]
    first.process.send_signal(signal.SIGUSR1)  # as --signal=B:USR1 does, to the batch shell alone
    assert first.process.wait(120) == 0, first.log.read_text()[-3000:]
    assert first.requeued.read_text().split() == ["requeue", str(first.job_id)]
    assert "the same command goes on from there" in first.log.read_text()
    wait_until(lambda: not first.rays(), "the end of Ray")
    stored = num_commits(output)
    assert not (output / "latest.json").exists()

    path.write_text(yaml.safe_dump(config_of(corpus, output, engine=slow | {"latency_s": 0}, resources=resources)))
    second = Allocation(tmp_path, path)
    started.append(second)
    assert second.process.wait(300) == 0, second.log.read_text()[-3000:]
    assert num_commits(output) > stored > 0
    assert len(second.requeued.read_text().splitlines()) == 1
    assert published(output)["pairs"].height > 0
