"""Seeded rounds of the whole job over a real S3 server, while drivers, workers, nodes, network and store fail.

    python -m tests.laws.chaos --rounds 24 --seed 1       what `make chaos` runs

Each round writes an output of its own, gets two kinds of faults, and is resumed until it is done. Then `verify` must
be clean, and what was planned must equal a calm run's, each target exactly once as pair or reject. The cluster is
Ray's own with a head and two workers, each with processes of its own; the driver is the command line.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
from ray.cluster_utils import Cluster

from selfstudy.gc import find_garbage, remove
from selfstudy.store.commits import COMMITS
from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.runs import (
    RunProcess,
    config_of,
    ended_targets,
    parsed,
    planned_targets,
    published,
    run_here,
    wait_until,
    write_corpus,
)
from tests.services.ceph import Ceph, missing_programs
from tests.services.faultproxy import FaultProxy, Faults
from tests.services.orphans import orphans

KINDS = ("driver", "worker", "node", "resets", "latency", "errors", "partition", "full")
_RUN_S = 600
_NUM_NODES = 2
_MAX_RUNS = 8
_CORPUS = {"num_documents": 10, "num_sentences": 30}
_SETTINGS: dict[str, Any] = {
    "engine": {"kind": "scripted", "random_text": True, "latency_s": 0.05, "max_concurrency": 8},
    "chunks": {"per_unit": 4},
    "resources": {"engine_actors": 2, "engine_cpus": 0.1, "filter_cpus": 0.1, "prepare_cpus": 0.5},
    "limits": {"unit_attempts": 50, "lock_lease_s": 4},
}


@dataclass
class World:
    """What the rounds share: the server, the way to it, the cluster, the corpus and what a calm run plans."""

    ceph: Ceph
    proxy: FaultProxy
    cluster: Cluster
    bucket: str
    folder: Path
    corpus: str
    targets: list[str]

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait, and do what an autoscaler does meanwhile: replace nodes that are gone."""
        wait_until(lambda: self._keep_nodes() or condition(), what, _RUN_S)

    def _keep_nodes(self) -> None:
        for node in list(self.cluster.worker_nodes):
            if not node.remaining_processes_alive():
                self.cluster.remove_node(node, allow_graceful=False)
        while len(self.cluster.worker_nodes) < _NUM_NODES:
            self.cluster.add_node(wait=False, num_cpus=1, object_store_memory=80_000_000)

    def start_nodes(self) -> None:
        self._keep_nodes()
        self.cluster.wait_for_nodes(_RUN_S)

    def num_objects(self, prefix: str) -> int:
        """Count objects past the proxy, whatever state that is in."""
        return self.ceph.client.list_objects_v2(Bucket=self.bucket, Prefix=prefix)["KeyCount"]


@dataclass
class Round:
    """How a round went. `resume_s` is from the last fault's end to a complete snapshot."""

    number: int
    faults: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    seconds: float = 0
    resume_s: float = 0
    swept: int = 0
    lost: int = 0
    duplicated: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.lost or self.duplicated or self.problems)

    def line(self) -> str:
        faults = ", ".join(f"{kind} {number}" for kind, number in sorted(self.faults.items()))
        return (
            f"{self.number:5} {self.runs:5} {self.seconds:8.1f} {self.resume_s:9.1f} {self.swept:6} {self.lost:5} "
            f"{self.duplicated:5}  {faults}"
        )


HEADER = f"{'round':>5} {'runs':>5} {'seconds':>8} {'resume s':>9} {'swept':>6} {'lost':>5} {'dupl.':>5}  faults"


@contextmanager
def world() -> Iterator[World]:
    with ExitStack() as stack:
        ceph = stack.enter_context(Ceph())
        proxy = stack.enter_context(FaultProxy(ceph.port))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        bucket = f"chaos-{uuid4().hex[:8]}"
        ceph.client.create_bucket(Bucket=bucket)
        before = dict(os.environ)
        stack.callback(lambda: (os.environ.clear(), os.environ.update(before)))
        # The nodes and the drivers inherit this.
        # A node that is slow, since the machine is busy, is not dead; one that was killed refuses connections.
        os.environ.update(ceph.environment(proxy.url) | {"RAY_health_check_timeout_ms": "60000"})
        corpus = write_corpus(folder / "corpus", **_CORPUS)
        ceph.client.put_object(Bucket=bucket, Key="corpus/documents.jsonl", Body=corpus.read_bytes())
        run_here(parsed(corpus, folder / "calm", **_SETTINGS))
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80_000_000},
        )
        stack.callback(cluster.shutdown)
        here = World(
            ceph=ceph,
            proxy=proxy,
            cluster=cluster,
            bucket=bucket,
            folder=folder,
            corpus=f"s3://{bucket}/corpus/documents.jsonl",
            targets=planned_targets(published(folder / "calm")),
        )
        here.start_nodes()
        yield here


