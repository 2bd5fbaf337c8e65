"""Law 3 and law 7 under fire: drivers and workers die by SIGKILL, runs race, storage is full."""

import json
import random
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.runs import (
    RunProcess,
    config_of,
    ended_targets,
    is_alive,
    num_commits,
    planned_targets,
    published,
    wait_until,
    write_corpus,
)

pytestmark = pytest.mark.fault

SLOW = {"kind": "scripted", "latency_s": 0.15, "max_concurrency": 8}


def test_a_driver_killed_five_times_gives_the_tables_of_a_calm_run(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=40)
    calm = RunProcess(config_of(corpus, tmp_path / "calm", engine=SLOW | {"latency_s": 0}), tmp_path)
    assert calm.wait() == 0, calm.stderr
    rng = random.Random(5)
    for _ in range(5):
        before = num_commits(tmp_path / "out")
        run = RunProcess(config_of(corpus, tmp_path / "out", engine=SLOW), tmp_path)
        try:
            goal = before + rng.randint(1, 4)
            wait_until(
                lambda goal=goal, run=run: num_commits(tmp_path / "out") >= goal or run.process.poll() is not None,
                "a commit",
            )
        finally:
            run.kill()
    last = RunProcess(config_of(corpus, tmp_path / "out", engine=SLOW | {"latency_s": 0}), tmp_path)
    assert last.wait() == 0, last.stderr
    ours, calms = published(tmp_path / "out"), published(tmp_path / "calm")
    for table, frame in ours.items():
        assert frame.equals(calms[table]), table
    verdict = verify(Folder.at(str(tmp_path / "out")))
    assert verdict.ok, verdict.violations


def test_a_ray_that_does_not_come_up_is_started_again_and_none_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray asks again until more than 30 s are over.
    monkeypatch.setenv("RAY_raylet_start_wait_time_s", "31")
    run = RunProcess(config_of(write_corpus(tmp_path / "corpus", num_documents=4), tmp_path / "out"), tmp_path)
    try:
        raylet = wait_until(lambda: next(iter(run.raylets()), None), "a raylet", deadline_s=60)
        raylet.suspend()
        assert run.wait() == 0, run.stderr
        assert "did not come up on this machine in time" in run.stderr and "Traceback" not in run.stderr
        assert not is_alive(raylet)
    finally:
        run.kill()


def test_workers_killed_in_a_unit_lose_and_repeat_nothing(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=40)
    engine = SLOW | {"random_text": True, "latency_s": 0.05}
    run = RunProcess(config_of(corpus, tmp_path / "out", engine=engine, limits={"unit_attempts": 50}), tmp_path)
    try:
        for kill in range(3):
            wait_until(lambda kill=kill: num_commits(tmp_path / "out") > 2 * kill, "a commit")
            victims = [each for each in run.workers() if "MapWorker" in " ".join(each.cmdline())]
            for victim in victims:
                victim.kill()
            psutil.wait_procs(victims, timeout=30)
        assert run.wait() == 0, run.stderr
    finally:
        run.kill()
    tables = published(tmp_path / "out")
    assert planned_targets(tables) == ended_targets(tables)
    assert "unit_quarantined" not in set(tables["rejects"]["reason"])
    assert verify(Folder.at(str(tmp_path / "out"))).ok


@pytest.mark.parametrize("deadly", ["engine", "answer_engine"])
def test_a_unit_that_always_kills_its_worker_is_quarantined(tmp_path: Path, deadly: str) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=2)
    config = config_of(corpus, tmp_path / "out", limits={"unit_attempts": 2}, resources={"units_in_flight": 1})
    config[deadly] = {"kind": "scripted", "kill_rate": 0.2}
    run = RunProcess(config, tmp_path)
    try:
        assert run.wait() == 0, run.stderr
    finally:
        run.kill()
    tables = published(tmp_path / "out")
    assert "unit_quarantined" in set(tables["rejects"]["reason"])
    assert planned_targets(tables) == ended_targets(tables)


