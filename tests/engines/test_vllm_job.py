"""The whole job on real vLLM: published, verified, and none the worse for three kills.

The model's text is noise, so the checks on content are off.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from jobs.tiny_model import write_tiny_model
from selfstudy.config import VllmEngine
from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.engines.conftest import TEXTS
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

pytestmark = [pytest.mark.vllm, pytest.mark.fault]
pytest.importorskip("vllm", reason="vLLM is not installed: make setup-vllm")

SAMPLE = Path(__file__).parents[2] / "jobs" / "sample" / "corpus" / "*"


@pytest.fixture(autouse=True)
def quiet_small_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "ERROR")


def vllm_sections(config: VllmEngine, *, answer_tokens: int = 12) -> dict[str, Any]:
    return {
        "engine": config.model_dump(exclude_unset=True),
        "sampling": {
            "question": {"max_tokens": 8},
            "answer": {"max_tokens": answer_tokens},
            "ignore_eos": True,
            "answer_logprobs": 2,
        },
        "checks": {"enabled": False},
    }


def test_the_sample_corpus_becomes_a_verified_snapshot(tmp_path: Path, vllm_config: VllmEngine) -> None:
    config = config_of(SAMPLE, tmp_path / "out", **vllm_sections(vllm_config))
    config["corpus"]["title_field"] = "title"

    run = RunProcess(config, tmp_path)

    assert run.wait() == 0, run.stderr
    tables = published(tmp_path / "out")
    assert not verify(Folder.at(str(tmp_path / "out"))).violations
    assert planned_targets(tables) == ended_targets(tables)
    pairs = tables["pairs"]
    assert len(pairs) > 100
    assert set(pairs["engine"].str.split(" ").list.first()) == {"vllm"}
    assert set(pairs["answer_completion_tokens"]) == {12}
    assert pairs["answer_cached_tokens"].sum() > 0
    assert set(pairs["answer_token_ids"].list.len()) == {12}
    assert set(pairs["answer_top_logprobs"].list.len()) == {24}


def test_one_model_asks_and_another_answers(tmp_path: Path, vllm_config: VllmEngine) -> None:
    """Two pools, two engines at work at the same time."""
    answerer = write_tiny_model(tmp_path / "answerer", TEXTS, hidden_size=128)
    sections = vllm_sections(vllm_config)
    sections["answer_engine"] = sections["engine"] | {"model": str(answerer)}
    # The tests' tokenizer makes a token of nearly every letter.
    sections["chunks"] = {"min_tokens": 30, "max_tokens": 60}
    config = config_of(write_corpus(tmp_path / "corpus", num_documents=2), tmp_path / "out", **sections)

    run = RunProcess(config, tmp_path)

    assert run.wait() == 0, run.stderr
    tables = published(tmp_path / "out")
    assert not verify(Folder.at(str(tmp_path / "out"))).violations
    assert planned_targets(tables) == ended_targets(tables)
    pairs = tables["pairs"]
    assert set(pairs["question_model"]) == {vllm_config.model}
    assert set(pairs["answer_model"]) == {str(answerer)}
    assert set(pairs["question_completion_tokens"]) == {8}
    assert set(pairs["answer_token_ids"].list.len()) == {12}


@pytest.mark.parametrize(
    "change", [{"model": "no/such/folder"}, {"engine_args": {"num_gpu_blocks_override": 1}}], ids=["missing", "no room"]
)
def test_a_model_that_cannot_be_loaded_ends_the_run_with_one_line(
    tmp_path: Path, vllm_config: VllmEngine, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    sections = vllm_sections(vllm_config)
    sections["engine"] |= change
    config = config_of(write_corpus(tmp_path / "corpus", num_documents=4), tmp_path / "out", **sections)

    run = RunProcess(config, tmp_path)

    assert run.wait() not in (0, None)
    assert f"vLLM cannot run {sections['engine']['model']}" in run.stderr
    assert "Traceback" not in run.stderr
    assert num_commits(tmp_path / "out") == 0


@pytest.fixture
def long_run(tmp_path: Path, vllm_config: VllmEngine) -> Iterator[RunProcess]:
    corpus = write_corpus(tmp_path / "corpus", num_documents=16)
    config = config_of(corpus, tmp_path / "out", **vllm_sections(vllm_config, answer_tokens=160))
    run = RunProcess(config, tmp_path)
    yield run
    run.kill()


def test_kills_of_engine_actor_and_driver_lose_nothing(
    tmp_path: Path, vllm_config: VllmEngine, long_run: RunProcess
) -> None:
    output = tmp_path / "out"

    # Found before it works: reading the titles of processes that compute may take seconds.
    core = engine_core(long_run)
    wait_for_commits(long_run, output, 1)
    core.kill()
    actor = actor_of(engine_core(long_run, other_than=core))
    wait_for_commits(long_run, output, 4)
    actor.kill()
    wait_for_commits(long_run, output, 8)
    family = long_run.descendants()
    long_run.process.kill()
    wait_until(lambda: not any(is_alive(process) for process in family), "the end of every process of the run")

    corpus = tmp_path / "corpus" / "documents.jsonl"
    again = RunProcess(config_of(corpus, output, **vllm_sections(vllm_config, answer_tokens=160)), tmp_path)
    assert again.wait() == 0, again.stderr

    tables = published(output)
    assert planned_targets(tables) == ended_targets(tables)
    assert tables["pairs"]["pair_id"].is_unique().all()
    assert not verify(Folder.at(str(output))).violations


def wait_for_commits(run: RunProcess, output: Path, number: int) -> None:
    def enough() -> bool:
        assert run.process.poll() is None, run.stderr
        return num_commits(output) >= number

    wait_until(enough, f"commit {number}")


def engine_core(run: RunProcess, other_than: psutil.Process | None = None) -> psutil.Process:
    """Return the core once it is there. All that is read of the others is their titles: the rest takes seconds of one
    that computes, and the run may be over before it is had of all of them."""

    def find() -> psutil.Process | None:
        assert run.process.poll() is None, run.stderr
        with suppress(psutil.NoSuchProcess):
            for core in (psutil.Process(pid) for pid in psutil.pids() if "EngineCor" in title_of(pid)):
                if core != other_than and run.process.pid in [parent.pid for parent in core.parents()]:
                    return core
        return None

    process: psutil.Process = wait_until(find, "the start of an engine core")
    return process


def actor_of(core: psutil.Process) -> psutil.Process:
    parent = core.parent()
    assert parent is not None
    assert "ray::" in title_of(parent.pid)
    return parent


def title_of(pid: int) -> str:
    """Return the first 15 characters of a process's title, which unlike all of it are had at once of one that works."""
    try:
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8")
    except OSError:
        return ""
