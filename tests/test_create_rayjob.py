"""What the nightly CronJob runs, as a process against a Kubernetes API that is only as real as it needs to be."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.manifests import CLUSTER, ROOT

PATH = "/apis/ray.io/v1/namespaces/team/rayjobs"


class Kubernetes(ThreadingHTTPServer):
    """Holds RayJobs by name; `answers` are given first, {method: [status code, ...]}; `states` one per GET."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.rayjobs: dict[str, Any] = {}
        self.answers: dict[str, list[int]] = {"POST": [], "GET": []}
        self.states: list[dict[str, str]] = []
        self.tokens: set[str | None] = set()


class _Handler(BaseHTTPRequestHandler):
    server: Kubernetes

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = body["metadata"]["name"]
        taken = name in self.server.rayjobs
        if self._answered("POST") or self.path != PATH:
            return
        self.server.rayjobs.setdefault(name, body)
        self._answer(409 if taken else 201, {})

    def do_GET(self) -> None:
        if self._answered("GET"):
            return
        states = self.server.states
        known = self.path.removeprefix(f"{PATH}/") in self.server.rayjobs
        self._answer(200 if known else 404, {"status": states.pop(0) if len(states) > 1 else states[0]})

    def _answered(self, method: str) -> bool:
        self.server.tokens.add(self.headers["Authorization"])
        codes = self.server.answers[method]
        if codes:
            self._answer(codes.pop(0), {"message": "as the test wants it"})
            return True
        return False

    def _answer(self, code: int, content: dict[str, Any]) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def kubernetes() -> Iterator[Kubernetes]:
    server = Kubernetes()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def create(server: Kubernetes, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "token").write_text("the-token\n")
    (folder / "namespace").write_text("team")
    env = {
        "SERVICE_ACCOUNT_FOLDER": str(folder),
        "KUBERNETES_SERVER": f"http://127.0.0.1:{server.server_port}",
        "JOB_NAME": "selfstudy-nightly-29384720",
        "JOB_UID": "0000-1111",
        "POLL_S": "0.01",
        "PATIENCE_S": "20",
    }
    command = [sys.executable, ROOT / "jobs" / "create_rayjob.py", CLUSTER / "rayjob.yaml"]
    return subprocess.run(
        command, env=os.environ | env | variables, capture_output=True, text=True, timeout=60, check=False
    )


RUNNING = [{}, {"jobDeploymentStatus": "Initializing"}, {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}]
COMPLETE = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}


def test_a_rayjob_is_created_and_waited_for(kubernetes: Kubernetes, tmp_path: Path) -> None:
    kubernetes.states = [*RUNNING, COMPLETE]
    done = create(kubernetes, tmp_path)
    assert done.returncode == 0, done.stdout
    (created,) = kubernetes.rayjobs.values()
    assert created["kind"] == "RayJob" and created["metadata"]["name"] == "selfstudy-nightly-29384720"
    assert created["metadata"]["ownerReferences"][0]["uid"] == "0000-1111"
    assert created["spec"]["entrypoint"].startswith("selfstudy run ")
    assert kubernetes.tokens == {"Bearer the-token"}
    assert "Running RUNNING" in done.stdout and "the-token" not in done.stdout + done.stderr


def test_a_pod_that_starts_again_finds_its_rayjob(kubernetes: Kubernetes, tmp_path: Path) -> None:
    kubernetes.states = [COMPLETE]
    assert create(kubernetes, tmp_path).returncode == 0
    again = create(kubernetes, tmp_path)
    assert again.returncode == 0 and "exists already" in again.stdout
    assert len(kubernetes.rayjobs) == 1


@pytest.mark.parametrize(
    "end",
    [
        {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "exit code 1"},
        {"jobDeploymentStatus": "Complete", "jobStatus": "STOPPED"},
    ],
)
def test_a_run_that_failed_or_was_stopped_is_exit_1(
    kubernetes: Kubernetes, tmp_path: Path, end: dict[str, str]
) -> None:
    kubernetes.states = [*RUNNING, end]
    assert create(kubernetes, tmp_path).returncode == 1


def test_a_control_plane_that_is_away_is_waited_for(kubernetes: Kubernetes, tmp_path: Path) -> None:
    kubernetes.answers = {"POST": [500, 429], "GET": [503]}
    kubernetes.states = [COMPLETE]
    done = create(kubernetes, tmp_path)
    assert done.returncode == 0 and done.stdout.count("trying again") == 3


def test_what_is_not_allowed_is_exit_2_and_what_stays_away_exit_3(kubernetes: Kubernetes, tmp_path: Path) -> None:
    kubernetes.answers = {"POST": [403], "GET": []}
    refused = create(kubernetes, tmp_path)
    assert refused.returncode == 2 and "403" in refused.stdout and "Traceback" not in refused.stderr
    nobody = create(kubernetes, tmp_path, KUBERNETES_SERVER="http://127.0.0.1:1", PATIENCE_S="0.1")
    assert nobody.returncode == 3, nobody.stderr
