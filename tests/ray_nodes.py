"""A Ray cluster of several nodes on this machine, apart from any other: own ports, own folder, everything ended."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from ray.job_submission import JobSubmissionClient
from ray.util.state import list_actors, list_nodes
from ray.util.state.exception import ServerUnavailable

from tests.runs import wait_until

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RayNodes:
    """`ray start --head` with its job server, and more nodes by `add`. Use as a context manager."""

    def __init__(self, **resources: int) -> None:
        # Ray's sockets lie in here, and their paths may have about 100 characters.
        self.folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self.address = f"127.0.0.1:{free_port()}"
        self.job_server = f"http://127.0.0.1:{free_port()}"
        self.nodes: list[subprocess.Popen[bytes]] = []
        self.commands: list[list[Any]] = []
        try:
            self._start(
                "--head",
                f"--port={self.address.rpartition(':')[2]}",
                "--dashboard-host=127.0.0.1",
                f"--dashboard-port={self.job_server.rpartition(':')[2]}",
                **resources,
            )
            wait_until(lambda: self.has(1), "the head")
        except BaseException:
            self.end()
            raise

    def __enter__(self) -> "RayNodes":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def add(self, **resources: int) -> None:
        """Start one more node and wait until it has joined."""
        self._start(f"--address={self.address}", **resources)
        wait_until(lambda: self.has(len(self.nodes)), "a node")

    def job(self, verb: str, *arguments: object) -> str:
        """Run `ray job VERB` as people do, and return what it printed."""
        command = [BIN / "ray", "job", verb, f"--address={self.job_server}", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=ROOT, env=self._env(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def end(self) -> None:
        processes = [each for node in self.nodes if node.poll() is None for each in _family(node.pid)]
        for each in processes:
            each.kill()
        psutil.wait_procs(processes, timeout=30)
        # Drivers and their watchers are in sessions of their own; what is left was started by a cluster in our folder.
        for each in psutil.process_iter():
            if has_argument(each, str(self.folder)):
                each.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, *arguments: str, num_cpus: int, num_gpus: int = 0) -> None:
        self.commands.append([
            # A test process that is killed cleans up nothing: its nodes are told by the kernel.
            *("setpriv", "--pdeathsig", "TERM"),
            *(BIN / "ray", "start", "--block", "--disable-usage-stats", "--node-ip-address=127.0.0.1"),
            *(f"--num-cpus={num_cpus}", f"--num-gpus={num_gpus}", "--object-store-memory=100000000"),
            # 0 lets the system choose: two nodes of one machine would else want the same ports.
            *("--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"),
            # Of its own as well: in a shared one a node may find the job's code while another still unpacks it.
            f"--temp-dir={self.folder}/{len(self.nodes)}",
            *arguments,
        ])  # fmt: skip
        self.nodes.append(self._launch(len(self.nodes)))

    def _launch(self, number: int) -> subprocess.Popen[bytes]:
        with self._log(number).open("ab") as log:
            return subprocess.Popen(
                self.commands[number],
                env=self._env(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _log(self, number: int) -> Path:
        return self.folder / f"node-{number}.log"

    def _env(self) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        # A node that is not up by then gives up, and a busy machine may need longer than the default of 30 s.
        patience = {"RAY_raylet_start_wait_time_s": "200"}
        return env | patience | {"PATH": f"{BIN}:{env['PATH']}", "RAY_AUTH_MODE": "disabled"}

    def has(self, num_nodes: int) -> bool:
        """Whether so many nodes are alive. One that did not come up within Ray's 30 s is started again."""
        for number, node in enumerate(self.nodes):
            if node.poll() is not None:
                self.nodes[number] = self._launch(number)
        try:
            alive = list_nodes(address=self.job_server, filters=[("state", "=", "ALIVE")])
        except ServerUnavailable:
            return False
        return len(alive) == num_nodes

    def num_nodes_with(self, resource: str) -> int:
        """On how many nodes an actor lives that holds some of a resource."""
        try:
            actors = list_actors(address=self.job_server, detail=True, filters=[("state", "=", "ALIVE")])
        except ServerUnavailable:
            return -1
        return len({actor.node_id for actor in actors if (actor.required_resources or {}).get(resource)})

    def job_status(self, name: str) -> str:
        try:
            return str(JobSubmissionClient(self.job_server).get_job_status(name))
        except (ConnectionError, OSError, RuntimeError):  # busy for a moment
            return "UNKNOWN"


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [*process.children(recursive=True), process]
    except psutil.Error:
        return []


def has_argument(process: psutil.Process, text: str) -> bool:
    try:
        return any(text in part for part in process.cmdline())
    except psutil.Error:
        return False
