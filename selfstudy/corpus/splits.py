"""Files -> splits: whole files, slices of large ones, bundles of small ones.

A split's identity is what it covers (uris, sizes, etags or mtimes, slice), so that a later run knows by its name
whether anything changed. The list is deterministic and shuffled by the seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selfstudy.config import ConfigError, CorpusConfig
from selfstudy.ids import content_hash
from selfstudy.storage import is_remote, open_file, open_url

SUFFIXES = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".txt", ".md", ".html", ".htm")
_ALIASES = {".ndjson": ".jsonl", ".markdown": ".md"}
_MB = 1_000_000
_SMALL_FILE_BYTES = 1 * _MB
# A bundle ends after a uri whose hash is 0 modulo this, so a bundle has that many files on average.
_BUNDLE_MEAN_FILES = 128
_BUNDLE_MAX_FILES = 1024
_BUNDLE_MAX_BYTES = 32 * _MB
_LISTING_THREADS = 16


@dataclass(frozen=True, slots=True)
class Source:
    """A file as the plan saw it. `name` is its path below the folder or the fixed part of the glob."""

    uri: str
    name: str
    num_bytes: int
    stamp: str

    @property
    def suffix(self) -> str:
        return suffix_of(self.uri)


@dataclass(frozen=True)
class Split:
    """One or more sources, or [start, stop) of a single one: bytes of JSONL, row groups of Parquet.

    `max_documents` ends it early: a run that is limited reads a smaller corpus, which is a split of its own.
    """

    sources: tuple[Source, ...]
    start: int = 0
    stop: int | None = None
    max_documents: int | None = None

    @cached_property
    def split_id(self) -> str:
        identity = [[source.uri, source.num_bytes, source.stamp] for source in self.sources]
        return content_hash("split", identity, self.start, self.stop, self.max_documents)

    @property
    def num_bytes(self) -> int:
        total = sum(source.num_bytes for source in self.sources)
        return total if self.stop is None or self.sources[0].suffix == ".parquet" else self.stop - self.start


@dataclass(frozen=True, slots=True)
class CorpusPlan:
    """The splits in the order of the run, and the files that are not read, counted by suffix or flaw of the name."""

    splits: tuple[Split, ...]
    num_files: int
    skipped: dict[str, int]


def plan_splits(config: CorpusConfig, seed: int) -> CorpusPlan:
    """List the corpus and cut it into splits.

    Raises:
        ConfigError: a path matches no file that can be read.
    """
    sources: dict[str, Source] = {}
    skipped: Counter[str] = Counter()
    problems: list[str] = []
    for index, path in enumerate(config.paths):
        try:
            found = list(list_sources(path))
        except ConfigError as error:
            problems.append(f"corpus.paths.{index}: {error}")
            continue
        except OSError as error:
            problems.append(f"corpus.paths.{index}: {path!r} cannot be listed: {error.strerror or error}")
            continue
        why_skipped = [_why_skipped(source) for source in found]
        readable = [source for source, why in zip(found, why_skipped, strict=True) if not why]
        if not readable:
            what = f"{len(found)} files, none that can be read ({', '.join(SUFFIXES)})" if found else "no file"
            problems.append(f"corpus.paths.{index}: {path!r} matches {what}")
        sources.update((source.uri, source) for source in readable)
        skipped.update(why for why in why_skipped if why)
    if problems:
        raise ConfigError(problems)
    ordered = [sources[uri] for uri in sorted(sources)]
    splits = [Split(tuple(bundle)) for bundle in bundle_small([s for s in ordered if _is_small(s)])]
    large = [source for source in ordered if not _is_small(source)]
    with ThreadPoolExecutor(_LISTING_THREADS) as pool:
        try:
            for slices in pool.map(lambda source: slice_large(source, config.split_mb), large):
                splits.extend(slices)
        except OSError as error:
            raise ConfigError([f"corpus.paths: cannot be read: {error.strerror or error}"]) from None
    splits.sort(key=lambda split: content_hash("shuffle", seed, split.split_id))
    return CorpusPlan(tuple(splits), len(ordered), dict(skipped))


def list_sources(path: str) -> Iterator[Source]:
    """Yield the files that a file, folder or glob of any fsspec URL stands for; none if there is nothing.

    Raises:
        OSError: it cannot be listed: access is denied, the store does not answer.
    """
    fs, root = open_url(path)
    fs.invalidate_cache()
    try:
        if any(character in root for character in "*?["):
            found = fs.glob(root, detail=True)
            base = root[: min(root.index(character) for character in "*?[" if character in root)].rpartition("/")[0]
        elif (info := fs.info(root))["type"] == "directory":
            found = fs.find(root, detail=True)
            base = root.rstrip("/")
        else:
            found = {root: info}
            base = root.rpartition("/")[0]
    except FileNotFoundError:
        return
    for name, info in found.items():
        if info["type"] == "file":
            relative = name[len(base) :].lstrip("/")
            yield Source(fs.unstrip_protocol(name), relative, int(info["size"] or 0), stamp_of(info))


def stamp_of(info: dict[str, Any]) -> str:
    """Return what changes when a file's content does: its etag where the store has one, else its mtime."""
    for key in ("ETag", "etag", "md5Hash", "mtime", "LastModified", "last_modified", "created"):
        if value := info.get(key):
            # One file system gives a number in its listing and a date for a single file.
            return str(value.timestamp() if isinstance(value, datetime) else value).strip('"')
    return ""


