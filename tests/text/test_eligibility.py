import pytest

from selfstudy.config import EligibilityConfig
from selfstudy.reasons import Ineligible
from selfstudy.text.eligibility import judge_sentences, why_ineligible
from selfstudy.text.sentences import Layout, split_sentences

CONFIG = EligibilityConfig()

CASES: list[tuple[str, Layout, Ineligible | None]] = [
    ("The bridge was rebuilt in 1923 by the guild of carpenters.", Layout.PROSE, None),
    ("Don't ask “who”: the river took it, and nobody said why.", Layout.PROSE, None),
    ("The tool is at https://example.org/tools and runs on any laptop.", Layout.PROSE, None),
    ("- Open the lid and pour two cups of water into the tank.", Layout.LIST_ITEM, None),
    ("- water the seedlings twice a week", Layout.LIST_ITEM, None),
    ("五百年前这座桥由木匠行会重新建造。", Layout.PROSE, None),
    ("Мост был построен заново в тысяча девятисотом году.", Layout.PROSE, None),
    ("# The bridge and its long history of repairs", Layout.HEADING, Ineligible.HEADING),
    ("| 1923 | the bridge was rebuilt by carpenters |", Layout.TABLE, Ineligible.TABLE_ROW),
    ("the_bridge = rebuild(year, by=guild of carpenters)", Layout.CODE, Ineligible.CODE),
    ("if (bridge.is_rebuilt(year) and guild.pays) {", Layout.PROSE, Ineligible.CODE),
    ("bridge.rebuild(year, by the guild of carpenters);", Layout.PROSE, Ineligible.CODE),
    ("<!-- The bridge was rebuilt by the carpenters. -->", Layout.COMMENT, Ineligible.MARKUP_DEBRIS),
    ("The bridge <span class=old>was rebuilt</span> by the guild.", Layout.PROSE, Ineligible.MARKUP_DEBRIS),
    ("The bridge {{cite web|url=x}} was rebuilt by the guild.", Layout.PROSE, Ineligible.MARKUP_DEBRIS),
    ("The bridge was rebuilt&nbsp;by the guild of carpenters.", Layout.PROSE, Ineligible.MARKUP_DEBRIS),
    ("The bridge w\ufffds rebuilt by the guild of carpenters.", Layout.PROSE, Ineligible.MARKUP_DEBRIS),
    ("If a < b and c > d & e, the bridge stands for another year.", Layout.PROSE, None),
    ("12.5 13.7 14.9 1923 1924 1925 1926 m km", Layout.PROSE, Ineligible.NUMBERS),
    ("*** --- *** ~~~ ### *** a b c d", Layout.PROSE, Ineligible.SYMBOLS),
    ("See https://example.org/a/very/long/path/to/some/page.html there.", Layout.PROSE, Ineligible.SYMBOLS),
    ("It was rebuilt.", Layout.PROSE, Ineligible.TOO_SHORT),
    ("Supercalifragilisticexpialidocious indeed.", Layout.PROSE, Ineligible.TOO_SHORT),
    ("桥。", Layout.PROSE, Ineligible.TOO_SHORT),
    ("The bridge was rebuilt " + "and rebuilt " * 100 + "again.", Layout.PROSE, Ineligible.TOO_LONG),
    ("The guild brought the following three tools:", Layout.PROSE, Ineligible.LIST_STUB),
    ("- wood from the north", Layout.LIST_ITEM, Ineligible.LIST_STUB),
    ("All rights reserved by the guild of carpenters.", Layout.PROSE, Ineligible.BOILERPLATE),
    ("Alle Rechte vorbehalten, Zunft der Zimmerleute Berlin.", Layout.PROSE, Ineligible.BOILERPLATE),
    ("Who rebuilt the bridge over the river in 1923?", Layout.PROSE, Ineligible.QUESTION),
    ("the old bridge over the river by the mill", Layout.PROSE, Ineligible.FRAGMENT),
    ("Builder: carpenters of the eastern guild", Layout.PROSE, Ineligible.FRAGMENT),
]


@pytest.mark.parametrize(("sentence", "layout", "reason"), CASES)
def test_reasons(sentence: str, layout: Layout, reason: Ineligible | None) -> None:
    assert why_ineligible(sentence, layout, CONFIG) is reason


def test_a_long_sentence_about_rights_is_no_boilerplate() -> None:
    sentence = "The court held that the clause “all rights reserved” does not bind a buyer who never saw it in print."
    assert why_ineligible(sentence, Layout.PROSE, CONFIG) is None


def test_a_repeat_of_an_earlier_sentence_is_one() -> None:
    sentence = "The bridge was rebuilt in 1923."
    text = f"{sentence} It held for a hundred years.\n\n{sentence.replace('The bridge', 'THE  bridge')}"
    judged = judge_sentences(text, split_sentences(text), CONFIG)
    assert [s.reason for s in judged] == [None, None, Ineligible.REPEAT]


def test_every_reason_of_a_sentence_alone_has_a_case() -> None:
    elsewhere = {Ineligible.REPEAT, Ineligible.OVERSIZED_CHUNK, Ineligible.REMOVED}
    assert {reason for _, _, reason in CASES if reason} == set(Ineligible) - elsewhere


def test_limits_are_read() -> None:
    short, long = "It was rebuilt then.", "The bridge was rebuilt in 1923 by the guild."
    assert why_ineligible(short, Layout.PROSE, CONFIG) is Ineligible.TOO_SHORT
    assert why_ineligible(short, Layout.PROSE, EligibilityConfig(min_chars=5)) is None
    assert why_ineligible(long, Layout.PROSE, EligibilityConfig(min_words=20)) is Ineligible.TOO_SHORT
    assert why_ineligible(long, Layout.PROSE, EligibilityConfig(max_chars=20)) is Ineligible.TOO_LONG
