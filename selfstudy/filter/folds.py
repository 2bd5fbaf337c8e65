"""Labelled spans -> the fold that leaves each of them out, by families.

Families named composed_... and mined_... are always in training and never measured.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.evaluation import MIN_FAMILY_ROWS
from selfstudy.filter.examples import Example

COMPOSED = "composed_"
MINED = "mined_"
_ALWAYS_SEEN_FAMILIES = (COMPOSED, MINED)
_IN_EVERY_FOLD = -1


def folds_of(examples: Sequence[Example]) -> NDArray[np.int64]:
    """Return the fold that leaves each example out, -1 for those that are always in training."""
    sizes: dict[str, int] = {}
    for example in examples:
        if example.label and not example.family.startswith(_ALWAYS_SEEN_FAMILIES):
            sizes[example.family] = sizes.get(example.family, 0) + 1
    large = sorted(name for name, size in sizes.items() if size >= MIN_FAMILY_ROWS)
    number_of = {name: number for number, name in enumerate(large)}
    num_folds = len(large) + (1 if len(sizes) > len(large) else 0)

    def fold_of(example: Example) -> int:
        if example.family.startswith(_ALWAYS_SEEN_FAMILIES) or num_folds == 0:
            return _IN_EVERY_FOLD
        if example.label:
            return number_of.get(example.family, len(large))
        return zlib.crc32(example.family.encode()) % num_folds

    return np.array([fold_of(example) for example in examples], dtype=np.int64)
