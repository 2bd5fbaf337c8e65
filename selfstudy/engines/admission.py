"""Who may go to the model next: a bounded number of requests, those of the oldest chunk first.

Without an order, an answer would queue behind the questions of all later chunks, and its chunk's KV cache would be
evicted before it got there. Runs on one event loop; no locks.
"""

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNKS_REMEMBERED = 16384


class Admission:
    """At most `limit` requests inside at once; chunks in the order in which they were first seen."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._places: OrderedDict[str, int] = OrderedDict()
        self._num_chunks = 0
        self._num_requests = 0

    @asynccontextmanager
    async def enter(self, chunk_key: str) -> AsyncIterator[None]:
        await self._acquire(chunk_key)
        try:
            yield
        finally:
            self._release()

    async def _acquire(self, chunk_key: str) -> None:
        place = self._place(chunk_key)
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._num_requests += 1
        heapq.heappush(self._waiting, (place, self._num_requests, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()
            raise

    def _release(self) -> None:
        while self._waiting:
            _, _, turn = heapq.heappop(self._waiting)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _place(self, chunk_key: str) -> int:
        place = self._places.get(chunk_key)
        if place is None:
            place = self._num_chunks
            self._num_chunks += 1
            self._places[chunk_key] = place
            if len(self._places) > _CHUNKS_REMEMBERED:
                self._places.popitem(last=False)
        return place
