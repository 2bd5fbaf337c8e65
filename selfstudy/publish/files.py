"""Parquet files of a snapshot: written row group by row group, and listed in the manifest as they were written."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from selfstudy.store.commits import ROWS_PER_GROUP
from selfstudy.store.filesystem import Folder


class ParquetFile:
    """A file that is being written. `num_rows` counts what it holds so far."""

    def __init__(self, file: IO[bytes], schema: pa.Schema) -> None:
        self._counted = _Counted(file)
        self._writer = pq.ParquetWriter(self._counted, schema, compression="zstd")
        self.num_rows = 0

    def write(self, rows: pa.Table) -> None:
        """Add rows of the file's schema."""
        self._writer.write_table(rows, row_group_size=ROWS_PER_GROUP)
        self.num_rows += rows.num_rows

    def close(self) -> dict[str, Any]:
        """Finish the file and return its size and hash as the manifest gives them."""
        self._writer.close()
        return {"rows": self.num_rows, "bytes": self._counted.num_bytes, "sha256": self._counted.hash.hexdigest()}


@contextlib.contextmanager
def parquet_file(
    target: Folder, name: str, table: str, schema: pa.Schema
) -> Iterator[tuple[ParquetFile, dict[str, Any]]]:
    """Write a file of a table; when the block ends, the dict beside it is the manifest's entry."""
    entry: dict[str, Any] = {"name": name, "table": table}
    with target.writing(name) as file:
        written = ParquetFile(file, schema)
        yield written, entry
        entry |= written.close()


class _Counted(io.RawIOBase):
    """Passes bytes on, counts and hashes them."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.num_bytes = 0
        self.hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._file.write(data)
        self.hash.update(data)
        size = memoryview(data).nbytes
        self.num_bytes += size
        return size
