"""Where publishing runs: in this process, or on Ray (in `pipeline`). Both need no more than to call functions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

Read = Callable[[Any], list[Any]]
Write = Callable[[int, list[Any]], Any]

# Parts that are dealt at once. Dealt to more buckets, a part would be small, and their number that of the items times
# that of the buckets; so many buckets are reached in two steps.
_FAN_OUT = 32


class Executor(ABC):
    """Runs map and reduce steps. Results stay where they were made until `fetch`, or feed the next step as handles."""

    @abstractmethod
    def call(self, function: Callable[..., Sequence[Any]], arguments: Sequence[Any], num_results: int) -> list[Any]:
        """Call a function that gives so many results and return their handles. Handles among the arguments stand for
        the results behind them."""

    @abstractmethod
    def fetch(self, handles: Sequence[Any]) -> list[Any]:
        """Return the results behind handles."""

    def combine(self, write: Write, groups: Sequence[Sequence[Any]]) -> list[Any]:
        """write(index, group) gives a result for each group of values or handles. Returns a handle per group."""
        return [self.call(_write, [write, index, *group], 1)[0] for index, group in enumerate(groups)]

    def shuffle(self, read: Read, items: Sequence[Any], write: Write, num_buckets: int) -> list[Any]:
        """read(item) gives a part per bucket; write(bucket, parts) gives a result. Returns a handle per bucket."""
        width = -(-num_buckets // _FAN_OUT)
        ranges = [range(first, min(first + width, num_buckets)) for first in range(0, num_buckets, width)]
        dealt = [self.call(_read, [read, item, ranges], len(ranges)) for item in items]
        groups: list[Sequence[Any]] = []
        for place, buckets in enumerate(ranges):
            column = [row[place] for row in dealt]
            if width > 1:
                batches = [column[first : first + _FAN_OUT] for first in range(0, len(column), _FAN_OUT)]
                column = [self.call(_regroup, batch, len(buckets)) for batch in batches]
                groups += [[row[number] for row in column] for number in range(len(buckets))]
            else:
                groups.append(column)
        return [self.call(_write_parts, [write, bucket, *group], 1)[0] for bucket, group in enumerate(groups)]


class Here(Executor):
    """In this process."""

    def call(self, function: Callable[..., Sequence[Any]], arguments: Sequence[Any], num_results: int) -> list[Any]:
        results = list(function(*arguments))
        assert len(results) == num_results
        return results

    def fetch(self, handles: Sequence[Any]) -> list[Any]:
        return list(handles)


def _read(read: Read, item: Any, ranges: Sequence[range]) -> list[list[list[Any]]]:
    """Return, for each range of buckets, a list of one part for each of its buckets."""
    parts = read(item)
    return [[[parts[bucket]] for bucket in buckets] for buckets in ranges]


def _regroup(*ranges: list[list[Any]]) -> list[list[list[Any]]]:
    """Return, for each bucket of a range, the parts that all the items have for it."""
    return [[[part for parts in of_items for part in parts]] for of_items in zip(*ranges, strict=True)]


def _write(write: Write, index: int, *group: Any) -> list[Any]:
    return [write(index, list(group))]


def _write_parts(write: Write, bucket: int, *groups: list[list[Any]]) -> list[Any]:
    return [write(bucket, [part for group in groups for parts in group for part in parts])]
