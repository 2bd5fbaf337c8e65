"""A proxy on the way to an HTTP server that breaks things, by a seed: what networks and busy stores do.

It passes the Host header through, so that signatures hold, and decides per request which fault it gets.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass

from tests.services.ceph import free_port

_STATUS = {
    "slow_down": (b"503 Slow Down", b"SlowDown"),
    "internal_error": (b"500 Internal Server Error", b"InternalError"),
    "too_many": (b"429 Too Many Requests", b"TooManyRequests"),
    "full": (b"507 Insufficient Storage", b"InsufficientStorage"),
}
_BLOCK_BYTES = 65536
_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Faults:
    """Probability per request of each fault; `latency_s` is added to every request. At most 1 together.

    `ack_loss` lets the request take effect and loses the answer; `truncate` ends the answer halfway; `partition`
    refuses every connection and cuts those that are open.
    """

    slow_down: float = 0
    internal_error: float = 0
    too_many: float = 0
    full: float = 0
    reset: float = 0
    truncate: float = 0
    ack_loss: float = 0
    latency_s: float = 0
    partition: bool = False


class FaultProxy:
    """A context manager; `faults` may be replaced at any time, `seen` counts requests and injected faults."""

    def __init__(self, upstream_port: int, seed: int = 0) -> None:
        self.faults = Faults()
        self.seen: Counter[str] = Counter()
        self.port = free_port()
        self._upstream_port = upstream_port
        self._rng = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        serve = asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_HEAD_BYTES)
        self._server = asyncio.run_coroutine_threadsafe(serve, self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def seed(self, seed: int) -> None:
        """Begin the sequence of faults anew."""
        self._rng.seed(seed)

    def set(self, faults: Faults) -> None:
        """Replace the faults; a partition cuts the open connections too."""
        self.faults = faults
        if faults.partition:
            self._loop.call_soon_threadsafe(self._cut_all)

    def _cut_all(self) -> None:
        self.seen["partition"] += 1
        for writer in list(self._open):
            _reset(writer)

    def _draw(self, method: bytes) -> str:
        chosen = self._rng.random()
        for name in ("slow_down", "internal_error", "too_many", "full", "reset", "truncate", "ack_loss"):
            share = getattr(self.faults, name)
            if name == "full" and method not in (b"PUT", b"POST"):
                continue
            if chosen < share:
                return name
            chosen -= share
        return ""

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._open.add(writer)
        try:
            while not self.faults.partition:
                head = await reader.readuntil(b"\r\n\r\n")
                self.seen["requests"] += 1
                fault = self._draw(head.split(b" ", 1)[0])
                if fault:
                    self.seen[fault] += 1
                if self.faults.latency_s:
                    self.seen["delayed"] += 1
                    await asyncio.sleep(self.faults.latency_s)
                if fault == "reset":
                    break
                if fault in _STATUS:
                    if not await _refuse(reader, writer, head, *_STATUS[fault]):
                        return
                    continue
                if upstream is None:
                    upstream = await asyncio.open_connection("127.0.0.1", self._upstream_port, limit=_HEAD_BYTES)
                if not await _pass_on(reader, writer, head, *upstream, fault):
                    break
            _reset(writer)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, ConnectionError):
            _reset(writer)  # cancelled when the proxy ends, which nobody else awaits
        finally:
            self._open.discard(writer)
            writer.close()
            if upstream is not None:
                upstream[1].close()


async def _refuse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, status: bytes, code: bytes
) -> bool:
    """Answer with an error as S3 words it; False if the connection ends with it."""
    waits = b"100-continue" in _header(head, b"expect")
    if not waits:
        await _copy_body(reader, None, head)
    body = b'<?xml version="1.0"?><Error><Code>' + code + b"</Code><Message>injected</Message></Error>"
    closing = b"Connection: close\r\n" if waits else b""
    writer.write(b"HTTP/1.1 %s\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n" % (status, len(body)))
    writer.write(closing + b"\r\n" + (b"" if head.startswith(b"HEAD ") else body))
    await writer.drain()
    return not waits


async def _pass_on(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    head: bytes,
    up_reader: asyncio.StreamReader,
    up_writer: asyncio.StreamWriter,
    fault: str,
) -> bool:
    """Send a request on and its answer back; False if the client's connection is to be reset."""
    up_writer.write(head)
    if b"100-continue" in _header(head, b"expect"):
        answer = await up_reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        if not answer.startswith(b"HTTP/1.1 100"):
            await _copy_body(up_reader, writer, answer)
            return True
    await _copy_body(reader, up_writer, head)
    answer = await up_reader.readuntil(b"\r\n\r\n")
    while answer.startswith(b"HTTP/1.1 100"):
        answer = await up_reader.readuntil(b"\r\n\r\n")
    has_body = not head.startswith(b"HEAD ") and answer[9:12] not in (b"204", b"304")
    if fault == "ack_loss":
        if has_body:
            await _copy_body(up_reader, None, answer)
        return False
    writer.write(answer)
    if has_body:
        length = int(_header(answer, b"content-length") or 0)
        await _copy_body(up_reader, writer, answer, limit=length // 2 if fault == "truncate" else None)
    await writer.drain()
    return fault != "truncate" and b"close" not in _header(answer, b"connection").lower()


async def _copy_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, head: bytes, limit: int | None = None
) -> None:
    """Copy the body that belongs to a head, at most `limit` bytes of it; to nowhere without a writer."""
    sent = 0

    async def put(data: bytes) -> None:
        nonlocal sent
        data = data if limit is None else data[: max(0, limit - sent)]
        sent += len(data)
        if writer is not None:
            writer.write(data)
            await writer.drain()

    if b"chunked" in _header(head, b"transfer-encoding").lower():
        while True:
            size = await reader.readline()
            data = await reader.readexactly(int(size.split(b";")[0], 16) + 2)
            await put(size + data)
            if data == b"\r\n":
                return
    left = int(_header(head, b"content-length") or 0)
    while left:
        data = await reader.read(min(left, _BLOCK_BYTES))
        if not data:
            raise ConnectionResetError
        left -= len(data)
        await put(data)


def _header(head: bytes, name: bytes) -> bytes:
    for line in head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.strip().lower() == name:
            return value.strip()
    return b""


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST, as a router that dropped it does."""
    connection = writer.get_extra_info("socket")
    if connection is not None and not writer.transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
