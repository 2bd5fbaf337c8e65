"""The run lock, on a local folder and in a real S3-compatible store."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from selfstudy.store.filesystem import Folder
from selfstudy.store.lock import Holder, LockHeldError, RunLock
from tests.runs import wait_until

FOREVER_S = 3600


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "local":
        return Folder.at(str(tmp_path / "out"))
    return Folder.at(f"s3://{request.getfixturevalue('bucket')}/out")


def objects(folder: Folder) -> list[str]:
    return [name for name in folder.names("lock") if name.endswith(".json")]


def held_elsewhere(folder: Folder, lease_s: float) -> Holder:
    """A lock that a process of another machine once took, and nobody renews."""
    holder = replace(Holder.of_this_process("elsewhere", lease_s), host="far-away", machine="another")
    folder.create("lock/000001.json", holder.dump())
    return holder


def test_a_released_lock_is_free_and_one_object_stays(folder: Folder) -> None:
    for number in (1, 2, 3):
        with RunLock.take(folder, f"run{number}", FOREVER_S) as lock:
            assert not lock.lost()
            assert objects(folder) == [f"{number:06d}.json"]
    assert Holder.parse(folder.read("lock/000003.json")).released


def test_a_lock_that_is_renewed_is_held(folder: Folder) -> None:
    with (
        RunLock.take(folder, "the-first", 2),
        pytest.raises(LockHeldError, match=rf"run the-first .*pid {os.getpid()}.*--steal-lock"),
    ):
        RunLock.take(folder, "second", 2)
    assert objects(folder) == ["000001.json"]


def test_a_lock_that_nobody_renews_is_taken_after_its_lease(folder: Folder) -> None:
    held_elsewhere(folder, lease_s=0.5)
    with RunLock.take(folder, "next", FOREVER_S):
        assert objects(folder) == ["000002.json"]


def test_a_process_of_this_machine_that_is_gone_holds_nothing(folder: Folder) -> None:
    code = (
        "import sys; from selfstudy.store.lock import RunLock; from selfstudy.store.filesystem import Folder;"
        "import os; RunLock.take(Folder.at(sys.argv[1]), 'killed', 3600); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, folder.url], check=False).returncode == -9
    with RunLock.take(folder, "next", FOREVER_S):
        pass


def test_a_pid_that_was_given_to_another_process_holds_nothing(folder: Folder) -> None:
    holder = replace(Holder.of_this_process("before", FOREVER_S), process_started="1")
    folder.create("lock/000001.json", holder.dump())
    with RunLock.take(folder, "next", FOREVER_S):
        pass


def test_who_is_robbed_finds_out_and_leaves_the_thief_alone(folder: Folder) -> None:
    with RunLock.take(folder, "robbed", 0.4) as lock:
        with RunLock.take(folder, "thief", FOREVER_S, steal=True):
            said = wait_until(lock.lost, "the loss")
            assert "taken by run thief" in said
            assert objects(folder) == ["000002.json"]
        # It has been away while the thief came, worked and let go.
        lock._lost = ""
        lock.renew()
        assert lock.lost()
    assert objects(folder) == ["000002.json"]
    assert Holder.parse(folder.read("lock/000002.json")).run_id == "thief"


def test_of_many_that_find_a_dead_lock_one_takes_it(folder: Folder) -> None:
    held_elsewhere(folder, lease_s=0.5)
    num_takers = 6
    barrier = Barrier(num_takers)

    def take(number: int) -> RunLock | None:
        barrier.wait()
        try:
            return RunLock.take(folder, f"run{number}", 2).__enter__()
        except LockHeldError:
            return None

    with ThreadPoolExecutor(num_takers) as pool:
        locks = [lock for lock in pool.map(take, range(num_takers)) if lock is not None]
    (winner,) = locks
    assert not winner.lost()
    winner.__exit__()


def test_a_renewal_that_fails_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder.at(str(tmp_path))
    with RunLock.take(folder, "run", 0.4) as lock:
        before = folder.read("lock/000001.json")
        with monkeypatch.context() as patch:
            failures: list[int] = []

            def fail(*_: object) -> None:
                failures.append(1)
                raise OSError(5, "gone")

            patch.setattr(Folder, "write", fail)
            wait_until(lambda: len(failures) >= 2, "two failed renewals")
        wait_until(lambda: folder.read("lock/000001.json") != before, "a renewal")
        assert not lock.lost()
