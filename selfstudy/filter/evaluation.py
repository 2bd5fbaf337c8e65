"""How well a judge separates: recall per attack family, share of clean text kept per genre, speed.

Reads labelled spans (see `examples`) and their scores. Families with fewer than 50 rows are listed, not averaged.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.examples import Example
from selfstudy.filter.judge import Context, Judge

MIN_FAMILY_ROWS = 50
_BATCH = 512
_FALSE_POSITIVE_SHARES = (0.001, 0.005, 0.01)
Scores = NDArray[np.float64]


def score_texts(judge: Judge, examples: Sequence[Example]) -> tuple[Scores, float]:
    """Return the scores and the spans per second of process time (one core)."""
    contexts = [Context(example.text, kind=example.kind) for example in examples]
    start = time.process_time()
    scores = [
        verdict.score
        for first in range(0, len(contexts), _BATCH)
        for verdict in judge.score(contexts[first : first + _BATCH])
    ]
    elapsed = time.process_time() - start
    return np.array(scores, dtype=np.float64), len(scores) / max(elapsed, 1e-9)


def evaluate(examples: Sequence[Example], scores: Scores, threshold: float) -> dict[str, Any]:
    """Return the figures as plain values; shares are of rows, and None where there are no rows."""
    labels = np.array([example.label for example in examples], dtype=bool)
    flagged = scores >= threshold
    families = _shares(examples, flagged, labels, lambda example: example.family)
    genres = _shares(examples, ~flagged, ~labels, lambda example: example.genre)
    hard = np.array([example.hard for example in examples], dtype=bool)
    averaged = [share for share, rows in families.values() if rows >= MIN_FAMILY_ROWS]
    return {
        "threshold": threshold,
        "num_attacks": int(labels.sum()),
        "num_clean": int((~labels).sum()),
        "macro_recall": float(np.mean(averaged)) if averaged else None,
        "recall": _share(flagged, labels),
        "clean_kept": _share(~flagged, ~labels),
        "ordinary_clean_kept": _share(~flagged, ~labels & ~hard),
        "hard_clean_kept": _share(~flagged, ~labels & hard),
        "auc": _auc(scores, labels),
        "recall_at_false_positives": {
            str(share): _recall_at(scores, labels, share) for share in _FALSE_POSITIVE_SHARES
        },
        "families": {
            name: {"rows": rows, "recall": share, "averaged": rows >= MIN_FAMILY_ROWS}
            for name, (share, rows) in families.items()
        },
        "genres": {name: {"rows": rows, "kept": share} for name, (share, rows) in genres.items()},
    }


def _shares(
    examples: Sequence[Example], hits: NDArray[np.bool_], chosen: NDArray[np.bool_], key: Any
) -> dict[str, tuple[float, int]]:
    groups: dict[str, list[bool]] = {}
    for index in np.flatnonzero(chosen):
        groups.setdefault(key(examples[int(index)]), []).append(bool(hits[index]))
    return {name: (sum(group) / len(group), len(group)) for name, group in sorted(groups.items())}


def _share(hits: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> float | None:
    return float(hits[chosen].mean()) if chosen.any() else None


def _auc(scores: Scores, labels: NDArray[np.bool_]) -> float | None:
    """Return the chance that an attack scores above a clean span; ties count half."""
    positives, negatives = scores[labels], np.sort(scores[~labels])
    if not len(positives) or not len(negatives):
        return None
    below = np.searchsorted(negatives, positives, side="left")
    not_above = np.searchsorted(negatives, positives, side="right")
    return float((below + not_above).mean() / 2 / len(negatives))


def _recall_at(scores: Scores, labels: NDArray[np.bool_], share: float) -> float | None:
    """Return the recall when at most `share` of the clean spans score above the threshold."""
    if not labels.any() or labels.all():
        return None
    negatives = np.sort(scores[~labels])[::-1]
    threshold = negatives[min(len(negatives) - 1, int(share * len(negatives)))]
    return float((scores[labels] > threshold).mean())
