from pathlib import Path

import pytest

from selfstudy.store.attempts import end_attempt, forget_attempts, start_attempt
from selfstudy.store.filesystem import Folder


@pytest.fixture
def output(tmp_path: Path) -> Folder:
    return Folder.at(str(tmp_path))


def start(output: Folder, run_id: str) -> tuple[int, int]:
    """Begin an attempt and return how many died in this run and how many runs failed before it."""
    attempts = start_attempt(output, "u", run_id)
    return attempts.died_in_this_run, attempts.runs_failed


def test_workers_that_died_count_within_their_run(output: Folder) -> None:
    for died in range(3):
        assert start(output, "run1") == (died, 0)
    # The next run's driver cannot tell a killed worker from a killed driver.
    assert start(output, "run2") == (0, 0)


def test_runs_whose_requests_failed_count_once_each(output: Folder) -> None:
    for run in ("run1", "run2"):
        for _ in range(2):
            start_attempt(output, "u", run)
            end_attempt(output, "u", run, "failed")
    assert start(output, "run3") == (0, 2)


def test_a_failed_attempt_is_no_death(output: Folder) -> None:
    start_attempt(output, "u", "run1")
    end_attempt(output, "u", "run1", "failed")
    assert start(output, "run1") == (0, 1)
    # That one died.
    assert start(output, "run1") == (1, 1)


def test_a_unit_that_was_handed_on_killed_nobody(output: Folder) -> None:
    start_attempt(output, "u", "run1")
    end_attempt(output, "u", "run1", "asked")
    # The actor that answers starts, and dies.
    assert start(output, "run1") == (0, 0)
    assert start(output, "run1") == (1, 0)


def test_a_run_whose_name_begins_like_another_is_another(output: Folder) -> None:
    start_attempt(output, "u", "run1")
    assert start(output, "run") == (0, 0)


def test_units_are_apart_and_forgotten_when_committed(output: Folder) -> None:
    start_attempt(output, "u", "run1")
    assert start_attempt(output, "v", "run1").died_in_this_run == 0
    forget_attempts(output, "u")
    assert start_attempt(output, "u", "run1").died_in_this_run == 0
    assert start_attempt(output, "v", "run1").died_in_this_run == 1
    forget_attempts(output, "never started")
