"""The first thing that a newcomer sees: questions that read like questions, answers that come from the text."""

import re

import pytest

from selfstudy.checks import ChunkWords, check_question
from selfstudy.config import STYLES, ChecksConfig
from selfstudy.engines.base import Call, Request
from selfstudy.engines.extractive import answer, ask, key_phrases
from selfstudy.text.sentences import split_sentences

PASSAGES = {
    "en": (
        "The Skarvoya lighthouse is a granite tower on the northern cape. It was lit in 1871 by Elias Bergh. "
        "Whale oil fed its lamp, because paraffin was not yet sold on the island. Keepers rowed to Torsby every month. "
        "1. Check the wick before dusk and trim it with the brass scissors."
    ),
    "de": (
        "Der Leuchtturm ist ein Turm aus Granit auf dem nördlichen Kap. Er wurde im Jahr 1871 von Elias Bergh "
        "angezündet. Die Wärter ruderten jeden Monat nach Torsby und holten Mehl und Briefe."
    ),
    "es": (
        "El faro de Skarvoya es una torre de granito en el cabo del norte. Fue encendido en el año 1871. "
        "Los fareros remaban cada mes hasta Torsby para traer harina y cartas de la gente."
    ),
    "fr": (
        "Le phare de Skarvoya est une tour de granit sur le cap du nord. Il fut allumé en 1871 par Elias Bergh. "
        "Les gardiens ramaient chaque mois vers Torsby pour chercher la farine et les lettres."
    ),
    "zh": "灯塔是北方海角上的一座花岗岩塔。一八七一年埃利亚斯点亮了这座灯塔。守塔人每月划船去大陆取面粉和信件。",
    "ja": "灯台は北の岬にある花崗岩の塔です。千八百七十一年に灯された。灯守は毎月本土へ漕いで手紙を取りに行った。",
    "ru": "Маяк стоит на северном мысу острова. Его зажгли в 1871 году. Смотрители каждый месяц ездили за мукой.",
}


def requests(language: str, style: str, call: Call = Call.QUESTION) -> list[Request]:
    passage = PASSAGES[language]
    return [
        Request(
            call=call,
            pair_id="p",
            chunk_key="k",
            title="",
            passage=passage,
            target=passage[span.start : span.end],
            style=style,
            seed=1,
        )
        for span in split_sentences(passage)
    ]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("language", PASSAGES)
def test_questions_read_like_questions_about_their_target(language: str, style: str) -> None:
    asked = requests(language, style)
    words = ChunkWords([request.target for request in asked])
    for place, request in enumerate(asked):
        question = ask(request)
        assert re.search(r"[?？]", question)
        assert check_question(question, "stop", ChecksConfig()) is None
        assert "{" not in question
        assert words.fidelity(question, place) >= 0.5
        assert len(question) < 400


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("language", PASSAGES)
def test_answers_come_from_the_text(language: str, style: str) -> None:
    for request in requests(language, style, Call.ANSWER):
        text = answer(request)
        assert text
        for line in text.splitlines():
            # Only the marks of a list may be added or dropped.
            for sentence in split_sentences(line.removeprefix("- ")):
                assert line.removeprefix("- ")[sentence.start : sentence.end] in request.passage


def test_styles_differ() -> None:
    for places in zip(*(requests("en", style) for style in STYLES), strict=True):
        assert len({ask(request) for request in places}) >= 4


def test_the_rules_for_facts() -> None:
    definition, number, *_ = (ask(request) for request in requests("en", "factual"))
    assert definition == "What is the Skarvoya lighthouse?"
    assert "___" in number
    assert "1871" not in number
    because = [ask(request) for request in requests("en", "reasoning")][2]
    assert because.startswith("Why")
    assert "paraffin" not in because


def test_a_list_mark_is_not_part_of_an_answer() -> None:
    request = requests("en", "factual", Call.ANSWER)[-1]
    assert not answer(request).startswith(("1.", "Check the wick")) or answer(request).startswith("Check")


@pytest.mark.parametrize("target", ["...", "The of and to.", "12 34 56", "—", "字"])
def test_a_target_without_content_words_still_gets_a_question(target: str) -> None:
    request = requests("en", "factual")[0]
    odd = Request(**{name: getattr(request, name) for name in request.__dataclass_fields__} | {"target": target})
    for style in STYLES:
        styled = Request(**{name: getattr(odd, name) for name in odd.__dataclass_fields__} | {"style": style})
        assert ask(styled).strip()
        assert answer(styled).strip()


def test_braces_in_the_text_stay_text() -> None:
    request = requests("en", "creative")[0]
    odd = Request(
        **{name: getattr(request, name) for name in request.__dataclass_fields__}
        | {"target": "The {0} placeholder of the {name} template stays as it is."}
    )
    assert "{" in ask(odd) or "placeholder" in ask(odd)


def test_rare_phrases_are_what_a_sentence_is_about() -> None:
    passage = "The mill ground rye. The mill ground oats. The mill belonged to Astrid Lund."
    assert "Astrid Lund" in key_phrases("The mill belonged to Astrid Lund.", passage, "en")
