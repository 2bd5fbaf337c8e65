"""Fits the network of `network` with Adam and hand-written gradients, in numpy alone.

Deterministic: the same examples, settings and numpy give the same weights. It starts from an embedding table
(the shipped model's, or any other with the same vocabulary), so that words it never saw in training have
neighbours that it did see.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.network import PADDING, Floats, Ints, Weights, embed, pad

log = logging.getLogger(__name__)
_BETA1, _BETA2, _EPSILON = 0.9, 0.98, 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """`word_dropout` and `unit_dropout` are shares; `table_rate` the learning rate of the embeddings."""

    epochs: int = 5
    batch: int = 128
    rate: float = 1.5e-3
    table_rate: float = 5e-4
    filters: int = 128
    units: int = 64
    reach: int = 5
    word_dropout: float = 0.1
    unit_dropout: float = 0.3
    label_smoothing: float = 0.01
    seed: int = 0


def fit(
    table: Floats, rows: Sequence[Sequence[int]], labels: Floats, importance: Floats, settings: TrainingSettings
) -> Weights:
    """Return weights fitted to `rows` of ids with `labels` (0 or 1) and the `importance` of each."""
    rng = np.random.default_rng(settings.seed)
    weights = _initial(table, settings, rng)
    optimizer = _Adam(weights, settings)
    num_steps = settings.epochs * -(-len(rows) // settings.batch)
    step = 0
    for epoch in range(settings.epochs):
        losses = []
        for batch in _batches(rows, settings, rng):
            rate = _rate_at(step, num_steps)
            losses.append(
                _step(
                    weights, optimizer, [rows[i] for i in batch], labels[batch], importance[batch], rate, settings, rng
                )
            )
            step += 1
        log.info("epoch %d: loss %.4f", epoch + 1, float(np.mean(losses)))
    return weights


def _initial(table: Floats, settings: TrainingSettings, rng: np.random.Generator) -> Weights:
    width = table.shape[1]

    def random(rows: int, columns: int) -> Floats:
        return (rng.standard_normal((rows, columns)) * np.sqrt(2.0 / rows)).astype(np.float32)

    return Weights(
        table=table.copy(),
        filters=random(settings.reach * width, settings.filters),
        filters_bias=np.zeros(settings.filters, np.float32),
        hidden=random(settings.filters + width, settings.units),
        hidden_bias=np.zeros(settings.units, np.float32),
        output=random(settings.units, 1)[:, 0],
        output_bias=np.full(1, -1.0, np.float32),
    )


def _batches(
    rows: Sequence[Sequence[int]], settings: TrainingSettings, rng: np.random.Generator
) -> Iterator[NDArray[np.intp]]:
    """Yield batches of rows of similar length, in random order."""
    noise = rng.random(len(rows))
    lengths = np.array([len(row) for row in rows])
    order = np.lexsort((noise, lengths + rng.integers(0, 8, len(rows))))
    starts = rng.permutation(np.arange(0, len(rows), settings.batch))
    for start in starts:
        yield order[start : start + settings.batch]


def _rate_at(step: int, num_steps: int) -> float:
    """Warm up over the first twentieth, then fall to nothing along a cosine."""
    warm = max(1, num_steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1.0 + float(np.cos(np.pi * (step - warm) / max(1, num_steps - warm))))


def _step(
    weights: Weights,
    optimizer: _Adam,
    rows: Sequence[Sequence[int]],
    labels: Floats,
    importance: Floats,
    rate: float,
    settings: TrainingSettings,
    rng: np.random.Generator,
) -> float:
    ids = pad(rows)
    dropped = rng.random(ids.shape) < settings.word_dropout
    # A dropped word becomes one of the hashed ids, which stand for words that nobody knows.
    unknown = rng.integers(weights.table.shape[0] - 1024, weights.table.shape[0], ids.shape, dtype=np.int32)
    ids = np.where(dropped & (ids != PADDING), unknown, ids)
    windows, mean, mask = embed(weights, ids)
    activations = windows @ weights.filters + weights.filters_bias
    activations = np.where(mask > 0, activations, -1e9)
    where = activations.argmax(axis=1)
    strongest = np.maximum(np.take_along_axis(activations, where[:, None, :], axis=1)[:, 0], 0.0)
    pooled = np.concatenate([strongest, mean], axis=1)
    kept = (rng.random(pooled.shape) >= settings.unit_dropout).astype(np.float32) / (1.0 - settings.unit_dropout)
    pooled_kept = pooled * kept
    units = np.maximum(pooled_kept @ weights.hidden + weights.hidden_bias, 0.0)
    logits = units @ weights.output + weights.output_bias[0]
    probabilities = 1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30)))
    targets = labels * (1 - 2 * settings.label_smoothing) + settings.label_smoothing
    loss = float(np.mean(importance * (np.logaddexp(0, logits) - targets * logits)))

    d_logits = (importance * (probabilities - targets) / len(rows)).astype(np.float32)
    d_units = np.outer(d_logits, weights.output) * (units > 0)
    d_pooled = (d_units @ weights.hidden.T) * kept
    num_filters = strongest.shape[1]
    d_strongest = d_pooled[:, :num_filters] * (strongest > 0)
    d_activations = np.zeros_like(activations)
    np.put_along_axis(d_activations, where[:, None, :], d_strongest[:, None, :], axis=1)
    flat = d_activations.reshape(-1, num_filters)
    d_windows = (flat @ weights.filters.T).reshape(windows.shape)
    num_tokens = mask.sum(axis=1, keepdims=True)
    d_vectors = d_pooled[:, None, num_filters:] * mask / np.maximum(num_tokens, 1.0)
    d_vectors += _fold(d_windows, weights.reach, weights.width) * mask
    optimizer.update(
        Weights(
            table=d_vectors.reshape(-1, weights.width),
            filters=windows.reshape(len(flat), -1).T @ flat,
            filters_bias=flat.sum(axis=0),
            hidden=pooled_kept.T @ d_units,
            hidden_bias=d_units.sum(axis=0),
            output=units.T @ d_logits,
            output_bias=d_logits.sum(keepdims=True),
        ),
        ids.reshape(-1),
        rate,
    )
    return loss


def _fold(d_windows: Floats, reach: int, width: int) -> Floats:
    """Sum the gradients of the windows onto the tokens that they overlap."""
    num_spans, num_tokens, _ = d_windows.shape
    margin = reach // 2
    framed = np.zeros((num_spans, num_tokens + 2 * margin, width), np.float32)
    for offset in range(reach):
        framed[:, offset : offset + num_tokens] += d_windows[:, :, offset * width : (offset + 1) * width]
    return framed[:, margin : margin + num_tokens]


class _Adam:
    """Adam; the embedding table is updated only in the rows that a batch touched."""

    def __init__(self, weights: Weights, settings: TrainingSettings) -> None:
        self.weights = weights
        self.settings = settings
        self.first = {field.name: np.zeros_like(getattr(weights, field.name)) for field in fields(weights)}
        self.second = {field.name: np.zeros_like(getattr(weights, field.name)) for field in fields(weights)}
        self.steps = 0

    def update(self, gradients: Weights, ids: Ints, rate: float) -> None:
        self.steps += 1
        for field in fields(gradients):
            if field.name != "table":
                self._apply(field.name, slice(None), getattr(gradients, field.name), rate * self.settings.rate)
        used = np.flatnonzero(ids != PADDING)
        order = used[np.argsort(ids[used], kind="stable")]
        touched, starts = np.unique(ids[order], return_index=True)
        sums = np.add.reduceat(gradients.table[order], starts, axis=0)
        self._apply("table", touched, sums, rate * self.settings.table_rate)

    def _apply(self, name: str, rows: slice | Ints, gradient: Floats, rate: float) -> None:
        first, second = self.first[name], self.second[name]
        first[rows] = _BETA1 * first[rows] + (1 - _BETA1) * gradient
        second[rows] = _BETA2 * second[rows] + (1 - _BETA2) * gradient**2
        unbiased = np.sqrt(second[rows] / (1 - _BETA2 ** min(self.steps, 10_000))) + _EPSILON
        getattr(self.weights, name)[rows] -= rate * first[rows] / (1 - _BETA1 ** min(self.steps, 1_000)) / unbiased
