"""What earlier units hold for the chunks of today: pairs and final rejects, copied instead of asked again.

Reads: the index of the latest snapshot (chunk_key -> unit), a bucket at a time, and the pairs and rejects of the units
that it names; of a split that is retried also its units as they were before. Both go through caches of bounded size.

A pair keeps what was generated (question, answer, models, tokens, times); its place (chunk, document, unit, offsets,
kept fields) is today's. Not reused: `duplicate_chunk`, which is about the place, and the reasons that are retried.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from selfstudy.generate import open_targets, place_of, reject_target, repeated_chunks
from selfstudy.reasons import Stage, TargetReject
from selfstudy.records import Chunk, Pair, Reject, Retry, Target, TokenTrace, Unit
from selfstudy.store.commits import from_parquet, read_commit
from selfstudy.store.filesystem import Folder
from selfstudy.tables import PAIRS

logger = logging.getLogger(__name__)

_THREADS = 8
_INDEX_CACHE_BYTES = 64_000_000
_UNIT_CACHE_BYTES = 128_000_000
_TRACE = tuple(column.name for column in PAIRS.optional)
_NOT_COPIED = frozenset({"pair_id", "chunk_id", "chunk_key", "rank", "doc_id", "source_uri", "epoch", "target_text",
                         "target_start", "target_end", "style", "kept", "trace", "reused"})  # fmt: skip
_COPIED = tuple(field.name for field in fields(Pair) if field.name not in _NOT_COPIED)


@dataclass(frozen=True, slots=True)
class Index:
    """The index of a snapshot: buckets of equal ranges of chunk_key."""

    snapshot: str
    num_buckets: int

    @classmethod
    def of(cls, manifest: dict[str, Any] | None, ask_hash: str) -> Index | None:
        """Return the index of a manifest, None if there is none or if no chunk_key of this recipe can be in it."""
        if manifest is None or manifest["recipe"]["ask_hash"] != ask_hash:
            return None
        num_buckets = sum(file["table"] == "index" for file in manifest["files"])
        return cls(manifest["snapshot"], num_buckets) if num_buckets else None

    def bucket_of(self, chunk_key: str) -> int:
        return int(chunk_key[:8], 16) * self.num_buckets >> 32

    def file_name(self, bucket: int) -> str:
        """Return the name of a bucket within the snapshot's folder."""
        return f"index/index-{bucket:05d}-of-{self.num_buckets:05d}.parquet"


