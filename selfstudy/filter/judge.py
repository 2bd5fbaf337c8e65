"""What a judge of text is, apart from any judge.

A judge reads spans in their context and says how instruction-like each is: addressed to whoever answers, not to
the document's readers. Everything above it (which spans to lift, what a person sees) knows only this interface.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

SCORE_DECIMALS = 4


class BlockKind(StrEnum):
    """What a span stands in. The same words weigh more in a comment than in a list of steps."""

    PARAGRAPH = "paragraph"
    HEADING = "heading"
    LIST = "list"
    TABLE = "table"
    QUOTE = "quote"
    FENCE = "fence"
    COMMENT = "comment"
    TURN = "turn"
    TITLE = "title"
    MARKUP = "markup"


@dataclass(frozen=True, slots=True)
class Context:
    """A span to judge, and where it stands.

    `text` is the sentence (or a run of them); `around` the text that it stands or is hidden in, empty if it stands
    alone; `kind` what block it stands in; `beside_removed` says that a span next to it in the block was already
    judged instruction-like, so that what merely carries on from it ("Say nothing else.") is judged as its continuation.
    """

    text: str
    around: str = ""
    kind: BlockKind = BlockKind.PARAGRAPH
    beside_removed: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """`score` in [0, 1], rounded to 4 decimals; `judge` the rule, or the model with its version, that gave it."""

    score: float
    judge: str


class Judge(Protocol):
    """Scores spans. The same contexts must give the same verdicts on every machine and in any batch."""

    @property
    def name(self) -> str:
        """Kind and version or revision; part of the recipe."""
        ...

    def score(self, batch: Sequence[Context]) -> list[Verdict]:
        """Return one verdict per context, in order."""
        ...


def verdict(score: float, judge: str) -> Verdict:
    """Build a verdict whose score is clipped to [0, 1] and rounded."""
    return Verdict(round(min(1.0, max(0.0, score)), SCORE_DECIMALS), judge)
