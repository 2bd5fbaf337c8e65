from dataclasses import replace

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfstudy.corpus.splits import Source, Split
from selfstudy.planning import Work
from selfstudy.reasons import Ineligible, Stage
from selfstudy.records import Chunk, Failure, Outcome, Question, Reject, RemovedSpan, Retry, Sentence, Target, Unit
from selfstudy.wire import from_json, to_json, unit_from_table, unit_schema, unit_to_table
from selfstudy.worker import UnitResult
from tests.factories import pair_of, prose, sampled_unit

TEXT = st.text(max_size=12)
COUNT = st.integers(0, 2**40)
KEPT = st.dictionaries(TEXT, TEXT, max_size=3)
SENTENCE = st.builds(Sentence, COUNT, COUNT, st.none() | st.sampled_from(Ineligible))
TARGET = st.builds(Target, pair_id=TEXT, rank=COUNT, epoch=COUNT, sentence=COUNT, style=TEXT)
CHUNK = st.builds(
    Chunk,
    chunk_id=TEXT,
    doc_id=TEXT,
    source_uri=TEXT,
    title=TEXT,
    text=TEXT,
    start=COUNT,
    sentences=st.lists(SENTENCE, max_size=3).map(tuple),
    num_tokens=COUNT,
    kept=KEPT,
    markup=st.lists(TEXT, max_size=2).map(tuple),
    chunk_key=TEXT,
    targets=st.lists(TARGET, max_size=3).map(tuple),
)
REMOVED = st.builds(
    RemovedSpan,
    chunk_id=TEXT,
    doc_id=TEXT,
    source_uri=TEXT,
    field=TEXT,
    start=st.none() | COUNT,
    end=st.none() | COUNT,
    text=TEXT,
    score=st.floats(0, 1),
    judge=TEXT,
)
OPTIONAL = st.none() | TEXT
REJECT = st.builds(
    Reject,
    stage=st.sampled_from(Stage).map(str),
    reason=TEXT,
    id=TEXT,
    detail=TEXT,
    doc_id=OPTIONAL,
    chunk_id=OPTIONAL,
    source_uri=OPTIONAL,
    style=OPTIONAL,
    start=st.none() | COUNT,
)
QUESTION = st.builds(
    Question,
    pair_id=TEXT,
    text=TEXT,
    model=TEXT,
    attempt=COUNT,
    fidelity=st.floats(0, 1),
    prompt_tokens=COUNT,
    cached_tokens=COUNT,
    completion_tokens=COUNT,
    finish_reason=TEXT,
)
UNITS = st.builds(
    Unit,
    unit_id=TEXT,
    split_id=TEXT,
    last=st.booleans(),
    num_documents=COUNT,
    chunks=st.lists(CHUNK, max_size=3).map(tuple),
    removed=st.lists(REMOVED, max_size=2).map(tuple),
    rejects=st.lists(REJECT, max_size=2).map(tuple),
    questions=st.lists(QUESTION, max_size=2).map(tuple),
    preemptions=COUNT,
    failure=st.none() | st.builds(Failure, st.sampled_from(Outcome), TEXT),
)


@given(UNITS)
def test_a_unit_travels_unchanged(unit: Unit) -> None:
    table = unit_to_table(unit)
    assert table.num_rows == 1
    assert table.schema == unit_schema()
    assert unit_from_table(table) == unit


def test_reasons_arrive_as_reasons() -> None:
    unit = sampled_unit(prose(8), removed=[2])
    chunk = unit_from_table(unit_to_table(unit)).chunks[0]
    assert chunk.sentences[2].reason is Ineligible.REMOVED
    assert chunk == unit.chunks[0]


def test_pairs_stay_behind() -> None:
    unit = sampled_unit(prose(8))
    with_pairs = replace(unit, pairs=(pair_of(unit.chunks[0], 0, "What?"),))
    assert "pairs" not in unit_to_table(with_pairs).column_names
    assert unit_from_table(unit_to_table(with_pairs)) == unit


def test_a_batch_of_several_units_is_refused() -> None:
    table = unit_to_table(sampled_unit(prose(8)))
    for rows in (pa.concat_tables([table, table]), table.slice(0, 0)):
        with pytest.raises(ValueError, match="expected one unit in a batch"):
            unit_from_table(rows)


SOURCE = st.builds(Source, uri=TEXT, name=TEXT, num_bytes=COUNT, stamp=TEXT)
SPLIT = st.builds(Split, st.lists(SOURCE, max_size=3).map(tuple), COUNT, st.none() | COUNT, st.none() | COUNT)
IDS = st.lists(TEXT, max_size=3).map(tuple)
WORK = st.builds(Work, SPLIT, TEXT, IDS, st.none() | st.builds(Retry, number=COUNT, reasons=IDS, prefixes=IDS))


@given(WORK)
def test_work_travels_unchanged(work: Work) -> None:
    assert from_json(Work, to_json(work)) == work


def test_a_result_arrives_with_its_outcome() -> None:
    result = UnitResult(unit_id="u", split_id="s", outcome=Outcome.COMMITTED, counts={"pairs": 3})
    assert from_json(UnitResult, to_json(result)) == result
