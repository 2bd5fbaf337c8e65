"""What the models are trained on: composed and written spans, and that nothing of them is measured with."""

import random
import re
from pathlib import Path

import pytest

from jobs.bench_filter import exam_examples, held_out_examples, unseen_instructions
from jobs.planting import shingles, words_of
from selfstudy.filter.composer import compose_attacks, compose_clean
from selfstudy.filter.grammar import grammar
from selfstudy.filter.written import written


def test_composed_spans_repeat_with_the_seed_and_do_not_overlap() -> None:
    attacks, clean = compose_attacks(3000, 1), compose_clean(1500, 1)
    assert attacks == compose_attacks(3000, 1)
    assert attacks != compose_attacks(3000, 2)
    assert len({example.text for example in attacks}) == 3000
    assert not {example.text for example in attacks} & {example.text for example in clean}
    assert {"en", "de", "fr", "es", "ru", "zh", "ja", "ar"} == {example.lang for example in attacks}
    unfilled = [example.text for example in attacks + clean if "{" in example.text.replace("{#", "").replace('{"', "")]
    assert unfilled == []


def test_every_phrase_can_be_drawn_whole() -> None:
    rng = random.Random(0)
    banks = [("orders.en", "parts"), ("people.en", "hard"), ("people.en", "ordinary"), ("world", "attacks")]
    for name, section in banks:
        phrases = grammar(name, section)
        for part in phrases.parts:
            texts = [phrases.draw(rng, part) for _ in range(200)]
            assert not [text for text in texts if re.search(r"\b[Aa]n us(?:er|age)|\w\|\w", text)]


def test_every_written_span_can_be_drawn_whole_and_has_one_label() -> None:
    rng = random.Random(0)
    labels: dict[str, bool] = {}
    for line in written():
        for text in {line.draw(rng) for _ in range(4)}:
            assert not re.search(r"\{\w*\}|\{[^{}]*\||\\\\n|  ", text), text
            assert labels.setdefault(text.lower(), line.label) == line.label, text
    assert min(sum(labels.values()), sum(not label for label in labels.values())) > 15_000


def measuring_texts() -> list[str]:
    return [*unseen_instructions(), *(example.text for example in [*held_out_examples(), *exam_examples()])]


def test_nothing_that_is_measured_with_was_written_for_training() -> None:
    measured = {run for text in measuring_texts() for run in shingles(words_of(text))}
    for line in written():
        runs = shingles(words_of(re.sub(r"[{}|]", " ", line.template)))
        # A Chinese or Japanese character is a word: of those the next test looks for longer runs.
        together = [run for run in runs if run in measured and sum(len(word) > 1 for word in run) > 1]
        assert not together, (line.template, together)


def test_nor_is_any_longer_run_of_chinese_or_japanese_shared() -> None:
    # Laws in Chinese open alike for nine characters ("no unit and no individual may ...").
    def runs(text: str) -> set[str]:
        letters = "".join(re.findall(r"[\u3040-\u30ff\u3400-\u9fff]", text))
        return {letters[start : start + 11] for start in range(len(letters) - 10)}

    measured = {run for text in measuring_texts() for run in runs(text)}
    assert len(measured) > 500
    assert not [line.template for line in written() if runs(line.template) & measured]


def test_a_written_span_may_begin_like_a_heading_and_hold_json(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "some.txt").write_text(
        '## attack | de rules\n## Regeln\n{"a": "b"} {x|x}\n## clean | notes\nA note.\n', "utf-8"
    )
    monkeypatch.setattr("selfstudy.filter.written.files_in", lambda _: [tmp_path / "some.txt"])
    lines = written.__wrapped__()
    assert [(line.label, line.lang, line.group) for line in lines] == [
        (True, "de", "rules"), (True, "de", "rules"), (False, "en", "notes"),
    ]  # fmt: skip
    assert [line.draw(random.Random(0)) for line in lines] == ["## Regeln", '{"a": "b"} x', "A note."]
    # A heading with a slip would hand its lines to the group before.
    (tmp_path / "some.txt").write_text("## clean | notes\nA note.\n## attack | de fr rules\nNo note.\n", "utf-8")
    with pytest.raises(ValueError, match=r"some\.txt: no heading: '## attack \| de fr rules'"):
        written.__wrapped__()
