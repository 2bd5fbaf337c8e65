import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfstudy.corpus.normalise import clean_characters, normalise, one_line

ODD = "\u0301\u0308\u200d\ufeff\x00\x1b\x85\u2028\u2029\xa0\u3000\r\n\t |-#>`*_[]()<!&;:日本עברית🏳️🌈👩🏽Åﬁ①e"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(ODD), max_size=60)


def text_of(raw: str, text_format: str = "plain") -> str:
    return normalise(raw, text_format).text


@given(TEXTS, st.sampled_from(["plain", "markdown", "html"]))
def test_the_result_is_in_normal_form(raw: str, text_format: str) -> None:
    page = normalise(raw, text_format)
    for text in (page.text, page.title, *page.markup):
        assert unicodedata.is_normalized("NFC", text)
        assert text == text.strip()
        assert not any(unicodedata.category(character) == "Cc" and character not in "\n\t" for character in text)
        assert not any(character in text for character in "\r\xa0\ufeff\u2028\u2029")
    assert "\n\n\n" not in page.text
    # Whatever the source was, its text is plain text in normal form already.
    assert text_of(page.text) == page.text


@given(TEXTS)
def test_plain_text_loses_nothing_but_controls_and_white_space(raw: str) -> None:
    def visible(text: str) -> str:
        kept = "".join(c for c in text if unicodedata.category(c) not in ("Cc", "Zl", "Zp") and c not in "\ufeff\xa0 ")
        return unicodedata.normalize("NFC", kept)

    # Composition may cross what is dropped here, so both sides are composed again.
    assert visible(text_of(raw)).strip() == visible(raw).strip()


def test_characters() -> None:
    assert clean_characters("a\r\nb\rc\u2028d\x85e\x0cf") == "a\nb\nc\nd\ne\nf"
    assert clean_characters("\ufeffA\x00B\x1b[1m\x7f") == "AB[1m"
    assert clean_characters("Cafe\u0301") == "Café"
    assert clean_characters("e\x00\u0301") == "é"
    assert clean_characters("a\xa0b") == "a b"
    assert clean_characters("👩\u200d🚀 क्\u200dष") == "👩\u200d🚀 क्\u200dष"
    assert clean_characters("x\ud800y") == "xy"
    assert one_line(" a \n\t b ") == "a b"


def test_long_runs_of_blank_lines_become_one() -> None:
    assert text_of("a\n \n\t\n\n  b\n\nc\nd") == "a\n\n  b\n\nc\nd"


def test_html_gives_what_a_reader_sees() -> None:
    page = normalise(
        "<html><head><title>The  Mill</title><style>p{}</style></head><body><nav>Home</nav><h2>Wheels</h2>"
        "<p>One&nbsp;wheel &amp; two <b>stones</b>.<br>Next line.</p><ul><li>first</li><li><p>second</p></li></ul>"
        "<table><tr><th>Year</th><th>Tons</th></tr><tr><td>1900</td><td>12</td></tr></table>"
        "<pre>  a\n    b</pre><script>x()</script></body></html>",
        "html",
    )
    assert page.title == "The Mill"
    assert page.text == (
        "## Wheels\n\nOne wheel & two stones.\nNext line.\n- first\n- second\n"
        "Year | Tons\n1900 | 12\n\n```\n  a\n    b\n```"
    )


def test_what_a_page_hides_is_kept_apart_for_the_judge() -> None:
    page = normalise(
        "<!-- above all --><!doctype html><html><body><p>Seen.</p><!-- a comment --><img src=x alt='an alt text'>"
        "<p style='display: none'>hidden by style</p>"
        "<p hidden>hidden by attribute</p><span aria-hidden=true>hidden from readers</span>"
        "</body></html><!-- below all -->",
        "html",
    )
    assert page.text == "Seen."
    assert page.markup == [
        "above all",
        "a comment",
        "an alt text",
        "hidden by style",
        "hidden by attribute",
        "hidden from readers",
        "below all",
    ]


