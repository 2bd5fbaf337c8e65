import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from selfstudy.config import ChunksConfig, EligibilityConfig
from selfstudy.corpus.normalise import normalise
from selfstudy.reasons import Ineligible
from selfstudy.records import Chunk, Document
from selfstudy.text.chunks import chunk_document, num_tokens_of
from selfstudy.text.eligibility import judge_sentences
from selfstudy.text.sentences import split_sentences
from tests.factories import prose, sentence

PIECES = [
    *(
        "A short sentence here. ",
        "One more? ",
        "\n\n",
        "\n",
        "# Heading\n",
        "- an item of a list\n",
        "word " * 30 + ". ",
    ),
    *(
        "日本語の文がここにあります。",
        "👩\u200d🚀 went up. ",
        "مرحبا بالعالم. ",
        "x" * 700 + ". ",
        "Same again. ",
        "é" * 40 + ". ",
    ),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)
SIZES = st.integers(1, 60).flatmap(lambda low: st.tuples(st.just(low), st.integers(2 * low, 4 * low)))


def chunks_of(text: str, min_tokens: int = 64, max_tokens: int = 160, **fields: str) -> list[Chunk]:
    document = Document(doc_id=fields.pop("doc_id", "doc"), source_uri="file:///x", text=text, markup=("m",), **fields)  # type: ignore[arg-type]
    spans = split_sentences(text)
    sentences = judge_sentences(text, spans, EligibilityConfig())
    return chunk_document(document, spans, sentences, ChunksConfig(min_tokens=min_tokens, max_tokens=max_tokens))


@given(TEXTS, SIZES)
def test_every_sentence_is_in_exactly_one_chunk(raw: str, sizes: tuple[int, int]) -> None:
    text = normalise(raw, "plain").text
    chunks = chunks_of(text, *sizes)
    spans = [(s.start, s.end) for chunk in chunks for s in chunk.sentences]
    assert spans == [(span.start, span.end) for span in split_sentences(text)]
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end]
        assert (chunk.start, chunk.end) == (chunk.sentences[0].start, chunk.sentences[-1].end)
        for index, span in enumerate(chunk.sentences):
            assert chunk.sentence_text(index) == text[span.start : span.end]


@given(TEXTS, SIZES)
def test_the_budget_holds_but_for_a_sentence_that_breaks_it_alone(raw: str, sizes: tuple[int, int]) -> None:
    for chunk in chunks_of(normalise(raw, "plain").text, *sizes):
        assert chunk.num_tokens == num_tokens_of(chunk.text) == -(-len(chunk.text.encode()) // 4)
        if chunk.num_tokens > sizes[1]:
            assert len(chunk.sentences) == 1
            assert not chunk.sentences[0].eligible


@given(TEXTS, SIZES)
def test_chunks_are_not_smaller_than_they_must_be(raw: str, sizes: tuple[int, int]) -> None:
    min_tokens, max_tokens = sizes
    chunks = chunks_of(normalise(raw, "plain").text, min_tokens, max_tokens)
    for chunk, following in pairwise(chunks):
        with_next = chunk.num_tokens + num_tokens_of(following.sentence_text(0))
        assert chunk.num_tokens >= min_tokens or with_next >= max_tokens - 2


@given(TEXTS)
def test_chunk_ids_are_distinct_and_repeatable(raw: str) -> None:
    text = normalise(raw, "plain").text
    ids = [chunk.chunk_id for chunk in chunks_of(text)]
    assert len(set(ids)) == len(ids)
    assert ids == [chunk.chunk_id for chunk in chunks_of(text, title="another title")]
    assert not set(ids) & {chunk.chunk_id for chunk in chunks_of(text, doc_id="other")}


def test_borders_fall_back_into_step_after_an_edit() -> None:
    rng = random.Random(0)
    kept = []
    for trial in range(30):
        numbers = rng.sample(range(10_000), 300)
        before = "\n\n".join(" ".join(map(sentence, numbers[i : i + 4])) for i in range(0, 300, 4))
        place = rng.randrange(300)
        edited = [*numbers[:place], 10_000 + trial, *numbers[place + trial % 3 :]]
        after = before.replace(sentence(numbers[place]), sentence(edited[place]), 1)
        old, new = ({chunk.chunk_id for chunk in chunks_of(text)} for text in (before, after))
        kept.append(len(old & new) / len(old))
    # About 60 chunks: the edited one goes, and a few on the way back into step.
    assert sum(kept) / len(kept) > 0.93
    assert min(kept) > 0.7


def test_a_border_prefers_a_heading_and_then_a_paragraph() -> None:
    paragraphs = [prose(4, first=10 * number) for number in range(12)]
    headed = "\n\n".join(f"## Part {number}\n\n{paragraph}" for number, paragraph in enumerate(paragraphs))
    starts = [chunk.text[:7] for chunk in chunks_of(headed)]
    assert all(start.startswith("## Part") for start in starts)
    plain = "\n\n".join(paragraphs)
    assert all(plain[: chunk.start].endswith("\n\n") for chunk in chunks_of(plain)[1:])


def test_an_oversized_sentence_is_a_chunk_without_targets() -> None:
    long = "The list names " + ", ".join(f"item {number}" for number in range(80)) + " and nothing else."
    chunks = chunks_of(f"{prose(6)}\n\n{long}\n\n{prose(6, first=50)}", min_tokens=40, max_tokens=120)
    (oversized,) = (chunk for chunk in chunks if chunk.num_tokens > 120)
    assert oversized.text == long
    assert [s.reason for s in oversized.sentences] == [Ineligible.OVERSIZED_CHUNK]


def test_a_reason_of_its_own_outlives_the_oversized_chunk() -> None:
    (chunk,) = chunks_of("x" * 2000)
    assert chunk.sentences[0].reason is Ineligible.TOO_LONG


def test_hidden_text_is_judged_once_with_the_first_chunk() -> None:
    markups = [chunk.markup for chunk in chunks_of(prose(60))]
    assert len(markups) > 3
    assert markups == [("m",)] + [()] * (len(markups) - 1)


def test_equal_chunks_of_a_document_are_told_apart_by_their_place() -> None:
    part = "## Notice\n\n" + prose(8)
    chunks = chunks_of("\n\n".join([part] * 5), min_tokens=64, max_tokens=170)
    texts = [chunk.text for chunk in chunks]
    assert len(set(texts)) < len(texts)
    assert len({chunk.chunk_id for chunk in chunks}) == len(chunks)


def test_nothing_gives_no_chunks() -> None:
    assert chunks_of("") == []
