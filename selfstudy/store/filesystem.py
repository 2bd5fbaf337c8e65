"""One folder on any fsspec file system: the only way this project touches storage.

Writes are atomic: a reader sees the whole object or none. `create` adds an object only if its name is free,
which is what commits rest on. A store that cannot do that is found out by trying, once per process; there `create`
looks before it writes, the log says so, and the run lock alone keeps two runs apart.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

from fsspec.implementations.local import LocalFileSystem

from selfstudy.redact import redacted
from selfstudy.storage import open_url

logger = logging.getLogger(__name__)

# Stays in the output: a second try must find it there.
_PROBE = "lock/conditional-create"


class Entry(NamedTuple):
    """An object of a folder: its name from there, its size, and when it was written (seconds since 1970)."""

    name: str
    num_bytes: int
    modified: float

    @property
    def base(self) -> str:
        return self.name.rsplit("/", 1)[-1]

    @property
    def is_temporary(self) -> bool:
        """Whether it is what a write that was cut off left behind."""
        return self.base.startswith(".") and self.base.endswith(".tmp")


@dataclass(frozen=True)
class Folder:
    """A folder and the names below it; `url` is as the user wrote it."""

    url: str
    fs: Any
    root: str

    @classmethod
    def at(cls, url: str) -> Folder:
        """Open a folder; nothing is created before the first write.

        Raises:
            ConfigError: the URL carries credentials, or its protocol is unknown.
        """
        fs, root = open_url(url)
        return cls(url, fs, root.rstrip("/"))

    @property
    def is_local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    def path(self, name: str) -> str:
        """Return the path of a name in the terms of `fs`."""
        return f"{self.root}/{name}"

    def child(self, name: str) -> Folder:
        return Folder(f"{self.url.rstrip('/')}/{name}", self.fs, self.path(name))

    def names(self, folder: str) -> list[str]:
        """Return the sorted names of the objects directly in `folder`; empty if there is no such folder."""
        if self.is_local:
            try:
                return sorted(entry.name for entry in os.scandir(self.path(folder)) if not entry.name.startswith("."))
            except FileNotFoundError:
                return []
        if hasattr(self.fs, "list_names"):
            return list(self.fs.list_names(self.path(folder)))
        self.fs.invalidate_cache()
        try:
            paths = self.fs.ls(self.path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(path.rstrip("/").rsplit("/", 1)[-1] for path in paths)

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield the objects in `folder` and below, in any order; none if there is no such folder."""
        if self.is_local:
            yield from _entries_below(self.path(folder), self.root)
            return
        listed = getattr(self.fs, "list_entries", None) or self._find
        for path, num_bytes, modified in listed(self.path(folder)):
            yield Entry(path[len(self.root) :].lstrip("/"), num_bytes, modified)

    def _find(self, path: str) -> list[tuple[str, int, float]]:
        self.fs.invalidate_cache()
        found = self.fs.find(path, detail=True)
        return [(name, int(info["size"] or 0), time_of(info)) for name, info in found.items()]

    def exists(self, name: str) -> bool:
        self.fs.invalidate_cache()
        return bool(self.fs.exists(self.path(name)))

    def read(self, name: str) -> bytes:
        """Raises FileNotFoundError."""
        return bytes(self.fs.cat_file(self.path(name)))

    def open(self, name: str) -> Any:
        return self.fs.open(self.path(name), "rb")

    def write(self, name: str, data: bytes) -> None:
        """Write an object, replacing one of that name in a single step."""
        if not self.is_local:
            self.fs.pipe_file(self.path(name), data)
            return
        with self.writing(name) as file:
            file.write(data)

    @contextlib.contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        """Write an object in pieces. It appears, whole, when the block ends, and never if the block raises."""
        if self.is_local:
            with self._temporary(name) as (temporary, file):
                yield file
                _to_disk(file)
                temporary.replace(self.path(name))
            return
        # Held whole and sent at the end: a store keeps the parts of an upload that nobody finishes.
        buffer = io.BytesIO()
        yield buffer
        self.write(name, buffer.getvalue())

    def create(self, name: str, data: bytes) -> bool:
        """Write an object if its name is free; return False if it was taken."""
        if not self.is_local:
            return self._create_remote(name, data)
        with self._temporary(name) as (temporary, file):
            file.write(data)
            _to_disk(file)
            try:
                # link() refuses a taken name and shows the whole content at once; open("x") would do only the first.
                os.link(temporary, self.path(name))
            except FileExistsError:
                return False
        return True

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm_file(self.path(name))

    def remove_folder(self, name: str) -> None:
        """Remove a folder and what is in it, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            self.fs.rm(self.path(name), recursive=True)

    def _create_remote(self, name: str, data: bytes) -> bool:
        if not _creates_conditionally(self):
            if self.exists(name):
                return False
            self.write(name, data)
            return True
        try:
            self.fs.pipe_file(self.path(name), data, mode="create")
        except FileExistsError:
            # A try of ours may have succeeded and its answer been lost. Whoever creates writes bytes of its own.
            with contextlib.suppress(FileNotFoundError):
                return self.read(name) == data
            return False
        return True

    def remove_empty_folders(self, name: str) -> None:
        """Remove folders with nothing in them, where a store has such things."""
        if self.is_local:
            for directory, _, _ in os.walk(self.path(name), topdown=False):
                with contextlib.suppress(OSError):
                    Path(directory).rmdir()

    @contextlib.contextmanager
    def _temporary(self, name: str) -> Iterator[tuple[Path, IO[bytes]]]:
        target = Path(self.path(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        try:
            with temporary.open("wb") as file:
                yield temporary, file
        finally:
            temporary.unlink(missing_ok=True)


def _entries_below(folder: str, root: str) -> Iterator[Entry]:
    try:
        found = os.scandir(folder)
    except FileNotFoundError:
        return
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            yield from _entries_below(entry.path, root)
            continue
        with contextlib.suppress(FileNotFoundError):  # what is temporary may be gone by now
            status = entry.stat()
            yield Entry(entry.path[len(root) :].lstrip("/"), status.st_size, status.st_mtime)


def time_of(info: dict[str, Any]) -> float:
    """Return when an object was written, by what its file system says; the distant past if it does not."""
    for key in ("mtime", "LastModified", "last_modified", "updated", "created"):
        if value := info.get(key):
            return float(value.timestamp() if isinstance(value, datetime) else value)
    return 0.0


def _to_disk(file: IO[bytes]) -> None:
    """A commit must never survive a power cut that its data did not."""
    file.flush()
    os.fsync(file.fileno())


@cache
def _creates_conditionally(folder: Folder) -> bool:
    """Whether the store refuses to create what is there."""
    for _ in range(2):
        try:
            folder.fs.pipe_file(folder.path(_PROBE), b"", mode="create")
        except FileExistsError:
            return True
        except (NotImplementedError, ValueError, TypeError):
            break
    logger.warning(
        "%s: this store cannot create an object only if it is absent; the run lock alone keeps two runs apart",
        redacted(folder.url),
    )
    return False
