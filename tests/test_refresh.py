"""The second night: what was asked before is reused by chunk_key, whatever the corpus looks like today.

The engine's text is random, so that an answer that is asked again is another one.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfstudy.config import parse_config
from selfstudy.store.commits import COMMITS, Commit
from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.runs import config_of, ended_targets, planned_targets, published, run_here, write_corpus

RANDOM = {"kind": "scripted", "random_text": True}
TEXTS = ("pair_id", "question", "answer", "created_at", "seed", "question_completion_tokens", "fidelity")


class Nights:
    """A corpus of documents and an output that is refreshed; `asked` counts the targets of the last night."""

    def __init__(self, folder: Path, **sections: Any) -> None:
        self.folder = folder
        self.corpus = folder / "corpus"
        self.output = folder / "out"
        self.sections: dict[str, Any] = {"engine": RANDOM, "filter": {"kind": "rules"}} | sections
        self.asked = self.reused = 0
        self.manifest: dict[str, Any] = {}
        self.last_commits: list[str] = []
        self.snapshots: list[str] = []
        self._seen: set[str] = set()
        self.rows = [json.loads(line) for line in write_corpus(folder / "first", 6, 40).read_text().splitlines()]
        self.write({"documents": self.rows})

    def write(self, files: dict[str, list[dict[str, Any]]]) -> None:
        """Replace the corpus by these files."""
        self.corpus.mkdir(exist_ok=True)
        for path in self.corpus.iterdir():
            path.unlink()
        for name, rows in files.items():
            (self.corpus / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(self, retry: tuple[str, ...] = (), **sections: Any) -> pl.DataFrame:
        """One night; returns the pairs that are published."""
        config = parse_config(config_of(self.corpus, self.output, **self.sections | sections))
        self.manifest = run_here(config, retry)
        folder = Folder.at(str(self.output))
        new = [name for name in folder.names(COMMITS) if name not in self._seen]
        counts = [Commit.parse(folder.read(f"{COMMITS}/{name}")).counts for name in new]
        self._seen.update(new)
        self.last_commits = new
        self.snapshots.append(self.manifest["snapshot"])
        self.asked = sum(count["targets_asked"] for count in counts)
        self.reused = sum(count["pairs_reused"] for count in counts)
        return self.pairs()

    def lose(self, unit_id: str) -> None:
        """The run was killed before it committed this unit."""
        (self.output / COMMITS / f"{unit_id}.json").unlink()
        self._seen.discard(f"{unit_id}.json")

    def pairs(self) -> pl.DataFrame:
        return pl.concat(
            pl.read_parquet(path)
            for path in sorted((self.output / "snapshots" / self.manifest["snapshot"] / "data").glob("*.parquet"))
        ).sort("pair_id")

    def check(self) -> None:
        verdict = verify(Folder.at(str(self.output)))
        assert verdict.ok, verdict.violations
        tables = published(self.output)
        assert planned_targets(tables) == ended_targets(tables)


@pytest.fixture
def nights(tmp_path: Path) -> Nights:
    return Nights(tmp_path)


def test_a_renamed_file_sends_no_request_and_keeps_every_text(nights: Nights) -> None:
    before = nights.run()
    assert nights.asked > 100 and not before["reused"].any()
    nights.write({"renamed": nights.rows})
    after = nights.run()
    assert nights.asked == 0 and nights.reused == after.height
    assert after.select(TEXTS).equals(before.select(TEXTS))
    assert after["reused"].all()
    assert set(after["source_uri"]) == {f"file://{nights.corpus}/renamed.jsonl"}
    assert not set(after["unit_id"]) & set(before["unit_id"])
    nights.check()


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.randoms(use_true_random=False), num_files=st.integers(1, 6), per_unit=st.integers(1, 40))
def test_other_files_order_and_units_send_no_request(
    tmp_path_factory: pytest.TempPathFactory, order: random.Random, num_files: int, per_unit: int
) -> None:
    nights = Nights(tmp_path_factory.mktemp("nights"))
    before = nights.run()
    rows = list(nights.rows)
    order.shuffle(rows)
    nights.write({f"part-{number}": rows[number::num_files] for number in range(num_files)})
    after = nights.run(chunks={"per_unit": per_unit})
    assert nights.asked == 0
    assert after.select(TEXTS).equals(before.select(TEXTS))
    nights.check()


def test_places_are_those_of_today(nights: Nights) -> None:
    before = nights.run()
    # The first document moves to the end under another name, kept field and offset, and all its text is old.
    first = nights.rows[1]
    moved = first | {"id": "moved", "genre": "memo"}
    nights.write({"documents": [row for row in nights.rows if row != first] + [moved]})
    after = nights.run()
    assert nights.asked == 0
    assert set(after.filter(pl.col("doc_id") == "moved")["genre"]) == {"memo"}
    assert "doc-001" not in set(after["doc_id"])
    assert after.select(TEXTS).equals(before.select(TEXTS))
    nights.check()


def test_what_vanished_takes_its_pairs_along_and_what_is_new_is_asked(nights: Nights) -> None:
    before = nights.run()
    new = nights.rows[2] | {"id": "new", "text": nights.rows[2]["text"].replace("valve", "boiler")}
    nights.write({"documents": [*nights.rows[1:], new]})
    after = nights.run()
    kept = before.filter(pl.col("doc_id") != "doc-000")
    assert set(after["doc_id"]) == {*kept["doc_id"], "new"}
    old = after.filter(pl.col("doc_id") != "new")
    assert old.select(TEXTS).equals(kept.select(TEXTS)) and old["reused"].all()
    of_new = after.filter(pl.col("doc_id") == "new")
    assert not of_new["reused"].any() and of_new.height == nights.asked > 0
    nights.check()


def test_an_edited_sentence_asks_its_chunk_again(nights: Nights) -> None:
    before = nights.run()
    edited = dict(nights.rows[3])
    edited["text"] = edited["text"].replace("3020 of the plant opens", "3020 of the plant closes")
    assert edited["text"] != nights.rows[3]["text"]
    nights.write({"documents": [edited if row["id"] == edited["id"] else row for row in nights.rows]})
    after = nights.run()
    asked_again = after.filter(~pl.col("reused"))
    assert asked_again["chunk_key"].n_unique() <= 2 and set(asked_again["doc_id"]) == {"doc-003"}
    assert set(asked_again["chunk_key"]).isdisjoint(before["chunk_key"])
    assert (
        after.filter("reused")
        .select(TEXTS)
        .equals(before.filter(pl.col("chunk_key").is_in(after["chunk_key"].implode())).select(TEXTS))
    )
    nights.check()


def test_another_filter_asks_only_what_it_changed(nights: Nights) -> None:
    before = nights.run()
    removed_from = set(published(nights.output)["removed"]["doc_id"])
    after = nights.run(filter={"kind": "rules", "allow": ["BANANA"]})
    asked_again = after.filter(~pl.col("reused"))
    assert asked_again["chunk_key"].n_unique() == len(removed_from) == 2
    assert set(asked_again["doc_id"]) == removed_from
    assert nights.asked < before.height / 4
    nights.check()


def test_final_rejects_are_reused_as_well(tmp_path: Path) -> None:
    nights = Nights(tmp_path, engine=RANDOM | {"refusal_rate": 0.3})
    nights.run()
    rejects = published(nights.output)["rejects"].filter(pl.col("reason") == "refusal")
    assert rejects.height > 10
    nights.write({"renamed": nights.rows})
    nights.run()
    again = published(nights.output)["rejects"].filter(pl.col("reason") == "refusal")
    assert nights.asked == 0
    assert again["id"].to_list() == rejects["id"].to_list() and again["detail"].equals(rejects["detail"])
    assert set(again["source_uri"]) == {f"file://{nights.corpus}/renamed.jsonl"}


def test_an_equal_chunk_elsewhere_is_reused_and_published_once(nights: Nights) -> None:
    nights.run()
    copies = [row | {"id": f"copy-{row['id']}"} for row in nights.rows]
    nights.write({"documents": nights.rows, "copies": copies})
    after = nights.run()
    assert nights.asked == 0
    assert after["pair_id"].is_unique().all()
    nights.write({"copies": copies})
    only_copies = nights.run()
    assert nights.asked == 0 and only_copies.select(TEXTS).equals(after.select(TEXTS))
    nights.check()


def test_a_night_that_is_stopped_loses_nothing_of_the_night_before(nights: Nights) -> None:
    before = nights.run()
    for number in range(3):  # each night the files have other names and only a part is reached
        nights.write({f"{number}-{place}": [row] for place, row in enumerate(nights.rows)})
        config = {"limits": {"max_documents": 3}}
        part = nights.run(**config)
        assert part["doc_id"].n_unique() == 3 and nights.asked == 0
    after = nights.run()
    assert nights.asked == 0 and after.select(TEXTS).equals(before.select(TEXTS))
    nights.check()
