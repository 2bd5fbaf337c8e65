"""The keyword-and-regex judge: no model, no state, many languages.

Each rule is a pattern for one thing that instructions to a model do and documents for people rarely do: cancel
what was said before, address the machine, fix the answer, hide, put on a role, ask for the prompt. A rule alone
is evidence; rules add up as independent evidence would (noisy or), and so does where the span stands. Words that
report an instruction rather than give it ("attackers write ...") weigh against what stands in quotes.

It does not decide by single words: a text about prompting uses all of them. It misses what avoids its
vocabulary; that is what the trained judge is for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from selfstudy.filter import patterns
from selfstudy.filter.judge import BlockKind, Context, Verdict, verdict
from selfstudy.filter.normalise import views

RULES_VERSION = "7"
# Instructions that no reader is meant to see have no business in these places.
_HIDING_PLACES = {BlockKind.COMMENT, BlockKind.TURN, BlockKind.MARKUP, BlockKind.TITLE}
_WEIGHT_OF_PLACE = 0.25
_WEIGHT_OF_NEIGHBOUR = 0.35
_REPORTED_SHARE = 0.4


@dataclass(frozen=True)
class RulesJudge:
    """See the module. Stateless, so that any batch gives the same verdicts."""

    @property
    def name(self) -> str:
        return f"rules/{RULES_VERSION}"

    def score(self, batch: Sequence[Context]) -> list[Verdict]:
        return [self._judge(context) for context in batch]

    def _judge(self, context: Context) -> Verdict:
        best, best_rule = 0.0, "none"
        for reading, text in enumerate(views(context.text)):
            score, rule = self._score(text, context)
            # What was encoded was meant to be hidden.
            if reading and score > 0.2:
                score = max(score, 0.6)
            if score > best:
                best, best_rule = score, rule
        return verdict(best, f"{self.name}:{best_rule}")

    def _score(self, text: str, context: Context) -> tuple[float, str]:
        left, best, best_rule = 1.0, 0.0, "none"
        for rule in patterns.rules_for(text):
            match = rule.pattern.search(text)
            if match is not None:
                weight = rule.weight * (_REPORTED_SHARE if _is_reported(text, match.start()) else 1.0)
                left *= 1.0 - weight
                if weight > best:
                    best, best_rule = weight, rule.name
        if best > 0.0:
            if context.kind in _HIDING_PLACES:
                left *= 1.0 - _WEIGHT_OF_PLACE
            if context.beside_removed:
                left *= 1.0 - _WEIGHT_OF_NEIGHBOUR
        if context.beside_removed and left > 0.5 and patterns.CONTINUATION.match(text):
            return 0.5, "continuation"
        return 1.0 - left, best_rule


def _is_reported(text: str, position: int) -> bool:
    """Whether what stands at `position` is quoted in a text that reports it."""
    marks = [mark.start() for mark in patterns.QUOTATION_MARK.finditer(text)]
    return bool(marks) and marks[0] < position < marks[-1] and patterns.REPORTING.search(text) is not None
