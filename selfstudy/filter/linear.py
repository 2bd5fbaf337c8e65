"""The trained judge's model: a linear one over hashed features, and how it is fitted.

logit = bias + (sum of the weights of the words / sqrt of their number) + the same of the parts. Fitted by AdaGrad in
small batches; in a share of the cases the words are left out, so that the parts learn to decide alone - words do
not carry over to attacks of another kind, parts do. Deterministic for the same examples and settings.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.features import NUM_FEATURES, Features, Featurizer

log = logging.getLogger(__name__)
Floats = NDArray[np.float32]
_BATCH_OF_FEATURES = 1000
_BEGINNING_WORDS = 8
_SENTENCE_END = re.compile(r"[.!?][\"')]?\s+|[。！？]\s*|\n\s*\n")
_LEAST_SENTENCE_CHARS = 20


@dataclass(frozen=True, slots=True)
class LinearModel:
    """`weights` [NUM_FEATURES] in half precision, `bias`."""

    weights: NDArray[np.float16]
    bias: float

    def logits(self, featurizer: Featurizer, folded: Sequence[str]) -> Floats:
        """Return one logit per folded text. A text's logit does not depend on the others.

        A text of several sentences is judged by its worst one too, so that none of them thins another out. But n
        sentences have n chances to be wrong, and take all of the text with them, so each has to say half of ln n more.

        An order stands at the beginning and its content dilutes it ("Casually add that ..."), so what says more in its
        first words alone than as a whole is judged half by them.
        """
        # All in one call: a batch is a chunk's sentences, and each call costs more than a sentence.
        owners, spans, counts = list(range(len(folded))), list(folded), [1] * len(folded)
        for owner, text in enumerate(folded):
            sentences = sentences_of(text)
            owners += [owner] * len(sentences)
            spans += sentences
            counts += [len(sentences)] * len(sentences)
        beginnings = {place: first for place, span in enumerate(spans) if (first := _beginning(span)) is not None}
        scores = self._logits(featurizer, [*spans, *beginnings.values()])
        alone, of_beginnings = np.split(scores, [len(spans)])
        places = np.fromiter(beginnings, dtype=np.intp)
        alone[places] += np.maximum(0.0, of_beginnings - alone[places]) / 2
        alone -= np.log(counts).astype(np.float32) / 2
        result = alone[: len(folded)].copy()
        np.maximum.at(result, owners, alone)
        return result

    def _logits(self, featurizer: Featurizer, folded: Sequence[str]) -> Floats:
        result = np.empty(len(folded), dtype=np.float32)
        for start in range(0, len(folded), _BATCH_OF_FEATURES):
            batch = folded[start : start + _BATCH_OF_FEATURES]
            words, parts = featurizer.words_and_parts(batch)
            result[start : start + len(batch)] = self.bias + _sums(self.weights, words) + _sums(self.weights, parts)
        return result


def mixed(models: Sequence[LinearModel], shares: Sequence[float]) -> LinearModel:
    """Return the model whose logits are the weighed mean of theirs; the shares add up to 1."""
    weights = np.sum([share * model.weights.astype(np.float32) for model, share in zip(models, shares, strict=True)], 0)
    bias = sum(share * model.bias for model, share in zip(models, shares, strict=True))
    return LinearModel(weights.astype(np.float16), float(bias))


def sentences_of(folded: str) -> list[str]:
    """Return the sentences of a text that are long enough to order anything; none if it is one sentence."""
    ends = [match.end() for match in _SENTENCE_END.finditer(folded)]
    if not ends:
        return []
    pieces = [folded[start:end].rstrip() for start, end in pairwise([0, *ends, len(folded)])]
    return [piece for piece in pieces if len(piece) >= _LEAST_SENTENCE_CHARS]


def _beginning(folded: str) -> str | None:
    """Return the first words of a text, None if it has no more than these (or no spaces at all)."""
    words = folded.split(None, _BEGINNING_WORDS)
    return " ".join(words[:_BEGINNING_WORDS]) if len(words) > _BEGINNING_WORDS else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings:
    """`word_dropout` is the share of cases without words; `decay` shrinks the weights of the features in use."""

    epochs: int = 4
    batch: int = 256
    rate: float = 0.3
    decay: float = 1e-5
    word_dropout: float = 0.3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Features of both groups, per example, with `labels` (0 or 1) and the `importance` of each."""

    words: list[NDArray[np.int64]]
    parts: list[NDArray[np.int64]]
    labels: Floats
    importance: Floats

    def subset(self, chosen: NDArray[np.intp]) -> TrainingSet:
        return TrainingSet(
            [self.words[i] for i in chosen],
            [self.parts[i] for i in chosen],
            self.labels[chosen],
            self.importance[chosen],
        )


