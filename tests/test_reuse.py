"""What an earlier unit gives back: all that was generated, bit by bit, in today's place."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from selfstudy import reuse
from selfstudy.config import ChecksConfig
from selfstudy.generate import Generator
from selfstudy.reasons import TargetReject
from selfstudy.records import Pair, Reject, Retry, TokenTrace, Unit
from selfstudy.reuse import Reuse
from selfstudy.store.commits import commit_unit
from selfstudy.store.filesystem import Folder
from selfstudy.unit_tables import counts_of, tables_of
from selfstudy.wire import unit_from_table, unit_to_table
from tests.factories import config_of, pair_of, prose, sampled_unit, target_reject
from tests.test_generate import FakeEngine

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
OLD, NEW = "a" * 24, "b" * 24
ALL = config_of(targets={"fraction": 1.0})


def commit(output: Folder, unit: Unit) -> None:
    tables = tables_of(unit, keep_fields=["lang"], recipe="r", created_at=NOW)
    assert commit_unit(output, tables, unit_id=unit.unit_id, split_id="s", recipe="r", created_at=NOW.isoformat(),
                       seconds=0.0, versions={}, counts=counts_of(unit))  # fmt: skip


def finished(unit_id: str, *, trace: bool = False, reason: TargetReject = TargetReject.REFUSAL) -> Unit:
    """A unit whose first target is a reject and whose others are pairs."""
    unit = sampled_unit(prose(10), ALL, kept={"lang": "en"})
    ends: list[Pair | Reject] = []
    for chunk in unit.chunks:
        for target in chunk.targets:
            made = TokenTrace(
                np.arange(target.rank + 1, dtype=np.int32), np.arange(2 * target.rank + 2, dtype=np.int32),
                np.linspace(-1, 0, 2 * target.rank + 2, dtype=np.float32),
            )  # fmt: skip
            pair = pair_of(chunk, target.rank, f"Why {target.pair_id}?", trace=made if trace else None)
            ends.append(pair if ends else target_reject(chunk, target.rank, reason))
    pairs = tuple(end for end in ends if isinstance(end, Pair))
    rejects = tuple(end for end in ends if isinstance(end, Reject))
    return replace(unit, unit_id=f"{unit_id}-000000-last", pairs=pairs, rejects=rejects)


def today(unit: Unit, *, number: int = 1, prefixes: tuple[str, ...] = (OLD,), reasons: tuple[str, ...] = ()) -> Unit:
    """The same chunks in another place, as a retry of the unit."""
    chunks = tuple(replace(chunk, doc_id="other", start=chunk.start, kept={"lang": "de"}) for chunk in unit.chunks)
    retry = Retry(number=number, reasons=reasons, prefixes=prefixes)
    return replace(unit, unit_id=f"{NEW}-000000-last", chunks=chunks, pairs=(), rejects=(), retry=retry)


@pytest.mark.parametrize("trace", [False, True])
def test_all_that_was_generated_comes_back(tmp_path: Path, trace: bool) -> None:
    output = Folder.at(str(tmp_path))
    old = finished(OLD, trace=trace)
    commit(output, old)
    found = Reuse(output, None).outcomes(today(old))
    assert set(found) == {target.pair_id for chunk in old.chunks for target in chunk.targets}
    for pair in old.pairs:
        again = found[pair.pair_id]
        assert isinstance(again, Pair)
        expected = replace(pair, doc_id="other", kept={"lang": "de"}, reused=True, created_at=NOW, trace=again.trace)
        assert again == expected
        assert (again.trace is not None) is trace
        if again.trace is not None and pair.trace is not None:
            for name in ("token_ids", "top_ids", "top_logprobs"):
                ours, theirs = getattr(again.trace, name), getattr(pair.trace, name)
                assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
    reject = found[old.rejects[0].id]
    assert isinstance(reject, Reject) and reject.reason == "refusal" and reject.doc_id == "other"


def test_a_retry_takes_all_but_its_reasons_from_the_newest_unit_before(tmp_path: Path) -> None:
    output = Folder.at(str(tmp_path))
    first = finished(OLD, reason=TargetReject.OFF_TARGET)
    second = replace(finished("c" * 24), pairs=tuple(replace(pair, answer="newer") for pair in first.pairs))
    commit(output, first)
    commit(output, second)
    unit = today(first, number=2, prefixes=("c" * 24, OLD), reasons=("refusal",))
    found = Reuse(output, None).outcomes(unit)
    assert set(found) == {pair.pair_id for pair in first.pairs}  # not the verdict that the first retry took back
    assert all(isinstance(pair, Pair) and pair.answer == "newer" for pair in found.values())
    # Of a retry that was cut off before this unit, the one before counts.
    unit = replace(unit, retry=Retry(number=3, reasons=("refusal",), prefixes=("d" * 24, "c" * 24, OLD)))
    assert len(Reuse(output, None).outcomes(unit)) == len(first.pairs)


def test_a_repeated_chunk_is_no_verdict_on_the_text(tmp_path: Path) -> None:
    output = Folder.at(str(tmp_path))
    old = finished(OLD, reason=TargetReject.DUPLICATE_CHUNK)
    commit(output, old)
    assert set(Reuse(output, None).outcomes(today(old))) == {pair.pair_id for pair in old.pairs}


def test_the_cache_forgets_what_was_used_longest_ago() -> None:
    read: list[int] = []

    def reading(key: int) -> tuple[str, int]:
        read.append(key)
        return str(key), 40

    cache = reuse._Cache(100, reading)
    assert [cache.get(key) for key in (1, 2, 1, 3, 1, 2)] == ["1", "2", "1", "3", "1", "2"]
    assert read == [1, 2, 3, 2]
    large = reuse._Cache(10, reading)
    assert large.get(7) == large.get(7) == "7"  # larger than the cache: held alone
    assert read == [1, 2, 3, 2, 7]


def test_where_another_actor_answers_it_finds_the_pairs_once_more(tmp_path: Path) -> None:
    output = Folder.at(str(tmp_path))
    old = finished(OLD)
    commit(output, replace(old, pairs=old.pairs[1:], rejects=(*old.rejects, _lost(old.pairs[0]))))
    unit = today(old, reasons=("too_long",))
    asker = FakeEngine()
    asked = asyncio.run(Generator(asker, None, ChecksConfig(), "p").generate(Reuse(output, None).fill(unit)))
    arrived = unit_from_table(unit_to_table(asked))  # pairs stay behind
    assert [question.pair_id for question in arrived.questions] == [old.pairs[0].pair_id]
    filled = Reuse(output, None).fill(arrived)
    ended = asyncio.run(Generator(None, FakeEngine(), ChecksConfig(), "p").generate(filled))
    counts = counts_of(ended)
    assert counts["pairs_reused"] == len(old.pairs) - 1 and counts["targets_asked"] == 1
    assert len(asker.seen) == 1


def _lost(pair: Pair) -> Reject:
    return Reject(stage="generate", reason="too_long", id=pair.pair_id, chunk_id=pair.chunk_id)