def suffix_of(uri: str) -> str:
    name = uri.rsplit("/", 1)[-1].lower()
    stem, dot, suffix = name.rpartition(".")
    if suffix in ("gz", "zst") and "." in stem:
        suffix = stem.rpartition(".")[2] + "." + suffix
    found = dot + suffix if dot else ""
    return _ALIASES.get(found, found)


def is_unchanged(source: Source) -> bool:
    """Whether a source still is what the plan saw."""
    fs, path = open_url(source.uri)
    fs.invalidate_cache()
    try:
        info = fs.info(path)
    except FileNotFoundError:
        return False
    return int(info["size"] or 0) == source.num_bytes and stamp_of(info) == source.stamp


def bundle_small(sources: list[Source]) -> Iterator[list[Source]]:
    """Cut a list that is sorted by uri at content-defined places, so that one more file changes one bundle."""
    bundle: list[Source] = []
    num_bytes = 0
    for source in sources:
        bundle.append(source)
        num_bytes += source.num_bytes
        ends_here = int(content_hash("bundle", source.uri)[:8], 16) % _BUNDLE_MEAN_FILES == 0
        if ends_here or len(bundle) >= _BUNDLE_MAX_FILES or num_bytes >= _BUNDLE_MAX_BYTES:
            yield bundle
            bundle, num_bytes = [], 0
    if bundle:
        yield bundle


def slice_large(source: Source, split_mb: float) -> list[Split]:
    """Cut a large file that can be read from the middle; others are one split."""
    whole = Split((source,))
    split_bytes = int(split_mb * _MB)
    if source.num_bytes <= split_bytes:
        return [whole]
    if source.suffix == ".jsonl":
        borders = [*range(0, source.num_bytes, split_bytes), source.num_bytes]
        return [replace(whole, start=start, stop=stop) for start, stop in pairwise(borders)]
    if source.suffix == ".parquet":
        return _slice_row_groups(whole, split_bytes)
    return [whole]


def _slice_row_groups(whole: Split, split_bytes: int) -> list[Split]:
    try:
        with open_file(whole.sources[0].uri) as file:
            metadata = pq.read_metadata(file)
    except (pa.ArrowInvalid, OSError) as error:
        if is_remote(whole.sources[0].uri) and isinstance(error, OSError) and error.errno is not None:
            raise  # the store failed, not the file: other slices would be other units
        return [whole]  # reading it will say what is wrong, as a reject with its uri
    slices: list[Split] = []
    start = num_bytes = 0
    for group in range(metadata.num_row_groups):
        num_bytes += metadata.row_group(group).total_byte_size
        if num_bytes >= split_bytes:
            slices.append(replace(whole, start=start, stop=group + 1))
            start, num_bytes = group + 1, 0
    if start < metadata.num_row_groups:
        slices.append(replace(whole, start=start, stop=metadata.num_row_groups))
    return slices or [whole]


def _why_skipped(source: Source) -> str:
    """Return under what a file that is not read is counted, "" for one that is."""
    if source.suffix not in SUFFIXES:
        return source.suffix or "(no suffix)"
    if "::" in source.uri:
        return "(:: in the name)"  # fsspec would take it for a chain of file systems
    try:
        source.uri.encode()
    except UnicodeEncodeError:
        return "(name not in UTF-8)"  # no table could hold it
    return ""


def _is_small(source: Source) -> bool:
    return source.num_bytes < _SMALL_FILE_BYTES
