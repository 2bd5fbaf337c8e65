"""A small HTTP server that answers chat completions, and misbehaves on demand.

Each request takes the next behaviour of the script; once that is used up, requests are answered well.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

GOOD: dict[str, Any] = {
    "choices": [{"message": {"role": "assistant", "content": "Where?"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 7}},
}


@dataclass(frozen=True)
class Behaviour:
    """A status with a body, and how the body is sent: whole, cut short, byte by byte without end, or never."""

    status: int = 200
    body: bytes = json.dumps(GOOD).encode()
    headers: dict[str, str] = field(default_factory=dict)
    sent: str = "whole"


@dataclass
class MisbehavingServer:
    """`requests` holds what arrived: headers in lower case, and the JSON body under "body"."""

    script: list[Behaviour]
    url: str = ""
    requests: list[dict[str, Any]] = field(default_factory=list)
    num_inside: int = 0
    most_inside: int = 0

    @classmethod
    @asynccontextmanager
    async def running(cls, *script: Behaviour) -> AsyncIterator[MisbehavingServer]:
        self = cls(list(script))
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await _read_request(reader):
                self.requests.append(request)
                self.num_inside += 1
                self.most_inside = max(self.most_inside, self.num_inside)
                try:
                    goes_on = await _answer(self.script.pop(0) if self.script else Behaviour(), reader, writer)
                finally:
                    self.num_inside -= 1
                if not goes_on:
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> dict[str, Any] | None:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return {**headers, "path": lines[0].split()[1], "body": json.loads(body)}


async def _answer(behaviour: Behaviour, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    if behaviour.sent == "dropped":
        return False
    if behaviour.sent == "never":
        await reader.read()  # until the client has had enough
        return False
    headers = {"content-type": "application/json", "content-length": str(len(behaviour.body)), **behaviour.headers}
    writer.write(f"HTTP/1.1 {behaviour.status} X\r\n".encode())
    writer.write("".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode() + b"\r\n")
    if behaviour.sent == "short":
        writer.write(behaviour.body[: len(behaviour.body) // 2])
        await writer.drain()
        return False
    if behaviour.sent == "drip":
        while not reader.at_eof():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)
        return False
    writer.write(behaviour.body)
    await writer.drain()
    # Let others in, so that the bound on concurrency is seen.
    await asyncio.sleep(0)
    return True
