"""Where publishing runs: in this process, or on Ray (in `pipeline`)."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Read = Callable[[Any], list[Any]]
Write = Callable[[int, list[Any]], Any]


class Executor(Protocol):
    """Runs map and reduce steps. Results stay where they were made until `fetch`, or feed the next step as handles."""

    def combine(self, write: Write, groups: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """write(index, group) gives a result for each group of values or handles. Returns a handle per group."""
        ...

    def shuffle(self, read: Read, items: Sequence[Any], write: Write, num_buckets: int) -> Sequence[Any]:
        """read(item) gives a part per bucket; write(bucket, parts) gives a result. Returns a handle per bucket."""
        ...

    def fetch(self, handles: Sequence[Any]) -> list[Any]: ...


class Here:
    """The `Executor` protocol in this process."""

    def combine(self, write: Write, groups: Sequence[Sequence[Any]]) -> list[Any]:
        return [write(index, list(group)) for index, group in enumerate(groups)]

    def shuffle(self, read: Read, items: Sequence[Any], write: Write, num_buckets: int) -> list[Any]:
        parts = [read(item) for item in items]
        return self.combine(write, [[part[bucket] for part in parts] for bucket in range(num_buckets)])

    def fetch(self, handles: Sequence[Any]) -> list[Any]:
        return list(handles)
