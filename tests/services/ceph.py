"""A real S3-compatible server for tests: Ceph's RADOS Gateway over a monitor and an in-memory OSD, on loopback.

Starts in a few seconds, forgets everything when it stops, and refuses wrong keys as a real one does.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from functools import cached_property
from pathlib import Path
from typing import Any

PROGRAMS = ("radosgw", "radosgw-admin", "ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool", "setpriv")
ACCESS_KEY, SECRET_KEY = "TESTACCESSKEY", "test/secret+key"
_START_S = 60

_CONFIG = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}/0]
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 5000
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {folder}/run
keyring = {folder}/keyring
log file = {folder}/log/$name.log
admin socket = {folder}/run/$name.$pid.asok
paxos propose interval = 0.05
[mon]
mon data = {folder}/mon
mon cluster log file = {folder}/log/cluster.log
mon data avail crit = 1
mon data avail warn = 1
[osd]
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
osd class load list = *
osd class default list = *
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:{port}
rgw enable usage log = false
rgw bucket quota ttl = 0
"""


def missing_programs() -> str:
    """What has to be installed (`make deps-test` does it), "" if all is there."""
    return ", ".join(name for name in PROGRAMS if shutil.which(name) is None)


class Ceph:
    """A running gateway at `http://127.0.0.1:{port}`; a context manager."""

    def __init__(self) -> None:
        # Short, since the paths of unix sockets are.
        self.folder = Path(tempfile.mkdtemp(prefix="rgw-", dir="/tmp"))
        self.port, mon_port = free_port(), free_port()
        for name in ("mon", "osd", "run", "log"):
            (self.folder / name).mkdir()
        config = self.folder / "ceph.conf"
        config.write_text(
            _CONFIG.format(fsid=uuid.uuid4(), folder=self.folder, port=self.port, mon_port=mon_port).lstrip()
        )
        self._env = os.environ | {"CEPH_CONF": str(config)}
        self._mon_address = f"[v2:127.0.0.1:{mon_port}]"
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Ceph:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(
        self, endpoint: str | None = None, key: str = ACCESS_KEY, secret: str = SECRET_KEY
    ) -> dict[str, str]:
        """What a client needs to know; the names are those of AWS."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.url,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    @cached_property
    def client(self) -> Any:
        """A plain botocore client, straight to the gateway."""
        import botocore.config
        import botocore.session

        config = botocore.config.Config(
            request_checksum_calculation="when_required", response_checksum_validation="when_required"
        )
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
            config=config,
        )

    def limit_bucket(self, bucket: str, max_bytes: int | None) -> None:
        """Give a bucket a quota, or lift it: the nearest thing to a disk that is full."""
        if max_bytes is None:
            self._run("radosgw-admin", "quota", "disable", "--quota-scope=bucket", f"--bucket={bucket}")
            return
        self._run(
            "radosgw-admin", "quota", "set", "--quota-scope=bucket", f"--bucket={bucket}", f"--max-size={max_bytes}"
        )
        self._run("radosgw-admin", "quota", "enable", "--quota-scope=bucket", f"--bucket={bucket}")

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.kill()  # nothing is worth keeping, and a graceful stop takes 18 s
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self) -> None:
        keyring = str(self.folder / "keyring")
        everything = [option for daemon in ("mon", "osd", "mgr") for option in ("--cap", daemon, "allow *")]
        self._run("ceph-authtool", "--create-keyring", keyring, "-n", "mon.", "--gen-key", "--cap", "mon", "allow *")
        for name in ("client.admin", "osd.0", "client.rgw.a"):
            self._run("ceph-authtool", keyring, "-n", name, "--gen-key", *everything)
        monmap = str(self.folder / "monmap")
        fsid = self._run("ceph-conf", "--lookup", "fsid").strip()
        self._run("monmaptool", "--create", "--fsid", fsid, "--addv", "a", self._mon_address, monmap)
        self._run("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap, "--keyring", keyring)
        self._spawn("ceph-mon", "-f", "-i", "a")
        osd = str(uuid.uuid4())
        self._run("ceph", "osd", "new", osd)
        self._run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("ceph-osd", "-f", "-i", "0")
        keys = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
        self._run("radosgw-admin", "user", "create", "--uid", "tests", "--display-name", "tests", *keys)
        self._spawn("radosgw", "-f", "-n", "client.rgw.a")
        self._wait_for_gateway()

    def _wait_for_gateway(self) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise TimeoutError(f"the gateway did not start within {_START_S} s; see {self.folder}/log")

    def _run(self, *command: str) -> str:
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=_START_S, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def _spawn(self, *command: str) -> None:
        log = (self.folder / "log" / f"{command[0]}.out").open("wb")
        # They end with the tests, whatever ends those.
        bound = ("setpriv", "--pdeathsig", "KILL", *command)
        self._processes.append(subprocess.Popen(bound, env=self._env, stdout=log, stderr=log))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
