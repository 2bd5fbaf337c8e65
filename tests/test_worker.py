"""An engine actor's worker in each role, without Ray: one asks and hands on, another answers and commits."""

from pathlib import Path
from typing import Any

import pytest

from selfstudy.config import Config
from selfstudy.engines.base import EngineUnusable
from selfstudy.prompts import load_prompts
from selfstudy.recipe import recipe_of
from selfstudy.records import Failure, Outcome, Unit
from selfstudy.store.attempts import count_attempts, start_attempt
from selfstudy.store.commits import read_commit
from selfstudy.store.filesystem import Folder
from selfstudy.wire import unit_from_table, unit_to_table
from selfstudy.worker import Role, Worker
from tests.factories import config_of, prose, sampled_unit


def two_models(folder: Path, **sections: Any) -> Config:
    engines = {"engine": {"kind": "extractive"}, "answer_engine": {"kind": "scripted"}}
    return config_of(output=str(folder), targets={"fraction": 1.0}, **(engines | sections))


def worker(config: Config, role: Role) -> Worker:
    prompts = load_prompts()
    return Worker(config, recipe_of(config, prompts_version=prompts.version, judge_name="none"), prompts, "run", role)


def travelled(unit: Unit) -> Unit:
    return unit_from_table(unit_to_table(unit))


def test_one_asks_and_another_commits(tmp_path: Path) -> None:
    config, output = two_models(tmp_path), Folder.at(str(tmp_path))
    unit = sampled_unit(prose(20), config)

    asked = travelled(worker(config, Role.ASK).ask(unit))

    assert len(asked.questions) == 20
    # Between the two nobody works on it, and nobody has died of it.
    assert count_attempts(output, unit.unit_id, "run").died_in_this_run == 0
    result = worker(config, Role.ANSWER).finish(asked)
    assert result.outcome is Outcome.COMMITTED
    commit = read_commit(output, unit.unit_id)
    assert commit.counts == result.counts
    assert commit.counts["pairs"] == 20 and commit.counts["preemptions"] == 0
    assert not output.names(f"units/attempts/{unit.unit_id}")


@pytest.mark.parametrize("role", [Role.ASK, Role.ANSWER])
def test_a_unit_that_killed_its_workers_is_quarantined_whichever_role_they_had(tmp_path: Path, role: Role) -> None:
    config, output = two_models(tmp_path, limits={"unit_attempts": 2}), Folder.at(str(tmp_path))
    unit = sampled_unit(prose(20), config)
    if role is Role.ANSWER:
        unit = travelled(worker(config, Role.ASK).ask(unit))
    for _ in range(2):
        start_attempt(output, unit.unit_id, "run")  # and then the process died
    if role is Role.ASK:
        unit = travelled(worker(config, Role.ASK).ask(unit))
        assert not unit.questions

    result = worker(config, Role.ANSWER).finish(unit)

    assert result.outcome is Outcome.COMMITTED
    assert result.counts["targets_rejected"] == {"unit_quarantined": 20}


@pytest.mark.parametrize("broken", ["engine", "answer_engine"])
def test_requests_that_fail_in_either_role_leave_a_gap(tmp_path: Path, broken: str) -> None:
    config = two_models(tmp_path, **{broken: {"kind": "scripted", "failure_rate": 1.0}})
    unit = sampled_unit(prose(8), config)

    result = worker(config, Role.ANSWER).finish(travelled(worker(config, Role.ASK).ask(unit)))

    assert result.outcome is Outcome.GAP
    assert "scripted failure" in result.message
    attempts = count_attempts(Folder.at(str(tmp_path)), unit.unit_id, "run")
    assert (attempts.died_in_this_run, attempts.runs_failed) == (0, 1)


def test_a_failure_passes_untouched(tmp_path: Path) -> None:
    config = two_models(tmp_path)
    lost = Unit(
        unit_id="u-gap", split_id="s", last=False, num_documents=0, failure=Failure(Outcome.UNUSABLE, "no filter")
    )

    asked = travelled(worker(config, Role.ASK).ask(lost))
    result = worker(config, Role.ANSWER).finish(asked)

    assert asked == lost
    assert (result.outcome, result.message) == (Outcome.UNUSABLE, "no filter")
    assert not Folder.at(str(tmp_path)).names("units/attempts/u-gap")


def test_an_engine_that_cannot_be_had_is_said_at_once(tmp_path: Path) -> None:
    pytest.importorskip("openai", reason="needs the openai client: pip install selfstudy[openai]")
    config = two_models(
        tmp_path,
        answer_engine={"kind": "openai", "base_url": "http://h/v1", "model": "m", "api_key_env": "NO_SUCH_KEY_HERE"},
    )
    with pytest.raises(EngineUnusable, match="NO_SUCH_KEY_HERE"):
        worker(config, Role.ANSWER)
