import gzip
import io
import random
import tracemalloc
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfstudy.corpus.lines import BrokenStreamError, read_lines, read_lines_between

LINES = st.lists(st.binary(max_size=12).map(lambda data: data.replace(b"\n", b"")), max_size=20)
NO_LIMIT = 1 << 30


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, "zstd", asbytes=True))


def data_of(lines: list[bytes], end: bytes = b"\n") -> bytes:
    return b"\n".join(lines) + (end if lines else b"")


@given(LINES, st.sampled_from([b"", b"\n"]), st.integers(1, 40))
def test_slices_give_each_line_exactly_once(lines: list[bytes], end: bytes, slice_bytes: int) -> None:
    data = data_of(lines, end)
    whole = [line.data for line in read_lines(io.BytesIO(data), None, NO_LIMIT)]
    parts = [
        line
        for start in range(0, len(data), slice_bytes)
        for line in read_lines_between(io.BytesIO(data), start, min(start + slice_bytes, len(data)), NO_LIMIT)
    ]
    assert [line.data for line in parts] == whole
    for line in parts:
        offset = int(line.place.removeprefix("byte="))
        assert data[offset : offset + len(line.data or b"")] == line.data


@given(LINES, st.integers(0, 12))
def test_a_line_above_the_limit_is_one_line_without_data(lines: list[bytes], max_bytes: int) -> None:
    found = list(read_lines(io.BytesIO(data_of(lines)), None, max_bytes))
    assert [line.data for line in found] == [line if len(line) <= max_bytes else None for line in lines]
    assert [line.place for line in found] == [f"line={number}" for number in range(1, len(lines) + 1)]


@pytest.mark.parametrize("size", [(1 << 16) - 1, 1 << 16, (1 << 16) + 1, 3 << 16])
def test_lines_across_blocks(size: int) -> None:
    lines = [b"a" * size, b"", b"b" * size]
    assert [line.data for line in read_lines(io.BytesIO(data_of(lines)), None, NO_LIMIT)] == lines
    limited = [line.data for line in read_lines(io.BytesIO(data_of([*lines, b"c"])), None, 1000)]
    assert limited == [None, b"", None, b"c"]


class Counting(io.RawIOBase):
    """Endless bytes without a newline, up to a size."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.largest_read = 0

    def read(self, size: int = -1) -> bytes:
        self.largest_read = max(self.largest_read, size)
        size = min(size, self.left)
        self.left -= size
        return b"x" * size


def test_a_line_above_the_limit_is_never_held() -> None:
    file = Counting(200_000_000)
    tracemalloc.start()
    (line,) = read_lines(file, None, 1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert line.data is None
    assert file.left == 0
    assert peak < 5_000_000


@pytest.mark.parametrize(("pack", "name"), [(gzip.compress, "gzip"), (zstd, "zstd")])
def test_compressed_lines(pack: Callable[[bytes], bytes], name: str) -> None:
    lines = [f"line {number}".encode() * 50 for number in range(500)]
    data = data_of(lines)
    assert [line.data for line in read_lines(io.BytesIO(pack(data)), name, NO_LIMIT)] == lines
    two_members = pack(data) + pack(data)
    assert [line.data for line in read_lines(io.BytesIO(two_members), name, NO_LIMIT)] == lines * 2
    assert list(read_lines(io.BytesIO(b""), name, NO_LIMIT)) == []


@pytest.mark.parametrize(("pack", "name"), [(gzip.compress, "gzip"), (zstd, "zstd")])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_cut_stream_gives_its_whole_lines_first(pack: Callable[[bytes], bytes], name: str, share: float) -> None:
    rng = random.Random(0)
    lines = [rng.randbytes(60).hex().encode() for _ in range(5000)]
    packed = pack(data_of(lines))
    found = []
    with pytest.raises(BrokenStreamError):
        for line in read_lines(io.BytesIO(packed[: max(5, int(share * len(packed)))]), name, NO_LIMIT):
            found.append(line.data)
    assert found == lines[: len(found)]
    # zstd decodes blocks of 128 kB; the last one is lost with what was cut off.
    assert len(found) >= share * len(lines) - 131_072 / 121 - 150


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_what_is_no_compressed_stream_at_all(name: str) -> None:
    with pytest.raises(BrokenStreamError):
        list(read_lines(io.BytesIO(b'{"text": "plain after all"}\n' * 10), name, NO_LIMIT))


def test_a_failing_storage_is_no_broken_stream() -> None:
    class Failing(io.BytesIO):
        def read(self, *_: object) -> bytes:
            raise OSError(5, "Input/output error")

    for name in ("gzip", "zstd", None):
        with pytest.raises(OSError, match="Input/output") as error:
            list(read_lines(Failing(b"x"), name, NO_LIMIT))
        assert not isinstance(error.value, BrokenStreamError)
