"""Where publishing runs: a shuffle in this process, or on Ray (in `pipeline`)."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Read = Callable[[Any], list[Any]]
Write = Callable[[int, list[Any]], Any]


class Executor(Protocol):
    """Runs map and reduce steps. Results stay where they were made until `fetch`, or feed the next shuffle."""

    def shuffle(self, read: Read, items: Sequence[Any], write: Write, num_buckets: int) -> Sequence[Any]:
        """read(item) gives a part per bucket; write(bucket, parts) gives a result. Returns a handle per bucket."""
        ...

    def fetch(self, handles: Sequence[Any]) -> list[Any]: ...


class Here:
    """The `Executor` protocol in this process."""

    def shuffle(self, read: Read, items: Sequence[Any], write: Write, num_buckets: int) -> list[Any]:
        parts = [read(item) for item in items]
        return [write(bucket, [part[bucket] for part in parts]) for bucket in range(num_buckets)]

    def fetch(self, handles: Sequence[Any]) -> list[Any]:
        return list(handles)
