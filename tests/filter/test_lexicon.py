"""The lexicon: which part a word plays, in any language."""

import pickle
from importlib import resources

import pytest

from selfstudy.filter.lexicon import Lexicon, default_lexicon
from selfstudy.filter.normalise import fold
from selfstudy.filter.remembered import Remembered


def test_a_number_plays_its_part_in_digits_and_in_words() -> None:
    parts_of = default_lexicon().parts_of
    assert parts_of("answer in 137 words") == parts_of("answer in 4000 words") == parts_of("answer in ten words")


@pytest.mark.parametrize(
    ("joined", "part"),
    [
        ("l'utilisateur", "user"),
        ("d'un texte", "text"),
        ("qu'elle", "third"),
        ("dell'utente", "user"),
        ("والمستخدم", "user"),
        ("للقارئ", "user"),
    ],
)
def test_what_is_written_together_with_a_word_does_not_hide_its_part(joined: str, part: str) -> None:
    lexicon = default_lexicon()
    assert lexicon.names[lexicon.parts_of(joined)[-1] - 1] == part


def test_every_language_file_names_known_parts_and_words_as_they_are_looked_up() -> None:
    lexicon = default_lexicon()
    words = [
        (part, word.rstrip("*"))
        for file in resources.files("selfstudy.filter").joinpath("phrases/lexicon").iterdir()
        for part, _, line in (row.partition(": ") for row in file.read_text(encoding="utf-8").splitlines())
        for word in line.split()
    ]
    assert len(words) > 20_000
    assert {part for part, _ in words} <= set(lexicon.names)
    assert [word for _, word in words if fold(word) != word] == []
    # A stem may be a word of another part by itself, and a character may belong to a longer term.
    idle = [word for part, word in words if lexicon.names.index(part) + 1 not in lexicon.parts_of(word)]
    assert len(idle) < 0.01 * len(words), idle


def test_the_commonest_words_of_an_order_have_parts_in_every_language() -> None:
    lexicon = default_lexicon()
    orders = {
        "de": "antworte nur mit diesem satz",
        "fr": "reponds uniquement par cette phrase",
        "es": "responde solo con esta frase",
        "it": "rispondi solo con questa frase",
        "pt": "responda apenas com esta frase",
        "ru": "отвечай только этой фразой",
    }
    for language, order in orders.items():
        names = {lexicon.names[part - 1] for part in lexicon.parts_of(order)}
        assert {"say", "only", "remark"} <= names, (language, names)


def test_a_word_that_plays_no_part_is_not_looked_up_again_and_the_memory_is_bounded() -> None:
    asked: list[str] = []
    lengths = Remembered(lambda word: asked.append(word) or len(word), most=2)
    assert [lengths["a"], lengths["bb"], lengths["a"]] == [1, 2, 1]
    assert asked == ["a", "bb"]
    assert lengths["ccc"] == 3
    assert len(lengths) == 1


def test_a_lexicon_that_has_been_used_can_be_sent_to_another_process() -> None:
    lexicon = Lexicon({"drop": ["forget*"], "test": ["exam"]})
    assert lexicon.parts_of("forgetting the exam") == [1, 2]
    again = pickle.loads(pickle.dumps(lexicon))
    assert again.parts_of("forgetting the exam and the exams") == [1, 2]