def test_of_two_runs_at_once_one_works_and_the_other_says_who(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=30)
    engine = {"kind": "scripted", "latency_s": 0.05, "random_text": True}
    config = config_of(corpus, tmp_path / "out", engine=engine, limits={"lock_lease_s": 4})
    both = [RunProcess(config, tmp_path) for _ in range(2)]
    try:
        assert sorted(run.wait() for run in both) == [0, 1], [run.stderr for run in both]
    finally:
        for run in both:
            run.kill()
    winner, loser = sorted(both, key=lambda run: run.process.returncode)
    (line,) = loser.stderr.splitlines()
    assert winner.summary()["run"] in line and f"pid {winner.process.pid}" in line and "--steal-lock" in line
    tables = published(tmp_path / "out")
    assert planned_targets(tables) == ended_targets(tables)
    commits = [json.loads(path.read_text()) for path in (tmp_path / "out/units/commits").glob("[!.]*.json")]
    assert sum(commit["counts"]["targets"] for commit in commits) == len(planned_targets(tables))
    assert winner.summary()["targets"] == len(planned_targets(tables))
    assert verify(Folder.at(str(tmp_path / "out"))).ok


def test_a_run_whose_lock_is_stolen_stops_and_says_by_whom(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=40)
    config = config_of(corpus, tmp_path / "out", engine=SLOW | {"random_text": True}, limits={"lock_lease_s": 2})
    robbed = RunProcess(config, tmp_path)
    try:
        wait_until(lambda: num_commits(tmp_path / "out") >= 1, "a commit")
        thief = RunProcess(config, tmp_path, "--steal-lock", "--set", "engine.latency_s=0")
        try:
            assert robbed.wait() == 1
            assert thief.wait() == 0, thief.stderr
        finally:
            thief.kill()
    finally:
        robbed.kill()
    assert f"taken by run {thief.summary()['run']}" in robbed.summary()["stopped_by"]
    tables = published(tmp_path / "out")
    assert planned_targets(tables) == ended_targets(tables)
    assert verify(Folder.at(str(tmp_path / "out"))).ok


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=40)
    run = RunProcess(config_of(corpus, tmp_path / "out", engine=SLOW), tmp_path)
    try:
        wait_until(lambda: num_commits(tmp_path / "out") >= 1, "a commit")
        children = run.descendants()
        run.process.terminate()
        assert run.wait() == 1
        assert "the same command goes on from there" in run.stderr
        assert "Traceback" not in run.stderr
        _, alive = psutil.wait_procs(children, timeout=60)
        assert not alive
    finally:
        run.kill()


def test_a_full_disk_is_one_clear_line_and_what_was_committed_stays(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(mount)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        corpus = write_corpus(tmp_path / "corpus", num_documents=60)
        run = RunProcess(config_of(corpus, mount / "out"), tmp_path)
        assert run.wait() == 1
        assert "No space left" in run.stderr and "Traceback" not in run.stderr
        stored = num_commits(mount / "out")
        subprocess.run(["mount", "-o", "remount,size=40m", str(mount)], check=True)
        again = RunProcess(config_of(corpus, mount / "out"), tmp_path)
        assert again.wait() == 0, again.stderr
        assert again.summary()["units"] == num_commits(mount / "out") - stored
        assert verify(Folder.at(str(mount / "out"))).ok
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=False)


def test_a_place_that_cannot_be_written_is_exit_2(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=1)
    (tmp_path / "file").write_text("not a folder")
    run = RunProcess(config_of(corpus, tmp_path / "file" / "out"), tmp_path)
    assert run.wait() == 2
    lines = [line for line in run.stderr.splitlines() if line.startswith("selfstudy:")]
    assert len(lines) == 1 and lines[0].startswith("selfstudy: output: ") and "Not a directory" in lines[0]


def test_losing_a_committed_file_is_seen_by_verify(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=2)
    run = RunProcess(config_of(corpus, tmp_path / "out"), tmp_path)
    assert run.wait() == 0, run.stderr
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    next((tmp_path / "copy/units/pairs").glob("*.parquet")).unlink()
    verdict = verify(Folder.at(str(tmp_path / "copy")))
    assert verdict.num_violations["unit checksum"] == 1
