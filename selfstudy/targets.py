"""Which sentences of a chunk are asked, and how: a keyed permutation, sliced by the epoch.

At epoch k a chunk has the first (k+1) slices of its permutation as targets, so nights add up to what one run
at a later epoch plans, and over the epochs every eligible sentence is asked exactly once.
"""

from __future__ import annotations

import math
from dataclasses import replace

from selfstudy.cleaned import chunk_key_of, clean
from selfstudy.config import TargetsConfig
from selfstudy.ids import content_hash, keyed_order
from selfstudy.records import Chunk, Target


def sample_targets(chunk: Chunk, config: TargetsConfig, *, seed: int, ask: str) -> Chunk:
    """Return the chunk with its key and its targets, in the order of their rank."""
    key = chunk_key_of(chunk.title, clean(chunk.text, chunk.start, chunk.sentences), chunk.sentences, ask)
    eligible = [index for index, sentence in enumerate(chunk.sentences) if sentence.eligible]
    order = keyed_order(key, seed, len(eligible))
    num_targets = num_targets_at(config.epoch_number, len(eligible), config)
    targets = tuple(
        Target(
            pair_id=pair_id_of(key, rank),
            rank=rank,
            epoch=epoch_of(rank, len(eligible), config),
            sentence=eligible[order[rank]],
            style=style_of(key, rank, config),
        )
        for rank in range(num_targets)
    )
    return replace(chunk, chunk_key=key, targets=targets)


def num_targets_at(epoch: int, num_eligible: int, config: TargetsConfig) -> int:
    """Return how many targets a chunk has at an epoch, those of the epochs before included."""
    if config.fraction is None:
        planned = (epoch + 1) * config.per_chunk
    else:
        # Rounded first: 3 x 0.1 x 10 is 3.0000000000000004, which is no fourth target.
        planned = math.ceil(round((epoch + 1) * config.fraction * num_eligible, 9))
    return min(planned, num_eligible)


def epoch_of(rank: int, num_eligible: int, config: TargetsConfig) -> int:
    """Return the first epoch whose targets include this rank."""
    if config.fraction is None:
        return rank // config.per_chunk
    epoch = 0
    while num_targets_at(epoch, num_eligible, config) <= rank:
        epoch += 1
    return epoch


def style_of(chunk_key: str, rank: int, config: TargetsConfig) -> str:
    """Styles take turns, from a start that depends on the chunk: even within a chunk and over the corpus."""
    first = int(content_hash("style", chunk_key)[:8], 16)
    return config.styles[(first + rank) % len(config.styles)]


def pair_id_of(chunk_key: str, rank: int) -> str:
    return content_hash("pair", chunk_key, rank)