class Reuse:
    """Finds the outcomes that earlier units hold. Used from several threads."""

    def __init__(self, output: Folder, index: Index | None) -> None:
        self._output = output
        self._index = index
        self._buckets: _Cache[int, pa.Table] = _Cache(_INDEX_CACHE_BYTES, self._read_bucket)
        self._units: _Cache[str, _EarlierUnit | None] = _Cache(_UNIT_CACHE_BYTES, self._read_unit)

    def fill(self, unit: Unit) -> Unit:
        """Return the unit with the pairs and rejects that earlier ones hold for its open targets.

        Raises:
            OSError: storage failed.
        """
        found = self.outcomes(unit).values()
        rejects = tuple(outcome for outcome in found if isinstance(outcome, Reject))
        return replace(
            unit,
            pairs=unit.pairs + tuple(outcome for outcome in found if isinstance(outcome, Pair)),
            rejects=unit.rejects + rejects,
            num_reused_rejects=unit.num_reused_rejects + len(rejects),
        )

    def outcomes(self, unit: Unit) -> dict[str, Pair | Reject]:
        """Return what is known of the open targets of a unit, by pair_id, in its place of today."""
        repeated, asked = repeated_chunks(unit), {question.pair_id for question in unit.questions}
        wanted = {
            target.pair_id: (chunk, target)
            for chunk, targets in open_targets(unit)
            if chunk.chunk_id not in repeated
            for target in targets
            if target.pair_id not in asked
        }
        retried = frozenset(unit.retry.reasons if unit.retry else ())
        for unit_id in _names_before(unit.retry, unit.unit_id):
            if self._units.get(unit_id) is not None:  # it held every target of this unit
                return self._outcomes_in(unit_id, wanted, retried)
        unit_of = self._units_of({chunk.chunk_key for chunk, _ in wanted.values()})
        by_unit: dict[str, dict[str, tuple[Chunk, Target]]] = defaultdict(dict)
        for pair_id, (chunk, target) in wanted.items():
            if chunk.chunk_key in unit_of:
                by_unit[unit_of[chunk.chunk_key]][pair_id] = (chunk, target)
        found: dict[str, Pair | Reject] = {}
        with ThreadPoolExecutor(_THREADS) as pool:
            tasks = [pool.submit(self._outcomes_in, unit_id, places, retried) for unit_id, places in by_unit.items()]
        for task in tasks:
            found |= task.result()
        return found

    def _units_of(self, chunk_keys: Iterable[str]) -> dict[str, str]:
        """Look up the unit of each chunk_key that the index knows."""
        if self._index is None:
            return {}
        by_bucket: dict[int, list[str]] = defaultdict(list)
        for key in chunk_keys:
            by_bucket[self._index.bucket_of(key)].append(key)
        units: dict[str, str] = {}
        with ThreadPoolExecutor(_THREADS) as pool:
            for keys, bucket in zip(by_bucket.values(), pool.map(self._buckets.get, by_bucket), strict=True):
                rows = bucket.filter(pc.is_in(bucket["chunk_key"], pa.array(keys, pa.string())))
                units |= zip(rows["chunk_key"].to_pylist(), rows["unit_id"].to_pylist(), strict=True)
        return units

    def _outcomes_in(
        self, unit_id: str, wanted: dict[str, tuple[Chunk, Target]], retried: frozenset[str]
    ) -> dict[str, Pair | Reject]:
        earlier = self._units.get(unit_id)
        if earlier is None:
            logger.warning("%s is in the index of the snapshot, but not committed: its chunks are asked again", unit_id)
            return {}
        found: dict[str, Pair | Reject] = {}
        for row in _rows(earlier.rejects, "id", wanted):
            if row["reason"] != TargetReject.DUPLICATE_CHUNK and row["reason"] not in retried:
                chunk, target = wanted[row["id"]]
                stage, reason = Stage(row["stage"]), TargetReject(row["reason"])
                found[row["id"]] = reject_target(chunk, target, stage, reason, row["detail"])
        for row in _rows(earlier.pairs, "pair_id", wanted):
            copied = {name: row[name] for name in _COPIED}
            trace = _trace_of(row) if _TRACE[0] in row and row[_TRACE[0]] is not None else None
            found[row["pair_id"]] = Pair(**place_of(*wanted[row["pair_id"]]), **copied, trace=trace, reused=True)
        return found

    def _read_bucket(self, bucket: int) -> tuple[pa.Table, int]:
        assert self._index is not None
        table = _read(self._output, f"snapshots/{self._index.snapshot}/{self._index.file_name(bucket)}")
        return table, table.nbytes

    def _read_unit(self, unit_id: str) -> tuple[_EarlierUnit | None, int]:
        try:
            files = read_commit(self._output, unit_id).files
        except FileNotFoundError:
            return None, 0
        unit = _EarlierUnit(*(_read(self._output, files[name]["name"]) if name in files else None for name in _HELD))
        return unit, sum(table.nbytes for table in (unit.pairs, unit.rejects) if table is not None)


_HELD = ("pairs", "rejects")


@dataclass(frozen=True, slots=True)
class _EarlierUnit:
    """The tables of a committed unit; None if it has no rows."""

    pairs: pa.Table | None = None
    rejects: pa.Table | None = None


def _names_before(retry: Retry | None, unit_id: str) -> list[str]:
    """Return the names that a retried unit had before, newest first."""
    number = unit_id[unit_id.index("-") :]
    return [prefix + number for prefix in retry.prefixes] if retry else []


def _read(output: Folder, name: str) -> pa.Table:
    return from_parquet(output.read(name))


def _rows(table: pa.Table | None, column: str, wanted: Iterable[str]) -> list[dict[str, Any]]:
    """Return the rows whose id is wanted; token traces stay Arrow scalars."""
    if table is None:
        return []
    chosen = table.filter(pc.is_in(table[column], pa.array(list(wanted), pa.string())))
    traces = [name for name in _TRACE if name in chosen.column_names]
    rows: list[dict[str, Any]] = chosen.drop_columns(traces).to_pylist()
    for name in traces:
        for row, scalar in zip(rows, chosen[name], strict=True):
            row[name] = scalar.values
    return rows


def _trace_of(row: dict[str, Any]) -> TokenTrace:
    ids, top_ids, top_logprobs = (row[name].to_numpy() if row[name] is not None else np.empty(0) for name in _TRACE)
    return TokenTrace(ids.astype(np.int32), top_ids.astype(np.int32), top_logprobs.astype(np.float32))


_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class _Cache(Generic[_Key, _Value]):
    """What was read last, up to so many bytes; `read` gives a value and its size."""

    def __init__(self, max_bytes: int, read: Callable[[_Key], tuple[_Value, int]]) -> None:
        self._max_bytes = max_bytes
        self._read = read
        self._lock = threading.Lock()
        self._held: OrderedDict[_Key, tuple[_Value, int]] = OrderedDict()
        self._num_bytes = 0

    def get(self, key: _Key) -> _Value:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        entry = self._read(key)
        with self._lock:
            if key not in self._held:
                self._held[key] = entry
                self._num_bytes += entry[1]
            while self._num_bytes > self._max_bytes and len(self._held) > 1:
                _, (_, num_bytes) = self._held.popitem(last=False)
                self._num_bytes -= num_bytes
        return entry[0]
