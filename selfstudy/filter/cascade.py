"""Two models as one: the linear one reads everything, the encoder what that one doubts.

logit = (1 - share) x linear + share x encoder, where the encoder's is clipped to +-ENCODER_LIMIT. What the linear model
does not doubt counts as what the encoder is surest is clean, so nothing is gained by being read.
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
    """`doubt` is the linear logit from which the encoder reads; without an encoder the linear model decides alone."""

    linear: LinearModel
    encoder: Encoder | None = None
    doubt: float = 0.0
    share: float = 0.0

    def logits(self, featurizer: Featurizer, folded: Sequence[str]) -> Floats:
        """Return one logit per folded text. A text's logit does not depend on the others."""
        coarse = self.linear.logits(featurizer, folded)
        return coarse if self.encoder is None else self.refined(coarse, folded)

    def refined(self, coarse: Floats, folded: Sequence[str]) -> Floats:
        """Return the logits of texts whose linear ones are known."""
        assert self.encoder is not None, "there is no encoder to refine with"
        fine = np.full(len(coarse), -ENCODER_LIMIT, np.float32)
        doubtful = np.flatnonzero(coarse >= self.doubt)
        read = self.encoder.logits([folded[index] for index in map(int, doubtful)])
        fine[doubtful] = np.clip(read, -ENCODER_LIMIT, ENCODER_LIMIT)
        result: Floats = ((1 - self.share) * coarse + self.share * fine).astype(np.float32)
        return result
