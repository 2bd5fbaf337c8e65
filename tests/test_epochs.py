"""Night after night further into the same documents, until nothing is left; and what is asked once more on purpose."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from selfstudy.config import ConfigError
from selfstudy.planning import plan_run
from selfstudy.reasons import RETRIABLE
from selfstudy.recipe import differences
from selfstudy.retry import check_reasons
from selfstudy.store.commits import COMMITS, Commit, CommittedUnits
from selfstudy.store.filesystem import Folder
from selfstudy.store.retries import find_retries
from tests.runs import parsed, planned_targets, published, run_here
from tests.test_refresh import RANDOM, TEXTS, Nights


@pytest.mark.parametrize("step", [{"per_chunk": 3}, {"per_chunk": 5}])
def test_epochs_ask_every_eligible_sentence_once_and_then_nothing(tmp_path: Path, step: dict[str, Any]) -> None:
    nights = Nights(tmp_path, targets=step | {"epoch": "next"})
    total = 0
    texts: dict[str, tuple[Any, ...]] = {}
    for epoch in range(40):
        pairs = nights.run()
        assert nights.manifest["epoch"] == epoch
        for row in pairs.select(TEXTS).iter_rows():
            assert texts.setdefault(row[0], row) == row  # no pair of a night before was asked again
        total += nights.asked
        if nights.manifest["exhausted"]:
            break
    coverage = nights.manifest["coverage"]
    assert total == coverage["eligible"] == coverage["targeted"]
    assert coverage["exhausted_chunks"] == coverage["chunks"] - coverage["duplicate_chunks"] > 0
    targets = published(nights.output)["chunks"].select("chunk_id", pl.col("targets")).explode("targets")
    asked = targets.select("chunk_id", pl.col("targets").struct.field("sentence"))
    assert asked.height == total and asked.is_unique().all()
    nights.check()
    last = nights.manifest["snapshot"]
    nights.run()
    assert nights.asked == 0 and nights.manifest["snapshot"] == last and nights.manifest["epoch"] == epoch


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_fresh_run_plans_what_as_many_nights_did(tmp_path: Path, epoch: int) -> None:
    nights = Nights(tmp_path, engine={"kind": "extractive"})
    for _ in range(epoch + 1):
        nights.run(targets={"per_chunk": 2, "epoch": "next"})
    run_here(parsed(nights.corpus, tmp_path / "fresh", filter={"kind": "rules"},
                    targets={"per_chunk": 2, "epoch": epoch}))  # fmt: skip
    assert planned_targets(published(nights.output)) == planned_targets(published(tmp_path / "fresh"))


def test_gaps_are_filled_before_the_next_epoch_begins(tmp_path: Path) -> None:
    nights = Nights(tmp_path, targets={"per_chunk": 2, "epoch": "next"})
    nights.write({f"{place}": [row] for place, row in enumerate(nights.rows)})
    nights.run(limits={"max_documents": 2})
    assert nights.manifest["epoch"] == 0 and not nights.manifest["complete"]
    nights.run()
    assert nights.manifest["epoch"] == 0 and nights.manifest["complete"]
    nights.run()
    assert nights.manifest["epoch"] == 1


def test_new_documents_are_asked_in_an_exhausted_corpus(tmp_path: Path) -> None:
    nights = Nights(tmp_path, targets={"per_chunk": 50, "epoch": "next"})
    nights.run()
    assert nights.manifest["exhausted"]
    new = nights.rows[1] | {"id": "new", "text": nights.rows[1]["text"].replace("valve", "boiler")}
    nights.write({"documents": [*nights.rows, new]})
    pairs = nights.run()
    assert nights.asked == pairs.filter(pl.col("doc_id") == "new").height > 0
    assert nights.manifest["exhausted"] and nights.manifest["epoch"] == 0


def test_an_epoch_is_a_number_or_next() -> None:
    for wrong in (-1, "later", "3", None):
        with pytest.raises(ConfigError, match=r"targets\.epoch"):
            parsed("x", "y", targets={"epoch": wrong})


def rejects_of(nights: Nights) -> Counter[str]:
    return Counter(published(nights.output)["rejects"].filter(pl.col("chunk_id").is_not_null())["reason"].to_list())


def test_a_retry_asks_the_rejects_of_its_reason_and_nothing_else(tmp_path: Path) -> None:
    refusing = RANDOM | {"refusal_rate": 0.3}
    nights = Nights(tmp_path, engine=refusing)
    before = nights.run()
    refused = rejects_of(nights)["refusal"]
    assert refused > 10
    others = rejects_of(nights) - Counter(refusal=refused)
    after = nights.run(retry=("refusal",))
    assert nights.asked == refused
    assert 0 < rejects_of(nights)["refusal"] < refused
    assert all(rejects_of(nights)[reason] >= number for reason, number in others.items())
    kept = after.filter(pl.col("pair_id").is_in(before["pair_id"].implode()))
    assert kept.select(TEXTS).equals(before.select(TEXTS))
    nights.check()
    left = rejects_of(nights)["refusal"]
    nights.run()  # without the option nothing is asked again
    assert nights.asked == 0 and rejects_of(nights)["refusal"] == left
    nights.run(retry=("refusal",))
    assert nights.asked == left
    nights.write({"renamed": nights.rows})  # and all of it is found again the night after
    left = rejects_of(nights)["refusal"]
    nights.run()
    assert nights.asked == 0 and rejects_of(nights)["refusal"] == left
    nights.check()


def test_a_retry_that_was_cut_off_goes_on_with_the_plain_command(tmp_path: Path) -> None:
    nights = Nights(tmp_path, engine=RANDOM | {"refusal_rate": 0.3}, chunks={"per_unit": 2})
    before = nights.run()
    refused = rejects_of(nights)["refusal"]
    nights.run(retry=("refusal",))
    folder = Folder.at(str(nights.output))
    newest = [name for name in folder.names(COMMITS) if name in nights.last_commits]
    commits = [Commit.parse(folder.read(f"{COMMITS}/{name}")) for name in newest]
    lost = [commit for commit in commits if commit.counts["targets_asked"]][: len(newest) // 2]
    assert lost
    for commit in lost:  # the run was killed before these
        nights.lose(commit.unit_id)
    (nights.output / "latest.json").write_text(f'{{"snapshot": "{nights.snapshots[0]}"}}')
    after = nights.run()
    assert nights.asked == sum(commit.counts["targets_asked"] for commit in lost) < refused
    kept = after.filter(pl.col("pair_id").is_in(before["pair_id"].implode()))
    assert kept.select(TEXTS).equals(before.select(TEXTS))
    nights.check()


def test_while_a_retry_is_unfinished_the_snapshot_keeps_the_split(tmp_path: Path) -> None:
    nights = Nights(tmp_path, engine=RANDOM | {"refusal_rate": 0.3}, chunks={"per_unit": 4})
    before = nights.run()
    nights.run(retry=("refusal",))
    prefix = next(iter(find_retries(Folder.at(str(nights.output)))))
    retried = [name for name in nights.last_commits if not name.startswith(prefix)]
    nights.lose(retried[0].removesuffix(".json"))
    plan = plan_run(parsed(nights.corpus, nights.output, **nights.sections))
    committed = CommittedUnits.find(Folder.at(str(nights.output)))
    assert {unit_id.split("-")[0] for unit_id in plan.complete_units(committed)} == {prefix}
    assert len(plan.partial_units(committed)) == len(retried) - 1
    assert before.height > 0


def test_reasons_of_a_retry() -> None:
    check_reasons(["off_target", "unit_quarantined", "request_failed"])
    with pytest.raises(ConfigError) as caught:
        check_reasons(["off_target", "boredom", "duplicate_chunk"])
    assert len(caught.value.problems) == 2
    assert all(f"{reason}" in caught.value.problems[0] for reason in RETRIABLE)


def test_differences_name_the_field() -> None:
    before = {"engine": {"kind": "vllm", "model": "a"}, "styles": ["factual"], "seed": 0, "answer_engine": None}
    now = {"engine": {"kind": "vllm", "model": "b"}, "styles": ["creative"], "seed": 0, "answer_engine": {"kind": "x"}}
    assert differences(before, now) == [
        'answer_engine: null -> {"kind": "x"}',
        'engine.model: "a" -> "b"',
        'targets.styles: ["factual"] -> ["creative"]',
    ]
    assert differences(before, before) == []
