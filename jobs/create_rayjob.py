"""What cluster/nightly.yaml runs in a pod: create a RayJob through the Kubernetes API and wait for its end.

    python jobs/create_rayjob.py rayjob.yaml

Reads the RayJob of a manifest (other kinds in the file are left alone), the pod's service account, and the variables
JOB_NAME and JOB_UID. The RayJob takes the name of the Job that runs this, so that a pod that starts again finds the
RayJob of the one before, and belongs to it, so that it goes when the Job goes. Needs the verbs create and get.

Exit codes: 0 the run is complete; 1 it failed after all its attempts; 2 Kubernetes refused what was asked; 3 Kubernetes
could not be reached for a long time, try again.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT_FOLDER", "/var/run/secrets/kubernetes.io/serviceaccount"))
SERVER = os.environ.get("KUBERNETES_SERVER", "https://kubernetes.default.svc")
POLL_S = float(os.environ.get("POLL_S", "15"))
PATIENCE_S = float(os.environ.get("PATIENCE_S", "1800"))


class RefusedError(RuntimeError):
    """Kubernetes answered that it will not do this."""


def main(manifest: str) -> int:
    name = os.environ["JOB_NAME"]
    path = f"/apis/ray.io/v1/namespaces/{(ACCOUNT / 'namespace').read_text().strip()}/rayjobs"
    try:
        if with_patience(lambda: request("POST", path, named(rayjob_of(manifest), name))) is None:
            say(f"RayJob {name} exists already: waiting for it")
        else:
            say(f"RayJob {name} created")
        return wait(f"{path}/{name}")
    except RefusedError as error:
        say(str(error))
        return 2
    except OSError as error:
        say(f"Kubernetes could not be reached for {PATIENCE_S:g} s: {error}")
        return 3


def rayjob_of(manifest: str) -> dict[str, Any]:
    documents = yaml.safe_load_all(Path(manifest).read_text(encoding="utf-8"))
    (rayjob,) = [document for document in documents if document and document["kind"] == "RayJob"]
    return dict(rayjob)


def named(rayjob: dict[str, Any], name: str) -> dict[str, Any]:
    """Give a RayJob the name of the Job that creates it, and that Job as its owner."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": os.environ["JOB_UID"]}
    return rayjob | {"metadata": rayjob["metadata"] | {"name": name, "ownerReferences": [owner]}}


def wait(path: str) -> int:
    shown = ""
    while True:
        status = (with_patience(lambda: request("GET", path)) or {}).get("status", {})
        deployment, job = status.get("jobDeploymentStatus", "New"), status.get("jobStatus", "")
        line = f"{deployment} {job} {status.get('message', '')}".strip()
        if line != shown:
            say(line)
            shown = line
        if deployment == "Complete":
            return 0 if job == "SUCCEEDED" else 1
        if deployment == "Failed":
            return 1
        time.sleep(POLL_S)


def with_patience(call: Any) -> dict[str, Any] | None:
    """Repeat what fails for reasons of transport: a control plane may be away for some minutes."""
    end = time.monotonic() + PATIENCE_S
    while True:
        try:
            answer: dict[str, Any] | None = call()
            return answer
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() > end:
                raise OSError(str(error)) from None
            say(f"{error}: trying again")
            time.sleep(POLL_S)


def request(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the answer, None where the name is taken.

    Raises:
        RefusedError: the request is wrong or not allowed.
        OSError: the server cannot be reached, or not now.
    """
    asked = urllib.request.Request(
        SERVER + path,
        method=method,
        data=json.dumps(body).encode() if body else None,
        # The token is read each time: Kubernetes replaces it every hour.
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/json",
        },
    )
    trust = ssl.create_default_context(cafile=ACCOUNT / "ca.crt") if SERVER.startswith("https") else None
    try:
        with urllib.request.urlopen(asked, timeout=60, context=trust) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        if error.code == 409:
            return None
        said = error.read(2000).decode(errors="replace")
        if error.code == 429 or error.code >= 500:
            raise OSError(f"{error.code} {said}") from None
        raise RefusedError(f"{method} {path}: {error.code} {said}") from None


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
