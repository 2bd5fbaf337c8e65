"""The command line as scripts use it: exit codes, one line per mistake, exactly one JSON object on stdout."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from selfstudy.resources import ClusterFailedError
from tests.conftest import CommandLine
from tests.runs import config_of, parsed, run_here, write_corpus

COMMANDS = {"run", "plan", "preview", "status", "verify", "diff", "gc", "schema", "filter"}


def selfstudy(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "selfstudy.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def write_config(folder: Path, content: dict[str, Any]) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    corpus = write_corpus(tmp_path / "corpus", num_documents=4)
    return write_config(tmp_path, config_of(corpus, tmp_path / "out"))


def test_run_then_status_and_verify(config: Path, tmp_path: Path) -> None:
    done = selfstudy("run", config, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["complete"] and summary["pairs"] == summary["counts"]["pairs"] > 0
    status = json.loads(selfstudy("status", tmp_path / "out", "--json").stdout)
    assert status["snapshot"] == summary["snapshot"] and status["counts"]["pairs"] == summary["pairs"]
    assert status["last_run"]["finished_at"]
    verified = selfstudy("verify", tmp_path / "out", "--json")
    assert verified.returncode == 0 and json.loads(verified.stdout)["ok"]
    again = selfstudy("run", config)
    assert again.returncode == 0 and "nothing to do" in again.stdout


def test_a_run_sums_up_once(config: Path) -> None:
    done = selfstudy("run", config)
    assert done.returncode == 0 and done.stdout.count("targets in") == 1, done.stdout


def test_a_cluster_that_fails_is_one_line_that_says_how_to_go_on(
    config: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_a_node(*_: object, **__: object) -> None:
        raise ClusterFailedError("Ray: The actor is not schedulable")

    monkeypatch.setattr("selfstudy.job.run", lose_a_node)
    ended = command_line("run", config, "--json")
    assert (ended.code, ended.stdout) == (1, "")
    (line,) = ended.stderr.splitlines()
    assert line == "selfstudy: Ray: The actor is not schedulable. What was committed stays; run again to go on."


def test_plan_counts_and_sees_what_is_committed(config: Path, tmp_path: Path) -> None:
    before = json.loads(selfstudy("plan", config, "--json").stdout)
    assert before["estimates"]["documents"] == {"value": 4, "low": 4, "high": 4}
    assert before["splits_missing"] == 1
    manifest = run_here(parsed(tmp_path / "corpus" / "documents.jsonl", tmp_path / "out"))
    after = json.loads(selfstudy("plan", config, "--json").stdout)
    assert after["splits_missing"] == 0
    assert after["estimates"]["targets"]["value"] >= manifest["counts"]["targets"]


def test_preview_writes_nothing(config: Path, tmp_path: Path) -> None:
    shown = json.loads(selfstudy("preview", config, "-n", 2, "--json").stdout)
    assert len(shown["documents"]) == 2 and shown["documents"][0]["pairs"]
    assert not (tmp_path / "out").exists()
    text = selfstudy("preview", config, "-n", 1).stdout
    assert "Q " in text and "removed" in text


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"engnie": {}}, "engnie"),
        ({"corpus": {"paths": ["x"], "text_fild": "t"}}, "corpus.text_fild"),
        ({"engine": {"kind": "magic"}}, "engine"),
        ({"targets": {"per_chunk": 0}}, "targets.per_chunk: 0"),
        ({"chunks": {"min_tokens": "many"}}, "chunks.min_tokens: 'many'"),
        ({"corpus": {"paths": ["nowhere/*.md"]}}, "matches no file"),
    ],
)
def test_a_wrong_config_is_one_line_and_exit_2(config: Path, tmp_path: Path, change: dict[str, Any], line: str) -> None:
    content = yaml.safe_load(config.read_text()) | change
    done = selfstudy("run", write_config(tmp_path, content))
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 1 and line in lines[0], done.stderr
    assert not (tmp_path / "out").exists()


def test_every_mistake_has_its_line(config: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(config.read_text()) | {"seed": "x", "targets": {"epoch": -1}, "nonsense": 1}
    done = selfstudy("plan", write_config(tmp_path, content))
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 3


def test_missing_files_and_outputs_are_exit_2(tmp_path: Path) -> None:
    for arguments in (["run", tmp_path / "none.yaml"], ["status", tmp_path / "none"], ["verify", tmp_path / "none"]):
        done = selfstudy(*arguments)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert selfstudy("run").returncode == 2
    assert selfstudy("dance").returncode == 2


def test_set_overrides_win(config: Path) -> None:
    done = selfstudy("plan", config, "--json", "--set", "targets.per_chunk=1", "--set", "chunks.per_unit=2")
    planned = json.loads(done.stdout)["estimates"]
    assert planned["targets"]["value"] <= planned["chunks"]["value"]
    assert selfstudy("plan", config, "--set", "targets").returncode == 2


def test_verify_says_what_is_wrong(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=2)
    run_here(parsed(corpus, tmp_path / "out"))
    next((tmp_path / "out/snapshots").glob("*/data/*.parquet")).unlink()
    done = selfstudy("verify", tmp_path / "out")
    assert done.returncode == 1 and "missing" in done.stdout


def test_the_commands_are_these() -> None:
    """The public surface is frozen: a new command is added here on purpose."""
    shown = selfstudy("--help").stdout
    assert all(command in shown for command in COMMANDS)
    for command in COMMANDS - {"filter"}:
        assert "Example:" in selfstudy(command, "--help").stdout


def test_schema_prints_json() -> None:
    assert json.loads(selfstudy("schema", "pairs").stdout)["table"] == "pairs"
    assert set(json.loads(selfstudy("schema").stdout)) >= {"pairs", "chunks", "removed", "rejects", "config"}
    assert selfstudy("schema", "nothing").returncode == 2


def test_another_recipe_is_exit_2_with_the_fields_unless_it_is_wanted(config: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(config.read_text())
    run_here(parsed(tmp_path / "corpus" / "documents.jsonl", tmp_path / "out"))
    changed = write_config(tmp_path, content | {"seed": 7, "engine": {"kind": "scripted", "refusal_rate": 0.1}})
    before = sorted((tmp_path / "out").rglob("*"))
    done = selfstudy("run", changed)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 3, done.stderr
    assert any('engine.kind: "extractive" -> "scripted"' in line for line in lines)
    assert any("seed: 0 -> 7" in line for line in lines)
    assert "targets would be asked anew; --new-recipe" in lines[-1]
    assert sorted((tmp_path / "out").rglob("*")) == before
    planned = json.loads(selfstudy("plan", changed, "--json").stdout)
    assert "seed: 0 -> 7" in planned["recipe_changes"] and planned["splits_missing"] == 1
    shown = selfstudy("plan", changed).stdout
    assert "--new-recipe" in shown and "seed: 0 -> 7" in shown


def test_an_unknown_reason_is_exit_2_with_the_list(config: Path) -> None:
    done = selfstudy("run", config, "--retry", "boredom", "--retry", "off_target")
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 2 and len(lines) == 1, done.stderr
    assert "boredom" in lines[0] and "unit_quarantined" in lines[0]


def test_diff_and_gc(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=3)
    run_here(parsed(corpus, tmp_path / "out"))
    assert selfstudy("diff", tmp_path / "out").returncode == 2
    corpus.rename(tmp_path / "corpus" / "renamed.jsonl")
    run_here(parsed(tmp_path / "corpus", tmp_path / "out"))
    found = json.loads(selfstudy("diff", tmp_path / "out", "--json").stdout)
    assert found["pairs"]["added"] == found["pairs"]["dropped"] == 0 < found["pairs"]["kept"]
    assert "kept" in selfstudy("diff", tmp_path / "out", "000001", "000002").stdout
    listed = selfstudy("gc", tmp_path / "out", "--keep", 1)
    assert listed.returncode == 0 and "nothing was removed" in listed.stdout
    assert len(list((tmp_path / "out/snapshots").iterdir())) == 2
    done = json.loads(selfstudy("gc", tmp_path / "out", "--keep", 1, "--min-age-s", 0, "--delete", "--json").stdout)
    assert done["deleted"] and done["garbage"]["manifests of old snapshots"]["objects"] == 1
    assert len(list((tmp_path / "out/snapshots").iterdir())) == 1
    assert selfstudy("verify", tmp_path / "out").returncode == 0
