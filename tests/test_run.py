"""The whole job on a local Ray: what it publishes, that it repeats itself, and what it refuses."""

import json
import threading
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ray.data._internal.execution.streaming_executor import StreamingExecutor

import selfstudy
from selfstudy import pipeline
from selfstudy.config import ConfigError
from selfstudy.job import run
from selfstudy.planning import plan_run
from selfstudy.stages import Job
from selfstudy.store.commits import CommittedUnits
from selfstudy.store.filesystem import Folder
from selfstudy.store.snapshots import latest_manifest
from selfstudy.verify import verify
from tests.runs import config_of, ended_targets, parsed, planned_targets, published, write_corpus

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_run_publishes_a_snapshot_that_verifies(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    summary = run(parsed(corpus, tmp_path / "out"))
    assert summary.exit_code == 0 and summary.published
    verdict = verify(Folder.at(str(tmp_path / "out")))
    assert verdict.ok, verdict.violations
    tables = published(tmp_path / "out")
    assert planned_targets(tables) == ended_targets(tables)
    assert set(tables["pairs"]["genre"]) == {"report"}
    assert tables["removed"].height == 3
    assert not tables["chunks"]["text"].str.contains("BANANA").any()
    assert not tables["pairs"]["answer"].str.contains("BANANA").any()


def test_second_run_does_nothing_and_says_so(tmp_path: Path) -> None:
    config = parsed(write_corpus(tmp_path / "corpus"), tmp_path / "out")
    first = run(config)
    files = sorted(path for path in (tmp_path / "out").rglob("*.parquet"))
    second = run(config)
    assert second.nothing_to_do and second.exit_code == 0 and second.units == 0
    assert second.manifest == first.manifest
    assert sorted(path for path in (tmp_path / "out").rglob("*.parquet")) == files


def test_two_outputs_of_the_same_run_are_equal(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    for name in ("a", "b"):
        run(parsed(corpus, tmp_path / name))
    ours, theirs = published(tmp_path / "a"), published(tmp_path / "b")
    for table, frame in ours.items():
        assert frame.equals(theirs[table]), table


def test_the_same_documents_in_other_files_give_the_same_pairs(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "one")
    lines = corpus.read_text().splitlines(keepends=True)
    other = tmp_path / "many"
    other.mkdir()
    for number in range(4):
        (other / f"part-{number}.jsonl").write_text("".join(reversed(lines[number::4])))
    run(parsed(corpus, tmp_path / "a"))
    run(parsed(other, tmp_path / "b"))
    ours, theirs = published(tmp_path / "a")["pairs"], published(tmp_path / "b")["pairs"]
    assert ours.drop("source_uri", "unit_id").equals(theirs.drop("source_uri", "unit_id"))


def test_load_dataset_finds_both_splits(tmp_path: Path) -> None:
    from datasets import load_dataset

    summary = run(parsed(write_corpus(tmp_path / "corpus"), tmp_path / "out", publish={"shard_mb": 0.01}))
    assert summary.manifest is not None
    folder = tmp_path / "out" / "snapshots" / summary.manifest["snapshot"]
    dataset = load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {name: len(split) for name, split in dataset.items()} == summary.manifest["rows"]
    assert len(list((folder / "data").glob("train-*.parquet"))) > 1
    assert not set(dataset["train"]["doc_id"]) & set(dataset["validation"]["doc_id"])
    loaded = selfstudy.load(str(tmp_path / "out")).collect()
    assert sorted(loaded["pair_id"]) == sorted([*dataset["train"]["pair_id"], *dataset["validation"]["pair_id"]])
    order = pl.concat(pl.read_parquet(path, columns=["doc_id"]) for path in sorted(folder.glob("data/train-*.parquet")))
    assert order["doc_id"].to_list() != sorted(order["doc_id"])


def test_epochs_add_up(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=4)
    asked: list[set[str]] = []
    for epoch in range(4):
        run(parsed(corpus, tmp_path / "out", targets={"per_chunk": 2, "epoch": epoch}))
        asked.append(set(planned_targets(published(tmp_path / "out"))))
    assert all(before < after for before, after in pairwise(asked))
    run(parsed(corpus, tmp_path / "fresh", targets={"per_chunk": 2, "epoch": 3}))
    assert set(planned_targets(published(tmp_path / "fresh"))) == asked[3]


def test_equal_documents_are_published_once(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=3)
    row = json.loads(corpus.read_text().splitlines()[1])
    (tmp_path / "corpus" / "copy.jsonl").write_text(json.dumps(row | {"id": "copy"}) + "\n")
    run(parsed(tmp_path / "corpus", tmp_path / "out"))
    tables = published(tmp_path / "out")
    twins = tables["chunks"].filter(pl.col("doc_id").is_in(["doc-001", "copy"]))
    assert twins["duplicate_of"].is_not_null().sum() == twins.height // 2
    assert tables["pairs"]["pair_id"].is_unique().all()
    assert "duplicate_chunk" in set(tables["rejects"]["reason"])
    assert planned_targets(tables) == ended_targets(tables)
    assert verify(Folder.at(str(tmp_path / "out"))).ok


def test_an_id_that_two_files_share_is_one_document(tmp_path: Path) -> None:
    write_corpus(tmp_path / "corpus", num_documents=2)
    other = json.dumps(
        {"id": "doc-001", "text": "Quite another text that stands under the same name in a second file."}
    )
    # Above a megabyte a file is a split of its own.
    (tmp_path / "corpus" / "big.jsonl").write_text(other + "\n" + " " * 1_100_000 + "\n")
    summary = run(parsed(tmp_path / "corpus", tmp_path / "out"))
    tables = published(tmp_path / "out")
    assert tables["chunks"]["doc_id"].n_unique() == 2
    assert tables["rejects"].filter(pl.col("reason") == "duplicate_document").height == 1
    assert summary.manifest is not None and summary.manifest["counts"]["documents"] == 3
    assert verify(Folder.at(str(tmp_path / "out"))).ok


def test_limit_documents_is_exact_and_leaves_a_gap(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    limited = run(parsed(corpus, tmp_path / "out", limits={"max_documents": 5}))
    assert limited.exit_code == 1 and limited.gaps
    assert limited.manifest is not None and not limited.manifest["complete"]
    assert limited.manifest["counts"]["documents"] == 5
    assert run(parsed(corpus, tmp_path / "out")).exit_code == 0
    assert published(tmp_path / "out")["chunks"]["doc_id"].n_unique() == 12


def test_max_completion_tokens_ends_with_gaps(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=40)
    config = config_of(corpus, tmp_path / "out", limits={"max_completion_tokens": 50})
    summary = selfstudy.run(config)
    assert summary.exit_code == 1 and "max_completion_tokens" in summary.stopped_by
    assert selfstudy.run(config_of(corpus, tmp_path / "out")).exit_code == 0


def test_a_stream_that_is_closed_early_leaves_no_thread_to_touch_ray_later(tmp_path: Path) -> None:
    plan = plan_run(parsed(write_corpus(tmp_path / "corpus"), tmp_path / "out"))
    stream = pipeline.stream(plan.work(CommittedUnits.of_names([])), Job(plan.config, plan.recipe, plan.prompts, "run"))
    next(stream)
    data_threads = [thread for thread in threading.enumerate() if thread.name.startswith(("iter_", "StreamingExec"))]
    assert len(data_threads) > 1

    def outlive_the_graph() -> None:
        for thread in data_threads:
            thread.join()
        time.sleep(0.5)

    straggler = threading.Thread(target=outlive_the_graph, name="iter_threaded")
    straggler.start()
    stream.close()
    assert not [thread for thread in [*data_threads, straggler] if thread.is_alive()]


@pytest.mark.parametrize("place", ["get_stats", "set_external_consumer_bytes"])
def test_a_stop_while_the_first_result_is_handed_over_ends_the_graph_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Ray Data does not clean up there. What still runs when Ray has stopped fails with a traceback of Ray's."""
    executors: list[StreamingExecutor] = []

    def stopped(executor: StreamingExecutor, *_: Any) -> None:
        executors.append(executor)
        raise KeyboardInterrupt

    monkeypatch.setattr(StreamingExecutor, place, stopped)
    plan = plan_run(parsed(write_corpus(tmp_path / "corpus", num_documents=2), tmp_path / "out"))
    stream = pipeline.stream(plan.work(CommittedUnits.of_names([])), Job(plan.config, plan.recipe, plan.prompts, "run"))
    with pytest.raises(KeyboardInterrupt) as held:
        next(stream)
    # The exception is still there, and with it all that its traceback holds.
    assert held.value.__traceback__ is not None
    monkeypatch.undo()
    assert not executors[0].is_alive()


def test_too_many_rejects_publish_nothing(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=60)
    engine = {"kind": "scripted", "refusal_rate": 0.9}
    config = parsed(corpus, tmp_path / "out", engine=engine, targets={"per_chunk": 8})
    for _ in range(2):  # also when every unit is committed already
        summary = run(config)
        assert summary.exit_code == 1 and not summary.published and "max_reject_share" in summary.stopped_by
        assert latest_manifest(Folder.at(str(tmp_path / "out"))) is None


def test_transport_failures_are_gaps_then_filled(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=30)
    failing = {"kind": "scripted", "failure_rate": 0.01, "random_text": True}
    summary = run(parsed(corpus, tmp_path / "out", engine=failing, limits={"unit_attempts": 1000}))
    assert summary.exit_code == 1
    assert any("scripted failure" in gap.reason for gap in summary.gaps)
    for _ in range(60):
        if not summary.gaps:
            break
        summary = run(parsed(corpus, tmp_path / "out", engine=failing, limits={"unit_attempts": 1000}))
    tables = published(tmp_path / "out")
    assert planned_targets(tables) == ended_targets(tables)
    assert "request_failed" not in set(tables["rejects"]["reason"])


def test_a_request_that_always_fails_becomes_a_reject(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=2)
    config = parsed(
        corpus, tmp_path / "out", engine={"kind": "scripted", "failure_rate": 0.05}, limits={"unit_attempts": 2}
    )
    assert run(config).exit_code == 1
    assert run(config).exit_code == 0
    tables = published(tmp_path / "out")
    assert "request_failed" in set(tables["rejects"]["reason"])
    assert planned_targets(tables) == ended_targets(tables)


def test_a_file_that_is_overwritten_is_a_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    from selfstudy import job as job_module

    plan_run = job_module.plan_run

    def plan_then_overwrite(config: selfstudy.Config) -> object:
        plan = plan_run(config)
        corpus.write_text(
            corpus.read_text() + json.dumps({"id": "late", "text": "A late sentence of a late text."}) + "\n"
        )
        return plan

    monkeypatch.setattr(job_module, "plan_run", plan_then_overwrite)
    summary = run(parsed(corpus, tmp_path / "out"))
    assert summary.exit_code == 1 and "changed while it was read" in summary.gaps[0].reason
    monkeypatch.undo()
    assert run(parsed(corpus, tmp_path / "out")).exit_code == 0
    assert "late" in set(published(tmp_path / "out")["chunks"]["doc_id"])


def test_questions_and_answers_of_two_models(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    answer_engine = {"kind": "scripted", "refusal_rate": 0.2}
    summary = run(parsed(corpus, tmp_path / "out", answer_engine=answer_engine))
    assert summary.exit_code == 0
    verdict = verify(Folder.at(str(tmp_path / "out")))
    assert verdict.ok, verdict.violations
    tables = published(tmp_path / "out")
    assert planned_targets(tables) == ended_targets(tables)
    assert {"refusal"} <= set(tables["rejects"]["reason"])
    (question_model,) = set(tables["pairs"]["question_model"])
    assert question_model.startswith("extractive")
    assert set(tables["pairs"]["answer_model"]) == {"scripted@1"}
    assert set(tables["pairs"]["engine"]) == {"scripted-1"}


@pytest.mark.parametrize("engine", ["engine", "answer_engine"])
def test_a_unit_whose_requests_fail_in_either_pool_is_a_gap(tmp_path: Path, engine: str) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=3)
    engines = {"engine": {"kind": "scripted"}, "answer_engine": {"kind": "scripted"}}
    broken = engines | {engine: {"kind": "scripted", "failure_rate": 1.0}}
    summary = run(parsed(corpus, tmp_path / "out", **broken))
    assert summary.exit_code == 1 and summary.pairs == 0
    assert "scripted failure" in summary.gaps[0].reason


def test_a_config_that_cannot_start_is_refused(tmp_path: Path) -> None:
    corpus = write_corpus(tmp_path / "corpus")
    with pytest.raises(ConfigError, match="do not fit into the cluster"):
        run(parsed(corpus, tmp_path / "out", resources={"engine_cpus": 64}))
    two = {"answer_engine": {"kind": "extractive"}, "resources": {"answer_cpus": 64}}
    with pytest.raises(ConfigError, match="answer_actors or answer_cpus"):
        run(parsed(corpus, tmp_path / "out", **two))
    with pytest.raises(ConfigError, match="engine_gpus"):
        run(parsed(corpus, tmp_path / "out", resources={"engine_gpus": 8}))
    with pytest.raises(ConfigError, match="matches no file"):
        run(parsed(tmp_path / "nothing" / "*.md", tmp_path / "out"))
    with pytest.raises(ConfigError, match="memory:"):
        run(parsed(corpus, "memory://out"))
    with pytest.raises(ConfigError, match="keep_fields"):
        run(parsed(corpus, tmp_path / "out", corpus={"keep_fields": ["question"]}))
