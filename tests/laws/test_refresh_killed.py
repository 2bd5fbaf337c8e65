"""A second night whose driver is killed by SIGKILL and that is run again is the second night of a calm run."""

import json
from pathlib import Path

import pytest

from selfstudy.gc import find_garbage, remove
from selfstudy.store.filesystem import Folder
from selfstudy.store.snapshots import latest_manifest
from selfstudy.verify import verify
from tests.runs import RunProcess, config_of, num_commits, parsed, published, run_here, wait_until, write_corpus

pytestmark = pytest.mark.fault

SLOW = {"kind": "scripted", "latency_s": 0.15, "max_concurrency": 4}


def test_a_killed_refresh_ends_as_a_calm_one_and_asks_nothing_twice(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=24)
    outputs = tmp_path / "calm", tmp_path / "out"
    for output in outputs:
        run_here(parsed(corpus, output, engine=SLOW | {"latency_s": 0}))
    first_night = num_commits(outputs[1])
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    new = [row | {"id": f"new-{row['id']}", "text": row["text"].replace("valve", "boiler")} for row in rows[::3]]
    corpus.unlink()
    corpus.with_name("renamed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows[2:], *new]))
    run_here(parsed(tmp_path / "corpus", outputs[0], engine=SLOW | {"latency_s": 0}))

    killed = RunProcess(config_of(tmp_path / "corpus", outputs[1], engine=SLOW), tmp_path)
    try:
        wait_until(
            lambda: num_commits(outputs[1]) > first_night + 1 or killed.process.poll() is not None, "a commit or two"
        )
    finally:
        killed.kill()
    folder = Folder.at(str(outputs[1]))
    remove(folder, find_garbage(folder, keep=None, min_age_s=0))  # the unfinished night keeps what it has
    before_resume = num_commits(outputs[1])
    assert before_resume > first_night
    resumed = RunProcess(config_of(tmp_path / "corpus", outputs[1], engine=SLOW | {"latency_s": 0}), tmp_path)
    assert resumed.wait() == 0, resumed.stderr

    ours, calms = published(outputs[1]), published(outputs[0])
    for table, frame in ours.items():
        assert frame.equals(calms[table]), table
    assert verify(folder).ok
    manifest = latest_manifest(folder)
    assert manifest is not None and manifest["diff"]["pairs"]["kept"] > 0
    assert resumed.summary()["units"] == num_commits(outputs[1]) - before_resume
