"""Lines of a file, of a byte range of it, or of what it decompresses to, each at most so long.

Only "\\n" ends a line: JSON strings may hold every other separator of Unicode.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

_BLOCK_BYTES = 1 << 16
# What was decompressed in the very read that fails is lost, so these reads are small.
_COMPRESSED_BLOCK_BYTES = 1 << 13


@dataclass(frozen=True, slots=True)
class Line:
    """`data` is None for a line above the limit; `place` is its number or, in a byte range, its offset."""

    place: str
    data: bytes | None


class BrokenStreamError(ValueError):
    """A compressed stream that ends or breaks before its end; every whole line before that was given."""


def read_lines(file: Any, compression: str | None, max_bytes: int) -> Iterator[Line]:
    """Yield the lines of an open binary file; `compression` is None, "gzip" or "zstd".

    Raises:
        BrokenStreamError: the compressed data is damaged or cut off.
    """
    blocks = _blocks(file) if compression is None else _decompressed_blocks(file, compression)
    for number, (_, data) in enumerate(_split(blocks, max_bytes), start=1):
        yield Line(f"line={number}", data)


def read_lines_between(file: Any, start: int, stop: int, max_bytes: int) -> Iterator[Line]:
    """Yield the lines that begin in [start, stop): with the ranges side by side, each line exactly once."""
    if start > 0:
        # A line begins at `start` only if the byte before it ends one; reading from there, the first line goes.
        file.seek(start - 1)
    lines = _split(_blocks(file), max_bytes)
    base = max(start - 1, 0)
    if start > 0:
        next(lines, None)
    for offset, data in lines:
        if base + offset >= stop:
            return
        yield Line(f"byte={base + offset}", data)


def _blocks(file: Any) -> Iterator[bytes]:
    while block := file.read(_BLOCK_BYTES):
        yield block


def _decompressed_blocks(file: Any, compression: str) -> Iterator[bytes]:
    stream = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), compression)
    while True:
        try:
            block = stream.read(_COMPRESSED_BLOCK_BYTES)
        except OSError as error:
            if error.errno is not None:
                raise  # the storage failed, not the content: Arrow's own errors carry no errno
            raise BrokenStreamError(str(error).partition("\n")[0]) from None
        if not block:
            return
        yield block


def _split(blocks: Iterator[bytes], max_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield (offset, line) without the newlines; None for a line of more than max_bytes, which is never held."""
    held = bytearray()
    num_bytes = line_start = 0
    for block in blocks:
        *complete, rest = block.split(b"\n")
        for piece in complete:
            num_bytes += len(piece)
            fits = num_bytes <= max_bytes
            yield line_start, bytes(held + piece) if fits else None
            line_start += num_bytes + 1
            held.clear()
            num_bytes = 0
        num_bytes += len(rest)
        if num_bytes <= max_bytes:
            held += rest
        else:
            held.clear()
    if num_bytes:
        yield line_start, bytes(held) if num_bytes <= max_bytes else None
