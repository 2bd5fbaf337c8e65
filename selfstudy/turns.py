"""Who may work at the same time: most units together, a unit under suspicion alone.

When a worker dies, every unit that it was working on is a suspect. Together again they would die together again, and
innocent units would be quarantined with the guilty one; alone, each shows what it is.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """A lock that many may hold, or one alone. Those who want it alone come first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._num_inside = 0
        self._num_waiting_alone = 0
        self._is_alone = False

    @contextmanager
    def take(self, *, alone: bool) -> Iterator[None]:
        with self._changed:
            self._num_waiting_alone += alone
            self._changed.wait_for(self._is_empty if alone else self._is_open)
            self._num_waiting_alone -= alone
            self._num_inside += 1
            self._is_alone = alone
        try:
            yield
        finally:
            with self._changed:
                self._num_inside -= 1
                self._is_alone = False
                self._changed.notify_all()

    def _is_empty(self) -> bool:
        return self._num_inside == 0

    def _is_open(self) -> bool:
        return not self._is_alone and self._num_waiting_alone == 0
