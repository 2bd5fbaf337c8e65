"""The sample corpus shows what its manifest says: planted instructions go, the text around them stays."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from selfstudy.cleaned import blank
from selfstudy.config import load_config
from selfstudy.filter.lift import lift
from selfstudy.filter.load import load_judge
from selfstudy.planning import first_documents, plan_run
from selfstudy.prepare import prepare_document
from selfstudy.records import Reject

SAMPLE = Path(__file__).parent.parent / "jobs" / "sample"
MANIFEST = yaml.safe_load((SAMPLE / "MANIFEST.yaml").read_text())
DOCUMENTS: list[dict[str, Any]] = MANIFEST["documents"]


def key_of(entry: dict[str, Any]) -> str:
    return str(entry.get("id") or entry["file"])


def with_entries(field: str) -> list[Any]:
    return [
        pytest.param(key_of(entry), item, id=f"{key_of(entry)}-{number}")
        for entry in DOCUMENTS
        for number, item in enumerate(entry.get(field, ()))
    ]


@cache
def cleaned(*judges: str) -> dict[str, tuple[str, str]]:
    """{document: (text that models see, text of all that was removed)}; by default as sample.yaml has it filtered"""
    overrides = [f"corpus.paths=[{SAMPLE}/corpus/*]"] + ([f"filter.kind=[{', '.join(judges)}]"] if judges else [])
    config = load_config(SAMPLE.parent / "sample.yaml", overrides)
    judge = load_judge(config.filter)
    found: dict[str, tuple[str, str]] = {}
    for raw in first_documents(plan_run(config), 1000):
        prepared = prepare_document(raw, config)
        assert not isinstance(prepared, Reject), prepared
        chunks, removed = lift(prepared, judge, config.filter)
        text = "\n\n".join(blank(chunk) for chunk in chunks)
        found[raw.doc_id] = (normal(text), normal("\n".join(span.text for span in removed)))
    return found


def normal(text: str) -> str:
    return " ".join(text.split())


def test_the_manifest_lists_every_document() -> None:
    assert set(cleaned()) == {key_of(entry).rpartition("/")[2] for entry in DOCUMENTS}
    for entry in DOCUMENTS:
        assert (SAMPLE / "corpus" / Path(entry["file"]).name).exists() and entry["shows"]


@pytest.mark.parametrize(("document", "planted"), with_entries("planted"))
def test_planted_instructions_never_reach_a_model(document: str, planted: dict[str, Any]) -> None:
    kept, removed = cleaned()[document.rpartition("/")[2]]
    # The polite note of three sentences begins with one that asks for nothing; what it asks for has to go.
    text = normal(planted["text"]).partition("Kindly")[2] or normal(planted["text"])
    assert text[:60] not in kept
    assert text[:40] in removed, "it was dropped without a record"


@pytest.mark.parametrize(("document", "sentence"), with_entries("must_survive"))
def test_the_rules_leave_what_is_said_to_people(document: str, sentence: str) -> None:
    assert normal(sentence) in cleaned("rules")[document.rpartition("/")[2]][0]


def test_the_default_filter_leaves_nearly_all_of_the_corpus() -> None:
    """The trained judge is less sure of orders to people than the rules: a few of the hardest sentences go."""
    planted = sum(len(normal(item.values[1]["text"])) for item in with_entries("planted"))
    lost = sum(len(removed) for _, removed in cleaned().values()) - planted
    assert lost < 0.02 * sum(len(kept) for kept, _ in cleaned().values())
    hard = with_entries("must_survive")
    kept = [normal(item.values[1]) in cleaned()[item.values[0].rpartition("/")[2]][0] for item in hard]
    assert sum(kept) > 0.85 * len(kept)


@pytest.mark.parametrize(
    ("document", "sentence"),
    [one for one in with_entries("must_survive") if "teaching-prompt" in str(one.id) or "prayer" in str(one.id)],
)
def test_the_default_filter_leaves_a_lesson_on_injection_and_a_prayer(document: str, sentence: str) -> None:
    assert normal(sentence) in cleaned()[document.rpartition("/")[2]][0]


def test_rows_are_readable_by_anybody() -> None:
    rows = [json.loads(line) for line in (SAMPLE / "corpus" / "articles.jsonl").read_text().splitlines()]
    rows += pq.read_table(SAMPLE / "corpus" / "handbook.parquet").to_pylist()
    assert all({"id", "title", "text", "genre"} <= set(row) for row in rows)