def test_markdown_gives_what_a_reader_sees() -> None:
    page = normalise(
        "---\ntitle: 'On Mills'\ntags: [a]\n---\n# Head\n\nA *soft*\nbreak with `code` and [a link](http://x).\n\n"
        "1. one\n2. two\n   - inner\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```py\nx = 1\n```\n\n"
        "![an alt](i.png) <!-- inline note -->\n\n<!-- block note -->\n\n<p>html text</p>\n",
        "markdown",
    )
    assert page.title == "On Mills"
    assert page.text == (
        "# Head\n\nA soft break with `code` and a link.\n\n1. one\n2. two\n  - inner\n\na | b\n1 | 2\n\n"
        "```py\nx = 1\n```\n\nhtml text"
    )
    assert page.markup == ["title: 'On Mills'\ntags: [a]", "an alt", "inline note", "block note"]


@pytest.mark.parametrize(
    ("front_matter", "title"),
    [
        ("date: 2024-13-45\ntitle: Kept", "Kept"),
        ("when: !!timestamp never\ntitle: Kept", "Kept"),
        ("draft: !!bool maybe\ntitle: Kept", "Kept"),
        ("n: !!int x\ntitle: 1984", "1984"),
        ('title: "lone \\ud800 half"', "lone half"),
        ("title: [a, b]", ""),
        ("- a\n- b", ""),
        ("title: a: b", ""),
        ("title: &a [*a]", ""),
        ("a: " + "[" * 5000, ""),
        ("!!python/object/apply:os.getcwd []", ""),
    ],
)
def test_no_front_matter_stops_a_document(front_matter: str, title: str) -> None:
    page = normalise(f"---\n{front_matter}\n---\nThe text.", "markdown")
    assert page.title == title
    assert page.text == "The text."


def test_a_text_between_rules_is_no_front_matter() -> None:
    page = normalise("---\n" + "word and word\n" * 5000 + "---\nThe end.", "markdown")
    assert page.text.count("word") == 10_000
    assert page.markup == []


@pytest.mark.parametrize("depth", [5, 9, 30, 80, 120, 400])
@pytest.mark.parametrize("mark", ["- ", "> ", "1. "])
def test_deeply_nested_markdown_keeps_its_text(depth: int, mark: str) -> None:
    indent = "" if mark == "> " else " " * len(mark)
    lines = [(mark if mark == "> " else indent) * level + mark + f"item {level}" for level in range(depth)]
    text = text_of("\n".join(lines), "markdown")
    assert all(f"item {level}" in text for level in range(depth))


def test_markdown_nested_five_thousand_deep_keeps_its_text() -> None:
    assert "at the bottom" in text_of("> " * 5000 + "at the bottom", "markdown")


@pytest.mark.parametrize("tag", ["div", "b", "blockquote", "ul", "table", "span hidden"])
def test_a_page_nested_five_thousand_deep_keeps_its_text(tag: str) -> None:
    page = normalise(f"<{tag}>" * 5000 + "at the bottom", "html")
    assert "at the bottom" in " ".join([page.text, *page.markup])


@pytest.mark.parametrize(
    "raw",
    ["a" + " " * 300_000 + "b", "a" + "\t" * 300_000 + "b", "a" + " \n" * 100_000 + "b", "\x00" * 300_000 + "b"],
    ids=["spaces", "tabs", "blank lines", "nuls"],
)
def test_long_runs_cost_linear_time(raw: str) -> None:
    # A pattern that tries such a run at each of its characters would not end within the suite's patience.
    assert text_of(raw).endswith("b")


def test_entities_are_decoded_once_and_cleaned() -> None:
    assert text_of("<p>a&#0;b&#x1b;&#133;&amp;lt;i&amp;gt; e&#x301;</p>", "html").endswith("&lt;i&gt; é")
    assert text_of("x &#xD800; y", "html") == "x \ufffd y"


@pytest.mark.parametrize("raw", ["", " \n\t", "<!-- only a comment -->", "<script>x</script>", "\ufeff\x00"])
@pytest.mark.parametrize("text_format", ["html", "markdown"])
def test_nothing_to_see(raw: str, text_format: str) -> None:
    assert text_of(raw, text_format) in ("", "x")
