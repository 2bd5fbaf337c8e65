"""The run lock: at most one run works on an output at a time.

    lock/NNNNNN.json     generations; the highest number is the lock

A taker creates the next number, conditionally, so that one of several wins, and removes the ones before it. The owner
renews by overwriting its own object, and when it sees a higher number it has lost the lock. A holder is dead when its
process is gone from this machine, or when its object stays the same for a whole lease as this process sees it: clocks
of other machines are never read. After a release the last object stays, so that numbers only grow.

The lock saves work. What keeps units apart is the conditional create of their commits, where the store has it.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from selfstudy.store.filesystem import Folder

logger = logging.getLogger(__name__)

_FOLDER = "lock"
# Renewed four times per lease, so that a renewal may fail and the next one still be in time.
_RENEWALS_PER_LEASE = 4
_LONGEST_POLL_S = 2.0


class LockHeldError(RuntimeError):
    """Another run lives; the message is one line with who and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The content of a lock object. `machine` and `process_started` say whether `pid` can be looked up, and is it."""

    run_id: str
    token: str
    host: str
    machine: str
    pid: int
    process_started: str
    taken_at: str
    renewed_at: str
    lease_s: float
    released: bool = False

    @classmethod
    def of_this_process(cls, run_id: str, lease_s: float) -> Holder:
        pid = os.getpid()
        return cls(
            run_id=run_id,
            token=secrets.token_hex(8),
            host=socket.gethostname(),
            machine=_machine(),
            pid=pid,
            process_started=_process_started(pid) or "",
            taken_at=_now(),
            renewed_at=_now(),
            lease_s=lease_s,
        )

    @classmethod
    def parse(cls, data: bytes) -> Holder:
        return cls(**orjson.loads(data))

    def dump(self) -> bytes:
        return orjson.dumps(self, option=orjson.OPT_INDENT_2)

    @property
    def is_gone(self) -> bool:
        """Whether its process ran on this machine and does so no more."""
        return bool(self.machine) and self.machine == _machine() and _process_started(self.pid) != self.process_started

    def __str__(self) -> str:
        return f"run {self.run_id} on {self.host} (pid {self.pid}, since {self.taken_at})"


class RunLock:
    """A lock that this process holds. `with RunLock.take(...) as lock:` releases it at the end."""

    def __init__(self, folder: Folder, number: int, holder: Holder) -> None:
        self._folder = folder
        self._number = number
        self._holder = holder
        self._renewed = time.monotonic()
        self._lost = ""
        self._mutex = threading.Lock()
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="run lock", daemon=True)

    @classmethod
    def take(cls, folder: Folder, run_id: str, lease_s: float, *, steal: bool = False) -> RunLock:
        """Take the lock; waits up to a lease of the holder to see whether it lives, unless `steal`.

        Raises:
            LockHeldError: it lives.
            OSError: the store failed.
        """
        while True:
            number, held = _highest(folder)
            if held is not None and not steal:
                _wait_until_free(folder, number, held)
            holder = Holder.of_this_process(run_id, lease_s)
            if folder.create(_name(number + 1), holder.dump()):
                return cls(folder, number + 1, holder)
            # Another taker was faster: it lives, which is for the next round to see.

    def __enter__(self) -> RunLock:
        for name in _numbers(self._folder):
            if name < self._number:
                self._folder.remove(_name(name))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        if self._lost:
            return
        try:
            self._folder.write(_name(self._number), replace(self._holder, released=True).dump())
        except OSError as error:
            logger.info("the run lock could not be released and will expire: %s", error)

    def lost(self) -> str:
        """Return who has the lock instead, "" while it is ours.

        Raises:
            OSError: the store has not answered for a lease.
        """
        if not self._lost and time.monotonic() - self._renewed > self._holder.lease_s:
            self.renew()
        return self._lost

    def renew(self) -> None:
        """Say that we live, or find out that the lock is lost."""
        with self._mutex:
            highest = max(_numbers(self._folder), default=0)
            if highest > self._number:
                self._lost = f"the run lock was taken by {_read(self._folder, highest) or 'another run'}"
                return
            self._folder.write(_name(self._number), replace(self._holder, renewed_at=_now()).dump())
            self._renewed = time.monotonic()

    def _keep(self) -> None:
        while not self._ends.wait(self._holder.lease_s / _RENEWALS_PER_LEASE) and not self._lost:
            try:
                self.renew()
            except OSError as error:
                logger.info("the run lock could not be renewed: %s", error)


def _wait_until_free(folder: Folder, number: int, holder: Holder) -> None:
    """Return when the holder is dead or has let go. Raises LockHeldError when it moves, or somebody else came."""
    seen = holder
    end = time.monotonic() + holder.lease_s
    while not (seen.released or seen.is_gone or time.monotonic() > end):
        time.sleep(min(_LONGEST_POLL_S, holder.lease_s / 8))
        highest, now = _highest(folder)
        if now is None:
            return
        if highest != number or (now != seen and not now.released):
            raise LockHeldError(
                f"{now} is working on this output. Wait for it to end, or take the lock from it with --steal-lock"
            )
        seen = now


def _highest(folder: Folder) -> tuple[int, Holder | None]:
    """Return the number and holder of the lock, (0, None) if there never was one."""
    while number := max(_numbers(folder), default=0):
        holder = _read(folder, number)
        if holder is not None:
            return number, holder
        # Removed between the two requests, by one who took a higher number.
    return 0, None


def _read(folder: Folder, number: int) -> Holder | None:
    try:
        return Holder.parse(folder.read(_name(number)))
    except FileNotFoundError:
        return None


def _numbers(folder: Folder) -> list[int]:
    stems = (name.removesuffix(".json") for name in folder.names(_FOLDER) if name.endswith(".json"))
    return [int(stem) for stem in stems if stem.isdigit()]


def _name(number: int) -> str:
    return f"{_FOLDER}/{number:06d}.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _machine() -> str:
    """Name the process table that a pid belongs to: this boot and pid namespace; "" where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _process_started(pid: int) -> str | None:
    """Return when a process started, in ticks since boot, None if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in "ZX" else fields[18]
