"""A small transformer that reads what the linear model doubts: word pieces in order.

It is BERT's architecture (post-norm layers, learned positions) with a head over the mean and the maximum of its states.
To the embedding of each piece comes that of the part which its word plays in an instruction (see `lexicon`). Weights
are stored in 4 bits and multiplied in 8 (see `encoder_graph`). Long texts are read in overlapping windows, the worst of
which counts. Each text is read alone, so that its logit does not depend on the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from selfstudy.filter.encoder_graph import encoder_graph
from selfstudy.filter.word_pieces import Pieces, WordPieces

# Rounding keeps what another machine's arithmetic would change out of the verdict.
_DECIMALS = 2
_PER_WINDOW = 3.0
# 4 bits hold -7 to 7; each group of inputs has its own scale.
GROUP = 64
_MAX_CODE = 7
_SHRINKS = (1.0, 0.9, 0.8, 0.7)
_LEAST_SCALE = 1e-6
SCALES = ".scales"
_ERRORS_ALONE = 3
Floats = NDArray[np.float32]
Tensors = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Encoder:
    """`tensors` as they are stored: matrices as `quantised` makes them, with their scales, the rest in float16."""

    pieces: WordPieces
    tensors: Tensors
    num_heads: int

    def logits(self, folded: Sequence[str]) -> Floats:
        """Return one logit per folded text."""
        return np.array([self._worst(list(self.pieces.windows(text))) for text in folded], np.float32)

    def _worst(self, windows: Sequence[Pieces]) -> float:
        # n windows have n chances to be wrong, so each has to say more.
        return max(self._logit(np.array(window)) for window in windows) - _PER_WINDOW * float(np.log(len(windows)))

    def _logit(self, pieces: NDArray[np.int64]) -> float:
        """Return the logit of one window [pieces, (piece, part)]."""
        words, parts, positions = self._tables
        embedded = words[pieces[:, 0]] + parts[pieces[:, 1]] + positions[: len(pieces)]
        (logit,) = self._session.run(None, {"embedded": embedded[None]})
        return round(float(logit[0, 0]), _DECIMALS)

    @cached_property
    def _tables(self) -> tuple[Floats, Floats, Floats]:
        """Return the embeddings of pieces, parts and positions [number, width]."""
        # Stored as the other matrices are, by inputs; read by piece.
        return np.ascontiguousarray(self._matrix("embedding").T), self._matrix("parts"), self._matrix("positions")

    @cached_property
    def _session(self) -> Any:
        weights = {name: self._matrix(name) for name in self.tensors if not name.endswith(SCALES)}
        num_layers = sum(name.endswith("attention.weight") for name in weights)
        options = onnxruntime.SessionOptions()
        # A core for each judge: the job runs many side by side.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ALONE
        # More would join additions with the norms behind them, by a kernel that takes four times as long as both.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        graph = encoder_graph(weights, num_layers, self.num_heads)
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def _matrix(self, name: str) -> Floats:
        stored: NDArray[Any] = self.tensors[name]
        scales: NDArray[Any] | None = self.tensors.get(name + SCALES)
        return stored.astype(np.float32) if scales is None else restored(stored, scales)


def quantised(matrix: Floats) -> tuple[NDArray[np.uint8], NDArray[np.float16]]:
    """Return a matrix [inputs, outputs] in 4 bits, two rows per byte, and one scale per GROUP inputs of an output."""
    groups = matrix.reshape(-1, GROUP, matrix.shape[1])
    widest = np.abs(groups).max(axis=1, keepdims=True) / _MAX_CODE
    codes = np.zeros(groups.shape, np.float32)
    scales = np.zeros(widest.shape, np.float16)
    least = np.full(widest.shape, np.inf, np.float32)
    for shrink in _SHRINKS:
        # A smaller scale cuts the largest weights off and keeps the many small ones more exactly.
        scale = np.maximum(widest * shrink, _LEAST_SCALE).astype(np.float16)
        tried = np.round(groups / scale).clip(-_MAX_CODE, _MAX_CODE)
        error = ((tried * scale - groups) ** 2).sum(axis=1, keepdims=True)
        better = error < least
        codes, scales = np.where(better, tried, codes), np.where(better, scale, scales)
        least = np.minimum(error, least)
    rows = (codes.reshape(matrix.shape) + _MAX_CODE + 1).astype(np.uint8)
    return (rows[0::2] | (rows[1::2] << 4)).astype(np.uint8), scales[:, 0]


def restored(packed: NDArray[np.uint8], scales: NDArray[np.float16]) -> Floats:
    """Return the matrix that `quantised` made these of, as far as 4 bits say."""
    rows = np.empty((2 * len(packed), packed.shape[1]), np.float32)
    rows[0::2], rows[1::2] = packed & 15, packed >> 4
    groups = (rows - np.float32(_MAX_CODE + 1)).reshape(-1, GROUP, packed.shape[1])
    result: Floats = (groups * scales[:, None].astype(np.float32)).reshape(rows.shape)
    return result
