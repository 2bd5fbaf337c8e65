"""A grammar of phrases -> texts.

`{name}` stands for one of the list of that name, `{one|other}` for one of what it says, from the inside out; a name
that begins with a capital begins its text with one. `parts` holds the templates that texts are drawn from.
"""

import random
import re
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import yaml

from selfstudy.filter.phrase_files import phrase_file

# A name or a choice; other braces, as in JSON, stay as they are.
_SLOT = re.compile(r"\{(\w+|[^{}]*\|[^{}]*)\}")
# A capital that begins no sentence is a letter, as in "section A is".
_ARTICLE = re.compile(r"""(\ba|(?:^|(?<=[\n"'(])|(?<=[.!?:] ))A) (?=(?!us|uni|u\b|eu|one)[aeiou])""")
_SPACES = re.compile(r" {2,}")


class Grammar:
    """The lists and parts of `phrases/NAME.yaml`, of one of its `sections` where it has several."""

    def __init__(self, name: str, section: str = "parts") -> None:
        file = phrase_file(f"{name}.yaml")
        content: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        self._lists: dict[str, list[str]] = {key: value for key, value in content.items() if isinstance(value, list)}
        self._english = name.endswith(".en")
        self.parts: dict[str, list[str]] = content[section]

    def draw(self, rng: random.Random, part: str) -> str:
        """Return a text of the part."""
        text = expand(rng, rng.choice(self.parts[part]), self._lists, english=self._english)
        return text[:1].upper() + text[1:]


def expand(rng: random.Random, template: str, lists: Mapping[str, Sequence[str]], *, english: bool) -> str:
    """Return the template with every slot filled; English ones with the article that fits what fills them."""

    def fill(match: re.Match[str]) -> str:
        slot: str = match[1]
        if "|" in slot:
            return rng.choice(slot.split("|"))
        filled = rng.choice(lists[slot.lower()])
        # The capital belongs to the first letter, which may still stand inside a choice.
        return _with_capitals(filled) if slot[:1].isupper() else filled

    while _SLOT.search(template):
        template = _SLOT.sub(fill, template)
    text: str = _ARTICLE.sub(r"\1n ", template) if english else template
    return _SPACES.sub(" ", text).replace(" .", ".").replace(" ,", ",").strip()


def _with_capitals(template: str) -> str:
    """Capitalise the first letter of a template; of each choice where it begins with one."""
    if not template.startswith("{"):
        return template[:1].upper() + template[1:]
    depths = accumulate((char == "{") - (char == "}") for char in template)
    end = next(place for place, depth in enumerate(depths) if depth == 0)
    inside = template[1:end]
    if "|" not in inside:
        return "{" + inside[:1].upper() + inside[1:] + template[end:]
    return "{" + "|".join(_with_capitals(option) for option in _options(inside)) + template[end:]


def _options(inside: str) -> list[str]:
    """Split at the bars that stand outside inner braces."""
    options, depth = [""], 0
    for char in inside:
        depth += (char == "{") - (char == "}")
        if char == "|" and depth == 0:
            options.append("")
        else:
            options[-1] += char
    return options


@cache
def grammar(name: str, section: str = "parts") -> Grammar:
    return Grammar(name, section)
