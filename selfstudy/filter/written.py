"""Spans written one by one, attacks and the clean text beside them: `phrases/written/*.txt`.

A heading, `## attack | de polite-note`, gives the label, the language (English without one) and the group of the lines
below it. A line is a span with choices (`{one|other}`, see `grammar`); `\\n` in it is a line break.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache

from selfstudy.filter.grammar import expand
from selfstudy.filter.phrase_files import files_in

# A span may begin with "## " too, but not like these.
_HEADINGS = ("## attack |", "## clean |")
_HEADING = re.compile(r"## (?P<label>attack|clean) \| (?:(?P<lang>[a-z]{2}) )?(?P<group>\S+)")


@dataclass(frozen=True, slots=True)
class Written:
    """One line. `label` is True for an attack."""

    label: bool
    lang: str
    group: str
    template: str

    def draw(self, rng: random.Random) -> str:
        return expand(rng, self.template, {}, english=self.lang == "en").replace("\\n", "\n")


@cache
def written() -> tuple[Written, ...]:
    """Return all lines, in the order of the files."""
    lines: list[Written] = []
    for file in files_in("written"):
        label, lang, group = False, "en", ""
        for line in file.read_text(encoding="utf-8").split("\n"):
            if heading := _HEADING.fullmatch(line):
                label, lang, group = heading["label"] == "attack", heading["lang"] or "", heading["group"]
            elif line.startswith(_HEADINGS):
                raise ValueError(f"{file.name}: no heading: {line!r}")
            elif line.strip():
                lines.append(Written(label, lang or "en", group, line.strip()))
    return tuple(lines)
