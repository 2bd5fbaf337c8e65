"""Spans are exact, in order, and leave out nothing but white space: what is in no span escapes the judge."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from selfstudy.corpus.normalise import normalise
from selfstudy.text.sentences import MAX_SENTENCE_CHARS, Layout, Span, split_sentences

PIECES = [
    *(
        "A short sentence. ",
        "Is it? ",
        "No! ",
        "e.g. this, Dr. Who vs. Fig. 3.",
        "3. ",
        "\n",
        "\n\n",
        "  ",
        "\t",
        " | ",
    ),
    *("# ", "- ", "```\n", "<!-- ", " -->", "|", "http://a.b/c?d=e. ", "“Quoted.” ", "...", "word " * 12, "==", "~~~"),
    *("日本語の文です。", "这是一个句子。", "ประโยคไทย ", "مرحبا بالعالم؟ ", "שלום עולם. ", "\u202bمختلط abc\u202c "),
    *(
        "👩\u200d👩\u200d👧\u200d👦 ",
        "🏳️\u200d🌈.",
        "e\u0301\u0323",
        "क्षि। ",
        "\u0301",
        "\u3000",
        "\U0001d54f",
        "Straße. ",
    ),
]
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=6), max_size=25).map("".join)


def check_tiling(text: str, spans: list[Span]) -> None:
    position = 0
    for span in spans:
        assert position <= span.start < span.end <= len(text)
        assert not text[position : span.start].strip()
        sentence = text[span.start : span.end]
        assert sentence == sentence.strip()
        assert len(sentence) <= MAX_SENTENCE_CHARS
        position = span.end
    assert not text[position:].strip()


@given(TEXTS, st.sampled_from(["en", "de", "zh", "xx"]))
@example("a\n\nb", "en")
@example("<!-- never closed. Two sentences.", "en")
def test_spans_tile_all_text_but_white_space(raw: str, language: str) -> None:
    text = normalise(raw, "plain").text
    check_tiling(text, split_sentences(text, language))


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=80))
def test_any_text_at_all_is_tiled(text: str) -> None:
    check_tiling(text, split_sentences(text))


@pytest.mark.parametrize(
    "text",
    [
        "word " * 200_000,
        "x" * 1_000_000,
        "字" * 1_000_000,
        " ".join("👩\u200d🚀" for _ in range(100_000)),
        "a.b" * 300_000,
    ],
    ids=["words", "letters", "Chinese", "emoji", "dots"],
)
def test_a_sentence_of_a_megabyte_is_cut(text: str) -> None:
    spans = split_sentences(text.strip())
    check_tiling(text.strip(), spans)
    assert len(spans) < 2000


def test_ten_thousand_lines_of_one_word() -> None:
    text = "\n".join(f"word{number}" for number in range(10_000))
    spans = split_sentences(text)
    check_tiling(text, spans)
    assert len(spans) == 10_000


@pytest.mark.parametrize("line", [" " * 300_000 + "x\ty", "x" + "\t" * 300_000 + "y", "a|" * 150_000, "=" * 300_000])
def test_odd_lines_cost_linear_time(line: str) -> None:
    # A pattern that backs up over such a line would not end within the suite's patience.
    check_tiling(line, split_sentences(line))


def layouts(text: str) -> list[tuple[str, Layout]]:
    return [(text[span.start : span.end], span.layout) for span in split_sentences(text)]


def test_lines_have_layouts() -> None:
    text = (
        "# The mill\nIt stands. It turns.\n\n- first item\n  * second item\n2) third item\n\n"
        "Year | Tons\n| 1900 | 12 |\n\n```py\nx = 1. Or two.\n```\n\n<!-- Hidden. Twice. -->\nEnd."
    )
    assert layouts(text) == [
        ("# The mill", Layout.HEADING),
        ("It stands.", Layout.PROSE),
        ("It turns.", Layout.PROSE),
        ("- first item", Layout.LIST_ITEM),
        ("* second item", Layout.LIST_ITEM),
        ("2) third item", Layout.LIST_ITEM),
        ("Year | Tons", Layout.TABLE),
        ("| 1900 | 12 |", Layout.TABLE),
        ("```py", Layout.CODE),
        ("x = 1. Or two.", Layout.CODE),
        ("```", Layout.CODE),
        ("<!-- Hidden. Twice. -->", Layout.COMMENT),
        ("End.", Layout.PROSE),
    ]


def test_a_wrapped_line_goes_on_and_a_short_one_ends() -> None:
    wrapped = "This line of prose is long enough that its end can\nonly be a wrap of the same sentence."
    assert [sentence for sentence, _ in layouts(wrapped)] == [wrapped]
    assert [sentence for sentence, _ in layouts("Yours truly,\nAnna")] == ["Yours truly,", "Anna"]


@pytest.mark.parametrize(
    "sentence",
    [
        "Dr. Brown met Mr. Smith at 3.15 p.m. on Monday.",
        "See Fig. 3 and Eq. 4 of Vol. 2 for the proof.",
        "It costs 3.50 euros, i.e. less than before.",
        "The server at example.com answers in 0.5 seconds.",
    ],
)
def test_abbreviations_and_numbers_do_not_end_a_sentence(sentence: str) -> None:
    assert [found for found, _ in layouts(f"{sentence} Next one.")] == [sentence, "Next one."]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("这是第一句。这是第二句！第三句？", 3),
        ("最初の文です。次の文です。", 2),
        ("أين أنت؟ أنا هنا.", 2),
        ("यह वाक्य है। यह दूसरा है।", 2),
    ],
)
def test_other_scripts_end_their_sentences_too(text: str, number: int) -> None:
    assert len(split_sentences(text)) == number