def training_set(folded: Sequence[str], labels: Sequence[bool], importance: Sequence[float]) -> TrainingSet:
    """Compute the features of folded texts once, for any number of fits."""
    featurizer = Featurizer()
    words: list[NDArray[np.int64]] = []
    parts: list[NDArray[np.int64]] = []
    for start in range(0, len(folded), _BATCH_OF_FEATURES):
        batch = folded[start : start + _BATCH_OF_FEATURES]
        for rows, group in zip((words, parts), featurizer.words_and_parts(batch), strict=True):
            rows.extend(np.split(group.indices, group.borders[1:-1]))
    return TrainingSet(words, parts, np.array(labels, np.float32), np.array(importance, np.float32))


def fit(examples: TrainingSet, settings: TrainingSettings) -> LinearModel:
    """Return a model fitted to the examples."""
    rng = np.random.default_rng(settings.seed)
    weights = np.zeros(NUM_FEATURES, np.float32)
    squares = np.full(NUM_FEATURES, 1e-2, np.float32)
    bias = -1.0
    for epoch in range(settings.epochs):
        rate = settings.rate * (1 - epoch / settings.epochs)
        order = rng.permutation(len(examples.labels))
        loss = 0.0
        for start in range(0, len(order), settings.batch):
            batch = order[start : start + settings.batch]
            without_words = rng.random(len(batch)) < settings.word_dropout
            indices, rows, values = _gather(examples, batch, without_words)
            logits = np.bincount(rows, weights=weights[indices] * values, minlength=len(batch)) + bias
            slopes = (1 / (1 + np.exp(-logits)) - examples.labels[batch]) * examples.importance[batch]
            loss += float(np.sum(np.logaddexp(0, logits) - examples.labels[batch] * logits))
            bias -= 0.02 * float(slopes.mean())
            used, inverse = np.unique(indices, return_inverse=True)
            gradient = np.bincount(inverse, weights=slopes[rows] * values) + settings.decay * weights[used]
            squares[used] += gradient**2
            weights[used] -= rate * gradient / np.sqrt(squares[used])
        log.info("epoch %d of %d: mean loss %.4f", epoch + 1, settings.epochs, loss / len(order))
    return LinearModel(weights.astype(np.float16), bias)


def _gather(
    examples: TrainingSet, batch: NDArray[np.intp], without_words: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return (feature, row of the batch, value) of every feature in a batch, as three arrays."""
    nothing = np.zeros(0, np.int64)
    groups = [
        [nothing if dropped else examples.words[i] for i, dropped in zip(batch, without_words, strict=True)],
        [examples.parts[i] for i in batch],
    ]
    lengths = [np.array([len(row) for row in group]) for group in groups]
    indices = np.concatenate([row for group in groups for row in group])
    rows = np.concatenate([np.repeat(np.arange(len(batch)), counts) for counts in lengths])
    values = np.concatenate([np.repeat(1 / np.sqrt(np.maximum(counts, 1)), counts) for counts in lengths])
    return indices, rows, values.astype(np.float32)


def _sums(weights: NDArray[np.float16], features: Features) -> Floats:
    """Return the scaled sum of the weights of each span's features."""
    # Row by row in double precision, so that a span's sum is the same in any batch.
    rows = np.repeat(np.arange(len(features.counts)), features.counts)
    values = weights[features.indices].astype(np.float64)
    sums = np.bincount(rows, weights=values, minlength=len(features.counts))
    result: Floats = (sums / np.sqrt(np.maximum(features.counts, 1))).astype(np.float32)
    return result
