"""Prompts: three pieces that share a prefix, a version that moves with the words, completions read without change."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from selfstudy import prompts as prompts_module
from selfstudy.config import STYLES, ConfigError
from selfstudy.engines.base import Call, Completion, Request
from selfstudy.prompts import cut_reasoning, load_prompts, parse_answer, parse_question, render

REQUEST = Request(
    call=Call.QUESTION,
    pair_id="p",
    chunk_key="c",
    title="Rivers",
    passage="The Danube ends in the Black Sea. It is long.",
    target="It is long.",
    style="factual",
    seed=7,
)
ANSWER = replace(REQUEST, call=Call.ANSWER, question="How long is the Danube?")
DEFAULT_FILE = Path(prompts_module.__file__).with_name("prompts.yaml")


def test_all_requests_of_a_chunk_share_everything_before_the_instruction() -> None:
    prompts = load_prompts()
    rendered = [render(replace(REQUEST, style=style, seed=seed), prompts) for style in STYLES for seed in range(5)]
    rendered.append(render(ANSWER, prompts))

    assert len({(prompt.system, prompt.passage) for prompt in rendered}) == 1
    assert len({prompt.instruction for prompt in rendered}) > len(STYLES)


@pytest.mark.parametrize("style", STYLES)
def test_every_wording_of_every_style_is_tied_to_the_target(style: str) -> None:
    prompts = load_prompts()
    for seed in range(len(prompts.styles[style])):
        instruction = render(replace(REQUEST, style=style, seed=seed), prompts).instruction
        assert REQUEST.target in instruction
        assert prompts.styles[style][seed] in instruction
        assert "sentence" in prompts.styles[style][seed]


def test_the_answer_is_asked_with_the_question_and_without_the_target() -> None:
    instruction = render(ANSWER, load_prompts()).instruction

    assert ANSWER.question in instruction
    assert ANSWER.target not in instruction


def test_a_document_without_a_title_has_no_empty_title() -> None:
    assert "Title" in render(REQUEST, load_prompts()).passage
    assert "Title" not in render(replace(REQUEST, title=""), load_prompts()).passage


def test_place_holders_in_the_corpus_stay_text() -> None:
    hostile = replace(REQUEST, title="{passage}", passage="{title} {question} {style}", target="{style} {target}")

    prompt = render(hostile, load_prompts())

    assert "Title: {passage}\n" in prompt.passage
    assert "{title} {question} {style}" in prompt.passage
    assert "{style} {target}" in prompt.instruction


def test_the_version_moves_with_the_words_and_not_with_the_file(tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    copy.write_text(DEFAULT_FILE.read_text("utf-8"), encoding="utf-8")
    assert load_prompts(copy).version == load_prompts().version

    copy.write_text(DEFAULT_FILE.read_text("utf-8").replace("one question", "a question"), encoding="utf-8")
    assert load_prompts(copy).version != load_prompts().version


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"question": "no target {style}"}, "question: expected each of {style} {target} exactly once"),
        ({"answer": None}, "answer: expected text"),
        ({"extra": "x"}, "extra: unknown key"),
        ({"styles": {"factual": ["x"]}}, "styles.reasoning: expected a list of wordings"),
        ({"styles": "x"}, "styles: expected a mapping"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(DEFAULT_FILE.read_text("utf-8")) | change), encoding="utf-8")

    with pytest.raises(ConfigError) as error:
        load_prompts(file)

    assert any(problem in line and str(file) in line for line in error.value.problems)


def test_a_missing_or_broken_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_prompts(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_prompts(tmp_path / "broken.yaml")


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("Where?", "Where?"),
        ("<think>\nhmm\n</think>\n\nWhere?", "\n\nWhere?"),
        ("hmm, the template opened it\n</think>Where?", "Where?"),
        ("[THINK]hmm[/THINK]Where?", "Where?"),
        ("<think>cut off in the middle", None),
        ("What does <think> mark?", "What does <think> mark?"),
        ("What do <think> and </think> mark?", "What do <think> and </think> mark?"),
    ],
)
def test_reasoning_is_cut_off_and_text_about_it_is_not(text: str, after: str | None) -> None:
    assert cut_reasoning(text) == after


def test_completions_are_stripped_and_nothing_else() -> None:
    assert parse_question(Completion(text="  **Where** is `a*b`?\n")) == "**Where** is `a*b`?"
    assert parse_answer(Completion(text=" \n ")) == ""


@pytest.mark.parametrize(
    ("text", "question"),
    [
        ('{"question": " Where? "}', "Where?"),
        ('<think>x</think>{"question": "Where?"}', "Where?"),
        ('{"question": "Whe', None),
        ('{"answer": "There."}', None),
        ('{"question": 3}', None),
        ('["question"]', None),
        ("Where?", None),
    ],
)
def test_structured_output_is_read_or_unparsable(text: str, question: str | None) -> None:
    assert parse_question(Completion(text=text, structured=True)) == question
