"""One local Ray and one S3-compatible server for all tests that need them; everything else runs without."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import uuid4

import pytest

from selfstudy import s3
from selfstudy.cli import main
from tests.services.ceph import Ceph, missing_programs
from tests.services.faultproxy import FaultProxy


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A small local cluster, started once. Tests that kill processes start their own in a subprocess."""
    import ray

    from selfstudy import pipeline

    os.environ.setdefault("RAY_raylet_start_wait_time_s", "200")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=200_000_000)
    yield
    pipeline.stop_ray()


@pytest.fixture(scope="session")
def ceph() -> Iterator[Ceph]:
    if missing := missing_programs():
        pytest.skip(f"an S3 server needs {missing}: make deps-test")
    with Ceph() as server:
        yield server


@pytest.fixture
def proxy(ceph: Ceph) -> Iterator[FaultProxy]:
    """The way to the server; it behaves until a test gives it faults."""
    with FaultProxy(ceph.port, seed=1) as between:
        yield between


@pytest.fixture
def bucket(ceph: Ceph, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A new bucket, with an environment in which this process and its children reach it through `proxy`."""
    name = f"bucket-{uuid4().hex[:12]}"
    ceph.client.create_bucket(Bucket=name)
    for variable, value in ceph.environment(proxy.url).items():
        monkeypatch.setenv(variable, value)
    forget_sessions()
    yield name
    forget_sessions()


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    stdout: str
    stderr: str


CommandLine = Callable[..., Ended]


@pytest.fixture
def command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The whole command line, in this process: call it with the arguments."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["selfstudy", *map(str, arguments)])
        forget_sessions()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, said.out, said.err)

    return run


def forget_sessions() -> None:
    """Let the next request read the environment again."""
    s3._of_process.cache_clear()
    s3.S3.clear_instance_cache()
