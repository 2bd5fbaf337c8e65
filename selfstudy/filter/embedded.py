"""The trained judge: no network, no GPU, one file of a few megabytes.

It reads every reading of a span (see `normalise`) in windows, takes the worst, and knows where the span stands: in a
comment, a chat turn or a title an instruction needs less to be one, and so it does where it speaks of nothing around
it, which the encoder reads though the linear model sees little in it; beside a removed sentence what carries on from it
is judged as its continuation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.features import Featurizer
from selfstudy.filter.judge import BlockKind, Context, Verdict, verdict
from selfstudy.filter.model_file import FilterModel
from selfstudy.filter.normalise import unwrap, views
from selfstudy.filter.topic import kinship

# What a place adds to a score. Chosen by what the place is for, not by data: nobody reads a comment.
_PLACES = {
    BlockKind.COMMENT: 0.06,
    BlockKind.TURN: 0.08,
    BlockKind.MARKUP: 0.08,
    BlockKind.TITLE: 0.04,
    BlockKind.QUOTE: -0.02,
}
# What stands beside an order is one more likely than any other sentence; as much as the clean text beside it bears.
_BESIDE_REMOVED = 0.1
# What it adds that a sentence speaks of nothing around it, and takes away that it speaks of nothing else. Chosen on
# documentation of 22 packages and on 90 documents full of orders to people (see LOG.md).
_APART = 0.15
_OF_KIN = 0.05
# By how much less, in logits, the linear model has to doubt what has no word in common with the text around it for the
# encoder to read it.
_LEEWAY = 2.0
_HIDDEN_READING = 0.12
_LEAST_SCORE = 0.2
# What is shorter orders nothing by itself: "!", "note:", "<!-- end -->". A Chinese character counts as three letters.
_LEAST_LETTERS = 9
_WINDOW_CHARS = 900
_WINDOW_STEP = 450


@dataclass(frozen=True)
class EmbeddedJudge:
    """See the module."""

    model: FilterModel
    _featurizer: Featurizer = field(default_factory=Featurizer, repr=False, compare=False)

    @property
    def name(self) -> str:
        return f"embedded@{self.model.revision}"

    def score(self, batch: Sequence[Context]) -> list[Verdict]:
        # Asked for the few that are doubted at all.
        @cache
        def kin(index: int) -> float:
            return kinship(batch[index].text, batch[index].around) if batch[index].around else 0.0

        texts, owner, is_hidden = _readings(batch)
        scores = self._scores_of(texts, lambda row: kin(int(owner[row])))
        worst = np.zeros(len(batch))
        np.maximum.at(worst, owner[~is_hidden], scores[~is_hidden])
        if is_hidden.any():
            # A reading that says no more than the text itself hides nothing.
            says_more = is_hidden & (scores >= np.maximum(_LEAST_SCORE, worst[owner] + _HIDDEN_READING))
            np.maximum.at(worst, owner[says_more], scores[says_more] + _HIDDEN_READING)
        return [
            # A span that does not look like an instruction at all gains nothing by its place.
            verdict(score if score < _LEAST_SCORE else _in_place(score, context, kin(index)), self.name)
            for index, (score, context) in enumerate(zip(worst.tolist(), batch, strict=True))
        ]

    def _scores_of(self, texts: Sequence[str], kin_of: Callable[[int], float]) -> NDArray[np.float64]:
        """Return a score per folded text, wherever it stands; `kin_of` gives the kinship of the span of one."""
        cascade = self.model.cascade
        coarse = cascade.linear.logits(self._featurizer, texts)
        leeway = np.zeros(len(texts), np.float32)
        for row in map(int, np.flatnonzero(coarse >= cascade.doubt - _LEEWAY)):
            leeway[row] = _LEEWAY * max(0.0, -kin_of(row))
        scores = self.model.calibration.scores_of(cascade.refined(self._featurizer, coarse, texts, leeway))
        return np.where([_num_letters(text) >= _LEAST_LETTERS for text in texts], scores, 0.0)


def _readings(batch: Sequence[Context]) -> tuple[list[str], NDArray[np.int64], NDArray[np.bool_]]:
    """Return the folded texts that the contexts can be read as, in windows, which context each is of, and whether it
    is hidden in it."""
    texts: list[str] = []
    owners: list[int] = []
    hidden: list[bool] = []
    for index, context in enumerate(batch):
        for reading, text in enumerate(views(context.text)):
            for window in _windows(unwrap(text)):
                texts.append(window)
                owners.append(index)
                hidden.append(reading > 0)
    return texts, np.array(owners, np.int64), np.array(hidden, np.bool_)


def _in_place(score: float, context: Context, kin: float) -> float:
    """Return the score of a span where it stands; `kin` is its kinship."""
    score += _PLACES.get(context.kind, 0.0) + (_BESIDE_REMOVED if context.beside_removed else 0.0)
    return score - (_OF_KIN if kin > 0 else _APART) * kin


def _num_letters(text: str) -> int:
    if text.isascii():
        # Nearly every text is long enough; only a short one has to be counted.
        return len(text) if len(text) > 40 else sum(map(str.isalpha, text))
    return sum(3 if char >= "\u3040" else 1 for char in text if char.isalpha())


def _windows(text: str) -> list[str]:
    """Cut a long text into overlapping windows, so that padding cannot thin an instruction out."""
    if len(text) <= _WINDOW_CHARS:
        return [text]
    return [text[start : start + _WINDOW_CHARS] for start in range(0, len(text) - _WINDOW_STEP, _WINDOW_STEP)]
