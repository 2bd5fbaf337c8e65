"""The trained judge's network: word pieces -> one number, in numpy alone.

ids [spans, tokens] -> embeddings [spans, tokens, width] -> one convolution over `reach` tokens, rectified
[spans, tokens, filters] -> the maximum over the tokens, beside the mean embedding -> one hidden layer ->
a logit. Filters answer to short phrases ("in your answer", "do not tell the"); the hidden layer weighs which of
them occur together. A span of padding alone has the logit of an empty text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
PADDING = -1
_BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Weights:
    """`table` [ids, width], `filters` [reach * width, filters], `hidden` [filters + width, units], `output` [units]."""

    table: Floats
    filters: Floats
    filters_bias: Floats
    hidden: Floats
    hidden_bias: Floats
    output: Floats
    output_bias: Floats

    @property
    def width(self) -> int:
        return int(self.table.shape[1])

    @property
    def reach(self) -> int:
        return int(self.filters.shape[0]) // self.width

    def copy(self) -> Weights:
        return Weights(**{field.name: getattr(self, field.name).copy() for field in fields(self)})


def pad(rows: Sequence[Sequence[int]]) -> Ints:
    """Return ids as a rectangle, filled with PADDING on the right."""
    longest = max(1, max((len(row) for row in rows), default=1))
    padded = np.full((len(rows), longest), PADDING, dtype=np.int32)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = row
    return padded


def embed(weights: Weights, ids: Ints) -> tuple[Floats, Floats, Floats]:
    """Return (windows [spans, tokens, reach * width], mean [spans, width], mask [spans, tokens, 1])."""
    mask = (ids != PADDING)[:, :, None].astype(np.float32)
    vectors = weights.table[ids] * mask
    mean = vectors.sum(axis=1) / np.maximum(mask.sum(axis=1), 1.0)
    margin = weights.reach // 2
    framed = np.pad(vectors, ((0, 0), (margin, margin), (0, 0)))
    num_tokens = ids.shape[1]
    windows = np.concatenate([framed[:, offset : offset + num_tokens] for offset in range(weights.reach)], axis=2)
    return windows, mean, mask


def logits_of(weights: Weights, rows: Sequence[Sequence[int]]) -> Floats:
    """Return one logit per row of ids. Rows of equal length share a matrix product; order is kept.

    A row's logit depends on the row alone up to rounding: scores are rounded to 4 decimals above.
    """
    logits = np.empty(len(rows), dtype=np.float32)
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    start = 0
    while start < len(order):
        stop = start + 1
        # As many rows as fit when all are as long as the longest of them.
        while stop < len(order) and (stop + 1 - start) * max(1, len(rows[order[stop]])) <= _BATCH_TOKENS:
            stop += 1
        batch = order[start:stop]
        logits[batch] = _forward(weights, pad([rows[index] for index in batch]))
        start = stop
    return logits


def _forward(weights: Weights, ids: Ints) -> Floats:
    windows, mean, mask = embed(weights, ids)
    activations = windows @ weights.filters
    activations += weights.filters_bias
    strongest = np.maximum((activations * mask).max(axis=1), 0.0)
    pooled = np.concatenate([strongest, mean], axis=1)
    units = np.maximum(pooled @ weights.hidden + weights.hidden_bias, 0.0)
    result: Floats = units @ weights.output + weights.output_bias[0]
    return result
