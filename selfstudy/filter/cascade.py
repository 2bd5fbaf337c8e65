"""Two models as one: the linear one reads everything, the encoder what that one doubts.

logit = (1 - share) x linear + share x encoder, where the encoder's is clipped to +-ENCODER_LIMIT. What the linear model
does not doubt counts as what the encoder is surest is clean, so nothing is gained by being read; who knows more of a
text than its words can have it read all the same. Of text that the encoder can read neither as it is nor in rough
English (see `gloss`) the linear model decides alone. Shifts move the logits of that and of foreign text to where as
little clean text is lost. A text that is doubted is as bad as its worst sentence, so that none hides behind another.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.encoder import Encoder
from selfstudy.filter.features import Featurizer
from selfstudy.filter.linear import LinearModel, sentences_of
from selfstudy.filter.word_pieces import Reading

ENCODER_LIMIT = 8.0
# With 1, speeches of a novel went whole for one of their sentences.
_PER_SENTENCE = 2.0
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Cascade:
    """`doubt` is the linear logit from which the encoder reads; without an encoder the linear model decides alone.

    `foreign_shift` is added to the logit of what is read in rough English, `unread_shift` to the linear one of what
    cannot be read.
    """

    linear: LinearModel
    encoder: Encoder | None = None
    doubt: float = 0.0
    share: float = 0.0
    foreign_shift: float = 0.0
    unread_shift: float = 0.0

    def logits(self, featurizer: Featurizer, folded: Sequence[str]) -> Floats:
        """Return one logit per folded text. A text's logit does not depend on the others."""
        return self.refined(featurizer, self.linear.logits(featurizer, folded), folded)

    def refined(
        self, featurizer: Featurizer, coarse: Floats, folded: Sequence[str], leeway: Floats | None = None
    ) -> Floats:
        """Return the logits of texts whose linear ones are known; `leeway` is how much less than the usual doubt is
        enough for a text to be read."""
        if self.encoder is None:
            return coarse
        doubt = self.doubt - (np.zeros(len(coarse), np.float32) if leeway is None else leeway)
        result = self._of_both(coarse, folded, doubt)
        owners: list[int] = []
        sentences: list[str] = []
        handicaps: list[float] = []
        for owner in map(int, np.flatnonzero(coarse >= doubt)):
            parts = sentences_of(folded[owner])
            owners += [owner] * len(parts)
            sentences += parts
            # n sentences have n chances to be wrong, and take all of a speech with them, so each has to say more.
            handicaps += [_PER_SENTENCE * math.log(max(1, len(parts)))] * len(parts)
        if sentences:
            alone = self._of_both(self.linear.logits(featurizer, sentences), sentences, doubt[owners])
            np.maximum.at(result, owners, alone - np.array(handicaps, np.float32))
        return result

    def _of_both(self, coarse: Floats, folded: Sequence[str], doubt: Floats) -> Floats:
        assert self.encoder is not None, "there is no encoder to refine with"
        doubtful = np.flatnonzero(coarse >= doubt)
        readings = [self.encoder.pieces.reading(folded[index]) for index in map(int, doubtful)]
        known = np.array([reading is not None for reading in readings], dtype=bool)
        fine = np.full(len(coarse), -ENCODER_LIMIT, np.float32)
        logits = self.encoder.logits([reading.text for reading in readings if reading])
        fine[doubtful[known]] = np.clip(logits, -ENCODER_LIMIT, ENCODER_LIMIT)
        result: Floats = ((1 - self.share) * coarse + self.share * fine).astype(np.float32)
        result[doubtful[~known]] = coarse[doubtful[~known]]
        result[doubtful] += np.array([self._shift(reading) for reading in readings], np.float32)
        return result

    def _shift(self, reading: Reading | None) -> float:
        if reading is None:
            return self.unread_shift
        return self.foreign_shift if reading.foreign else 0.0
