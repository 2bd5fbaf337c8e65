"""Several judges as one: a span is as instruction-like as the strictest of them says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from selfstudy.filter.judge import Context, Judge, Verdict


@dataclass(frozen=True)
class CombinedJudge:
    judges: tuple[Judge, ...]

    @property
    def name(self) -> str:
        return "+".join(judge.name for judge in self.judges)

    def score(self, batch: Sequence[Context]) -> list[Verdict]:
        columns = [judge.score(batch) for judge in self.judges]
        # The first of equal verdicts, so that the order in the config decides.
        return [max(row, key=lambda verdict: verdict.score) for row in zip(*columns, strict=True)]
