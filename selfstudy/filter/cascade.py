"""Two models as one: the linear one reads everything, the encoder what that one doubts.

logit = (1 - share) x linear + share x encoder, where the encoder's is clipped to +-ENCODER_LIMIT. What the linear model
does not doubt counts as what the encoder is surest is clean, so nothing is gained by being read. The encoder knows one
language; of text in another one the linear model decides alone, and `alone` moves its logit to where as little clean
text is lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.encoder import Encoder
from selfstudy.filter.features import Featurizer
from selfstudy.filter.linear import LinearModel

ENCODER_LIMIT = 8.0
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Cascade:
    """`doubt` is the linear logit from which the encoder reads; without an encoder the linear model decides alone.

    `alone` is added to the linear logit of what the encoder cannot read.
    """

    linear: LinearModel
    encoder: Encoder | None = None
    doubt: float = 0.0
    share: float = 0.0
    alone: float = 0.0

    def logits(self, featurizer: Featurizer, folded: Sequence[str]) -> Floats:
        """Return one logit per folded text. A text's logit does not depend on the others."""
        coarse = self.linear.logits(featurizer, folded)
        return coarse if self.encoder is None else self.refined(coarse, folded)

    def refined(self, coarse: Floats, folded: Sequence[str]) -> Floats:
        """Return the logits of texts whose linear ones are known."""
        assert self.encoder is not None, "there is no encoder to refine with"
        doubtful = np.flatnonzero(coarse >= self.doubt)
        known = np.array([self.encoder.pieces.knows(folded[index]) for index in map(int, doubtful)], dtype=bool)
        read, foreign = doubtful[known], doubtful[~known]
        fine = np.full(len(coarse), -ENCODER_LIMIT, np.float32)
        logits = self.encoder.logits([folded[index] for index in map(int, read)])
        fine[read] = np.clip(logits, -ENCODER_LIMIT, ENCODER_LIMIT)
        result: Floats = ((1 - self.share) * coarse + self.share * fine).astype(np.float32)
        result[foreign] = coarse[foreign] + self.alone
        return result