def play_round(here: World, number: int, seed: int) -> Round:
    """Run the job into an output of its own, break it twice, resume until it is done, and look at what is there."""
    rng = random.Random(f"{seed}-{number}")
    result = Round(number)
    first = KINDS[number % len(KINDS)]
    pending = [first, rng.choice([kind for kind in KINDS if kind != first])]
    rng.shuffle(pending)
    key = f"round-{number}/out"
    output = f"s3://{here.bucket}/{key}"
    config = config_of(here.corpus, output, **_SETTINGS)
    here.proxy.seed(rng.randrange(1 << 30))
    started = calm_since = time.monotonic()
    for result.runs in range(1, _MAX_RUNS + 1):
        run = RunProcess(config, here.folder, ray_address=here.cluster.address)
        try:
            while pending and run.process.poll() is None:
                _wait_for_moment(here, key, rng, run, is_last=len(pending) == 1)
                if run.process.poll() is None:
                    kind = pending.pop(0)
                    result.faults[kind] += 1
                    _FAULTS[kind](here, run, rng)
                    calm_since = time.monotonic()
            here.wait_until(lambda run=run: run.process.poll() is not None, "the end of the run")
            code = run.process.returncode
        finally:
            run.kill()
            here.proxy.set(Faults())
            if result.faults["full"]:
                here.ceph.limit_bucket(here.bucket, None)
        if "Traceback" in run.stderr:
            result.problems.append(f"run {result.runs}: {run.stderr.strip().splitlines()[-1]}")
        if code == 0:
            break
        calm_since = max(calm_since, time.monotonic()) if not pending else calm_since
    else:
        result.problems.append(f"not done after {_MAX_RUNS} runs: {run.stderr.strip()}")
    result.seconds = time.monotonic() - started
    result.resume_s = time.monotonic() - calm_since
    if not result.problems or code == 0:
        _look(here, output, result)
    return result


def _look(here: World, output: str, result: Round) -> None:
    folder = Folder.at(output)
    verdict = verify(folder)
    result.problems += verdict.violations
    tables = published(output)
    ended = ended_targets(tables)
    if planned_targets(tables) != here.targets:
        result.problems.append("the planned targets differ from a calm run's")
    result.lost = len(set(here.targets) - set(ended))
    result.duplicated = len(ended) - len(set(ended))
    if "unit_quarantined" in set(tables["rejects"]["reason"]):
        result.problems.append("a unit was quarantined that does not kill its workers")
    result.swept = len(orphans(folder))
    remove(folder, find_garbage(folder, keep=None, min_age_s=0))
    result.problems += [f"gc left {name}" for name in orphans(folder)]
    result.problems += [f"after gc: {violation}" for violation in verify(folder).violations]


def _wait_for_moment(here: World, key: str, rng: random.Random, run: RunProcess, *, is_last: bool) -> None:
    """Wait for a few more commits or, with the last fault, for the first objects of a snapshot; or until it ended."""
    commits, snapshots = f"{key}/{COMMITS}/", f"{key}/snapshots/"
    prefix, more = rng.choice([(commits, 1), (commits, 3), (snapshots, 1) if is_last else (commits, 2)])
    goal = here.num_objects(prefix) + more
    here.wait_until(lambda: run.process.poll() is not None or here.num_objects(prefix) >= goal, "the moment")


def _kill_driver(_here: World, run: RunProcess, _rng: random.Random) -> None:
    run.process.kill()
    run.process.wait()


def _kill_workers(_here: World, _run: RunProcess, rng: random.Random) -> None:
    workers = [each for each in psutil.Process().children(recursive=True) if _title(each).startswith("ray::")]
    for victim in rng.sample(workers, min(2, len(workers))):
        victim.kill()


def _kill_node(here: World, _run: RunProcess, rng: random.Random) -> None:
    here.cluster.remove_node(rng.choice(list(here.cluster.worker_nodes)), allow_graceful=False)


def _resets(here: World, _run: RunProcess, _rng: random.Random) -> None:
    here.proxy.set(Faults(reset=0.1, ack_loss=0.1, truncate=0.1))


def _latency(here: World, _run: RunProcess, _rng: random.Random) -> None:
    here.proxy.set(Faults(latency_s=0.15))


def _errors(here: World, _run: RunProcess, rng: random.Random) -> None:
    here.proxy.set(Faults(slow_down=0.4, internal_error=0.3, too_many=0.1))
    time.sleep(rng.uniform(2, 5))
    here.proxy.set(Faults())


def _partition(here: World, _run: RunProcess, rng: random.Random) -> None:
    here.proxy.set(Faults(partition=True))
    time.sleep(rng.uniform(3, 6))
    here.proxy.set(Faults())


def _full(here: World, run: RunProcess, _rng: random.Random) -> None:
    here.ceph.limit_bucket(here.bucket, 1)
    run.process.wait(_RUN_S)


_FAULTS: dict[str, Callable[[World, RunProcess, random.Random], None]] = {
    "driver": _kill_driver,
    "worker": _kill_workers,
    "node": _kill_node,
    "resets": _resets,
    "latency": _latency,
    "errors": _errors,
    "partition": _partition,
    "full": _full,
}


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="number of the first round, to repeat one")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if missing := missing_programs():
        sys.exit(f"an S3 server needs {missing}: make deps-test")
    rounds = []
    with world() as here:
        print(HEADER, flush=True)
        for number in range(arguments.first, arguments.first + arguments.rounds):
            rounds.append(play_round(here, number, arguments.seed))
            print(rounds[-1].line(), flush=True)
            for problem in rounds[-1].problems:
                print(f"      {problem}", flush=True)
        injected = Counter({name: count for name, count in here.proxy.seen.items() if name != "requests"})
        print(f"{here.proxy.seen['requests']} requests went through the proxy; broken: {dict(injected)}")
    lost = sum(each.lost for each in rounds)
    duplicated = sum(each.duplicated for each in rounds)
    print(f"rounds {len(rounds)} lost {lost} duplicated {duplicated}")
    return 0 if all(each.ok for each in rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
