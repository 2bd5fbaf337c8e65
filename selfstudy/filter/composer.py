"""Composes labelled spans from independent parts: attacks, and the clean text that resembles them.

An attack is an intent (what the answer should become) x a surface form (how it is put into a document) x a
strictness, with or without a clause that cancels the task. The parts are lists of phrases in `phrases/*.yaml`,
all written for this project; nothing is taken from published collections. Clean text comes in the same words:
orders to people, prose about prompting, and attacks quoted in a sentence that reports them.

The same number and seed give the same spans.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from selfstudy.filter.examples import Example
from selfstudy.filter.grammar import grammar
from selfstudy.filter.judge import BlockKind
from selfstudy.filter.phrase_files import files_in, hash_of, phrase_file
from selfstudy.filter.written import written

_SLOT = re.compile(r"\{(\w+)\}")
_KIND_OF_FORM = {
    "comment": BlockKind.COMMENT,
    "turn": BlockKind.TURN,
    "metadata": BlockKind.MARKUP,
    "hidden_list": BlockKind.LIST,
}
# How often each part of the English bank is drawn, relative to the others.
_SHARES = {"orders": 60, "composed": 32, "prelude": 6, "agent": 8, "jailbreak": 5, "languages": 16, "glued": 8}
_INTENTS = {
    "canary": 3, "promote": 5, "refuse": 5, "language": 2, "format": 6, "falsehood": 2, "persona": 2, "task": 3,
    "leak": 2, "stop": 1, "opinion": 2, "third_person": 3,
}  # fmt: skip
# Plain forms are what most attacks in the world look like; the others each stand for one hiding place.
_FORMS = {
    "plain": 7, "polite": 3, "notice": 3, "turn": 2, "comment": 2, "editorial": 2, "metadata": 2, "fake_answer": 2,
    "hidden_list": 2, "policy": 2,
}  # fmt: skip
_SLOT_LISTS_OF_CLEAN = {"num", "thing", "place", "lang", "topic", "person", "tool", "model", "prompt", "attack", "who"}
# Of the composed clean text in English: what is drawn from the grammar of people, and how much of that is hard.
_LANGUAGES_SHARE = 0.3
_PEOPLE_SHARE = 0.65
_HARD_SHARE = 0.55
_MAX_TRIES = 4
WRITTEN = "composed_written"
_FILES = ("attacks.en", "clean.en", "orders.en", "other_languages", "people.en", "world")


def compose_attacks(number: int, seed: int) -> list[Example]:
    """Return up to `number` different attacks, in English and seven other languages."""
    rng = random.Random(f"attacks-{seed}")
    return list(_distinct(number, lambda: _attack(rng)))


def compose_clean(number: int, seed: int) -> list[Example]:
    """Return up to `number` different clean spans that resemble attacks."""
    rng = random.Random(f"clean-{seed}")
    return list(_distinct(number, lambda: _clean(rng)))


def compose_written(rounds: int, seed: int) -> list[Example]:
    """Return every span that was written as one, `rounds` times with choices drawn anew, attacks twice as often."""
    rng = random.Random(f"written-{seed}")
    spans: dict[str, Example] = {}
    for line in written() * rounds:
        for _ in range(2 if line.label else 1):
            text = _vary(rng, line.draw(rng)) if line.label else line.draw(rng)
            spans[text] = Example(
                text=text, label=line.label, family=WRITTEN, genre=line.group, lang=line.lang, hard=not line.label
            )
    return list(spans.values())


def phrases_hash() -> str:
    """Hash the phrases that spans are composed of: with the seed and the numbers, they say which."""
    return hash_of([*(phrase_file(f"{name}.yaml") for name in _FILES), *files_in("written")])


def _distinct(number: int, draw: Any) -> Iterator[Example]:
    seen: set[str] = set()
    for _ in range(_MAX_TRIES * number):
        example = draw()
        if example.text not in seen:
            seen.add(example.text)
            yield example
            if len(seen) == number:
                return


@cache
def _bank(name: str) -> dict[str, Any]:
    file = phrase_file(f"{name}.yaml")
    bank: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return bank


def _attack(rng: random.Random) -> Example:
    part = rng.choices(list(_SHARES), weights=list(_SHARES.values()))[0]
    bank = _bank("attacks.en")
    if part == "glued":
        return _glued(rng)
    if part == "composed":
        form = rng.choices(list(_FORMS), weights=list(_FORMS.values()))[0]
        intent = rng.choices(list(_INTENTS), weights=list(_INTENTS.values()))[0]
        text = _english(rng, rng.choice(bank["forms"][form]), intent)
        kind = _KIND_OF_FORM.get(form, BlockKind.PARAGRAPH)
        return Example(text=text, label=True, family=f"composed_{form}", genre=intent, kind=kind)
    if part == "prelude":
        text = _english(rng, rng.choice(bank["prelude"]), "task")
        if rng.random() < 0.6:
            text += " " + _english(rng, rng.choice(bank["ask"]), "task")
        return Example(text=text, label=True, family="composed_prelude", genre="prelude")
    if part == "languages":
        return _attack_in_other_language(rng)
    if part == "orders":
        orders = grammar("orders.en")
        part = rng.choice(list(orders.parts))
        text = _vary(rng, orders.draw(rng, part))
        return Example(text=text, label=True, family=f"composed_{part}", genre=part)
    text = _english(rng, rng.choice(bank[part]), "persona")
    return Example(text=text, label=True, family=f"composed_{part}", genre=part)


def _glued(rng: random.Random) -> Example:
    """An attack behind a harmless sentence, or cut into it without a full stop; often in two languages."""
    words = _clean(rng).text.split()
    attack = _attack(rng)
    cut = rng.randrange(len(words)) if rng.random() < 0.5 else len(words)
    order = attack.text.upper() if rng.random() < 0.2 else attack.text
    text = " ".join([*words[:cut], order, *words[cut:]])
    return Example(text=text, label=True, family="composed_glued", genre=attack.genre, lang=attack.lang)


def _english(rng: random.Random, template: str, intent: str) -> str:
    bank = _bank("attacks.en")

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        lower = slot.lower()
        if lower == "act_opinion":
            chosen = rng.choice(bank["acts"]["opinion"])
        elif lower in ("act", "act2"):
            chosen = rng.choice(bank["acts"][intent if lower == "act" or rng.random() < 0.5 else "canary"])
        elif lower == "strict":
            strictness = rng.choice(bank["strictness"])
            return f"{rng.choice([',', ''])} {strictness}" if strictness else ""
        elif lower == "before_lower":
            return str(rng.choice(bank["before"])).lower()
        elif lower == "a_kind_order":
            kind = rng.choice(bank["kind"])
            article = "an" if kind[0] in "aeiou" else "a"
            return f"{article if slot[0] == 'a' else article.title()} {kind} {rng.choice(bank['order'])}"
        else:
            names = {"override": "overrides", "address": "addresses", "subject": "subjects", "modal": "modals"}
            names |= {"condition": "conditions"}
            chosen = rng.choice(bank[names.get(lower, lower)])
        filled = _SLOT.sub(fill, chosen)
        return _first_upper(filled) if slot[0].isupper() else filled

    text = _SLOT.sub(fill, template).replace("{{", "{").replace("}}", "}")
    return _vary(rng, _first_upper(text) if rng.random() < 0.9 else text)


def _attack_in_other_language(rng: random.Random) -> Example:
    language = rng.choice(list(_bank("other_languages")))
    if rng.random() < 0.5:
        text = grammar("world", "attacks").draw(rng, language)
    else:
        text = _in_language(rng, language, rng.choice(_bank("other_languages")[language]["forms"]))
    if rng.random() < 0.1:
        text = f"<!-- {text} -->"
    return Example(text=text, label=True, family="composed_languages", genre="languages", lang=language)


def _in_language(rng: random.Random, language: str, template: str) -> str:
    bank = _bank("other_languages")[language]

    def fill(match: re.Match[str]) -> str:
        slot = match[1]
        lower = slot.lower()
        if lower == "attack":
            chosen = rng.choice(bank["acts"] + bank["overrides"])
        else:
            plurals = {"act": "acts", "override": "overrides", "address": "addresses"}
            plurals |= {"rule": "rules", "condition": "conditions"}
            chosen = rng.choice(bank[plurals.get(lower, lower)])
        filled = _SLOT.sub(fill, chosen)
        return _first_upper(filled) if slot[0].isupper() else filled

    text = _SLOT.sub(fill, template)
    # An empty strictness leaves its comma behind.
    return re.sub(r"[,，、،] ?([.。])$", r"\1", text)


def _clean(rng: random.Random) -> Example:
    if rng.random() < _LANGUAGES_SHARE:
        language = rng.choice(list(_bank("other_languages")))
        if rng.random() < 0.7:
            hard = rng.random() < 0.35
            text = grammar("world", "hard" if hard else "ordinary").draw(rng, language)
            return Example(text=text, label=False, family="composed_world", genre="world", lang=language, hard=hard)
        genre = rng.choices(["clean", "about", "quoted"], weights=[6, 2, 2])[0]
        text = _in_language(rng, language, rng.choice(_bank("other_languages")[language][genre]))
        return Example(text=text, label=False, family=f"composed_{genre}", genre=genre, lang=language, hard=True)
    if rng.random() < _PEOPLE_SHARE:
        return _among_people(rng)
    bank = _bank("clean.en")
    genres = [name for name in bank if name not in _SLOT_LISTS_OF_CLEAN]
    genre = rng.choices(genres, weights=[len(bank[name]) for name in genres])[0]
    template = rng.choice(bank[genre])

    def fill(match: re.Match[str]) -> str:
        if match[1] == "attack" and rng.random() < 0.7:
            attacks = _bank("attacks.en")
            return _english(rng, rng.choice(attacks["forms"]["plain"]), rng.choice(list(attacks["acts"]))).rstrip(".")
        return str(rng.choice(bank[match[1]]))

    text = _first_upper(_SLOT.sub(fill, template))
    return Example(text=text, label=False, family=f"composed_{genre}", genre=genre, hard=True)


def _among_people(rng: random.Random) -> Example:
    hard = rng.random() < _HARD_SHARE
    people = grammar("people.en", "hard" if hard else "ordinary")
    genre = rng.choice(list(people.parts))
    return Example(text=people.draw(rng, genre), label=False, family=f"composed_{genre}", genre=genre, hard=hard)


def _vary(rng: random.Random, text: str) -> str:
    """Shout, mumble or leave the full stop out now and then, as people do."""
    roll = rng.random()
    if roll < 0.04:
        return text.upper()
    if roll < 0.08:
        return text.lower()
    if roll < 0.12:
        return text.rstrip(".") + "!"
    if roll < 0.2:
        return text.rstrip(".")
    return text


def _first_upper(text: str) -> str:
    return text[:1].upper() + text[1:]
