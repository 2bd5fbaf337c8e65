"""What publishing drops follows from content alone, in whatever order the units come."""

import random
from typing import Any, NamedTuple

import polars as pl
import pytest

from selfstudy.publish.duplicates import (
    asked_hashes,
    copies_among,
    prefix_of,
    repeats_among,
    twins_among,
    without_copies,
)

P1, P2, P3 = ("1" * 24, "2" * 24, "3" * 24)


def chunk(chunk_id: str, *, key: str = "", doc_id: str = "d", prefix: str = P1, number: int = 0) -> dict[str, Any]:
    return {
        "chunk_id": chunk_id,
        "chunk_key": key or f"key of {chunk_id}",
        "doc_id": doc_id,
        "source_uri": f"file:///{prefix[:1]}",
        "unit_id": f"{prefix}-{number:06d}",
    }


def pair(pair_id: str, question: str, *, start: int = 0, **fields: Any) -> dict[str, Any]:
    row = chunk(fields.pop("chunk_id", "c"), **fields)
    return row | {"pair_id": pair_id, "question": question, "target_start": start}


class Found(NamedTuple):
    documents: dict[tuple[str, str], str]
    chunks: dict[str, str]
    questions: frozenset[str]


def judge(chunks: pl.DataFrame, pairs: pl.DataFrame) -> Found:
    copies = copies_among(chunks.with_columns(prefix_of(pl.col("unit_id")).alias("prefix")))
    twins = twins_among(without_copies(chunks, copies))
    asked = pairs.with_columns(asked_hashes(pairs["question"]))
    repeats = repeats_among(without_copies(asked, copies).join(twins, on="chunk_id", how="anti"))
    documents = {(row["doc_id"], row["prefix"]): row["source_uri"] for row in copies.iter_rows(named=True)}
    return Found(documents, dict(twins.iter_rows()), frozenset(repeats))


def find(chunks: list[dict[str, Any]], pairs: list[dict[str, Any]] | None = None) -> Found:
    """Look for duplicates in every order of the rows; all must agree."""
    columns = ["chunk_id", "chunk_key", "doc_id", "source_uri", "unit_id"]
    schema = dict.fromkeys(columns, pl.String)
    of_pairs = schema | {"pair_id": pl.String, "question": pl.String, "target_start": pl.Int64}
    results = []
    for seed in range(4):
        rng = random.Random(seed)
        asked = pairs or []
        results.append(
            judge(
                pl.DataFrame(rng.sample(chunks, len(chunks)), schema=schema),
                pl.DataFrame(rng.sample(asked, len(asked)), schema=of_pairs),
            )
        )
    assert all(result == results[0] for result in results)
    return results[0]


def test_nothing_is_found_where_nothing_is_twice() -> None:
    assert find([chunk("a"), chunk("b", doc_id="e", prefix=P2)], [pair("p", "Who?")]) == Found({}, {}, frozenset())
    assert find([]) == Found({}, {}, frozenset())


def test_of_equal_chunks_the_lowest_id_stays() -> None:
    chunks = [
        chunk(name, key="k", doc_id=f"doc {name}", prefix=prefix) for name, prefix in (("b", P1), ("a", P2), ("c", P3))
    ]
    assert find(chunks).chunks == {"b": "a", "c": "a"}


def test_of_equal_document_ids_the_copy_with_the_lowest_chunk_stays() -> None:
    chunks = [
        chunk("m", prefix=P1),
        chunk("z", prefix=P1, number=1),
        chunk("b", prefix=P2),
        chunk("n", prefix=P3),
    ]
    assert find(chunks).documents == {("d", P1): "file:///1", ("d", P3): "file:///3"}


def test_the_units_of_one_split_are_no_copies_of_each_other() -> None:
    assert find([chunk("a", number=0), chunk("b", number=1), chunk("c", number=2)]).documents == {}


def test_a_dropped_copy_is_no_equal_to_anything() -> None:
    chunks = [chunk("a", key="k", prefix=P1), chunk("b", key="k", doc_id="e", prefix=P2), chunk("0", prefix=P2)]
    found = find(chunks)
    assert found.documents == {("d", P1): "file:///1"}
    assert found.chunks == {}


def test_a_question_of_a_document_stays_where_it_stands_first() -> None:
    pairs = [
        pair("a late one", "WHO built it?!", start=900),
        pair("the first", "Who built it?", start=10, number=3),
        pair("other document", "Who built it?", start=0, doc_id="e"),
        pair("other question", "Who sold it?", start=20),
    ]
    assert find([chunk("c")], pairs).questions == {"a late one"}


@pytest.mark.parametrize("where", ["equal chunk", "dropped copy"])
def test_what_is_not_published_drops_no_question(where: str) -> None:
    chunks = [chunk("a", key="k", doc_id="first"), chunk("b", key="k", doc_id="d"), chunk("c", doc_id="d")]
    unpublished = {"chunk_id": "b", "doc_id": "d"}
    if where == "dropped copy":
        chunks = [chunk("c"), chunk("x", prefix=P2)]
        unpublished = {"chunk_id": "x", "doc_id": "d", "prefix": P2}
    pairs = [pair("unpublished", "Who?", start=0, **unpublished), pair("kept", "Who?", start=50, chunk_id="c")]
    assert find(chunks, pairs).questions == frozenset()
