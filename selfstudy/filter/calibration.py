"""Logits -> scores with a meaning: at a threshold of t, at most 0.002 ** (2 t) of clean sentences are lost.

So 0.5, the default, loses two in a thousand, 0.4 seven, 0.6 one in seventeen hundred: together with the rules, which
are asked beside the model by default and lose a little of their own. The curve comes from logits of clean spans of
families that the model had not seen (cross-validation). Beyond the rarest one that the sample can show, the tail goes
on as straight as it was: a score there is an extrapolation. Where hard clean text (orders to people, text about
prompting) would lose more than eight in a thousand at 0.5, the whole curve is moved until it does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HALF = 0.5
_SHARE_AT_HALF = 0.002
# Labelled hard text is kinder than a user's: at one in a hundred of it, documents lost a third more.
_SHARE_OF_HARD_AT_HALF = 0.008
_SHARES = np.array([0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005])


@dataclass(frozen=True, slots=True)
class Calibration:
    """A monotone curve through (logits, scores), straight beyond its ends."""

    logits: tuple[float, ...]
    scores: tuple[float, ...]

    def scores_of(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return scores clipped to [0, 1]."""
        x, y = np.array(self.logits), np.array(self.scores)
        inside = np.interp(logits, x, y)
        slope = (y[-1] - y[-3]) / (x[-1] - x[-3])
        above = y[-1] + (logits - x[-1]) * slope
        below = y[0] * np.exp(np.minimum(0.0, logits - x[0]))
        result: NDArray[np.float64] = np.where(logits > x[-1], above, np.where(logits < x[0], below, inside))
        return np.clip(result, 0.0, 1.0)


def expected_share_lost(threshold: float) -> float:
    """Return the share of clean sentences that score at least `threshold`."""
    return float(_SHARE_AT_HALF ** (2 * threshold))


def calibrate(
    clean_logits: NDArray[np.float32],
    clean_by_rules: NDArray[np.float64],
    hard_logits: NDArray[np.float32],
    hard_by_rules: NDArray[np.float64],
) -> Calibration:
    """Fit the curve to unseen ordinary clean spans (at least 2,000 for the rarest point) and hard ones (any number):
    their logits, and the rules' scores.

    What the rules alone would remove counts as lost at each threshold, since the default asks both judges.
    """
    shares = _SHARES[_SHARES * len(clean_logits) >= 1.0]
    scores = np.log(shares) / (2 * np.log(_SHARE_AT_HALF))
    rarer = [
        _exceeded_by(share, clean_logits, clean_by_rules >= score) for share, score in zip(shares, scores, strict=True)
    ]
    # Equal logits would make the curve vertical.
    logits = np.maximum.accumulate(np.array(rarer) + 1e-4 * np.arange(len(rarer)))
    if _SHARE_OF_HARD_AT_HALF * len(hard_logits) >= 1.0:
        border = _exceeded_by(_SHARE_OF_HARD_AT_HALF, hard_logits, hard_by_rules >= _HALF)
        logits += max(0.0, border - float(np.interp(_HALF, scores, logits)))
    return Calibration(tuple(round(float(x), 5) for x in logits), tuple(round(float(y), 5) for y in scores))


def _exceeded_by(share: float, logits: NDArray[np.float32], lost: NDArray[np.bool_]) -> float:
    """Return the logit that such a share of the spans exceeds, those that are lost anyway among them."""
    return float(np.quantile(np.where(lost, logits.max() + 1.0, logits), 1 - share, method="higher"))
