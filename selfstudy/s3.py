"""S3-compatible object storage: s3fs with one layer of retries, errors that say what is wrong, and no listing cache.

Endpoint, region and credentials come from the environment or the usual AWS config (AWS_ENDPOINT_URL,
AWS_ACCESS_KEY_ID, AWS_PROFILE, ...), on every machine of a cluster.

s3fs would retry five times over botocore's five, and neither would read an answer again that broke off in its middle.
Here botocore tries once, and `S3._call_s3`, through which all requests go, tries the whole exchange, the body
included, up to eight times with jitter: about 25 s of waiting. Every failure becomes an OSError with an errno, in one
line without credentials. Not covered: an upload that a killed process left unfinished (above 32 MB, in parts) takes
space until a lifecycle rule of the bucket ends it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
from functools import cache
from typing import Any

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NoConnectionError
from botocore.parsers import ResponseParserError
from fsspec.asyn import sync_wrapper
from s3fs import S3FileSystem

from selfstudy.redact import redacted

logger = logging.getLogger(__name__)

_ATTEMPTS = 8
_FIRST_WAIT_S = 0.25
_LONGEST_WAIT_S = 16.0
_PART_BYTES = 16 * 1024 * 1024
_READ_AHEAD_BYTES = 8 * 1024 * 1024
_PARALLEL_PARTS = 4

_DIGITS = "123456789abcdef"
_RETRIED_STATUS = {408, 429, 500, 502, 503, 504}
_RETRIED_CODES = {
    "SlowDown",
    "RequestTimeout",
    "RequestTimeTooSkewed",
    "ConditionalRequestConflict",
    "OperationAborted",
}
_MISSING = {"NoSuchBucket", "NoSuchKey", "NoSuchUpload", "404"}
_FULL = {"QuotaExceeded", "InsufficientStorage", "InsufficientCapacity", "507"}
# What connections do, as botocore says it or, while a body is read, the HTTP client below it.
_BROKEN = (
    HTTPClientError,
    NoConnectionError,
    ResponseParserError,
    aiohttp.ClientError,
    asyncio.IncompleteReadError,
    ConnectionError,
    TimeoutError,
)
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError)


def s3() -> S3:
    """Return this process's file system: one session for all its threads."""
    return _of_process(os.getpid())  # a forked child must not share its parent's


@cache
def _of_process(_pid: int) -> S3:
    return S3(
        default_block_size=_READ_AHEAD_BYTES,
        use_listings_cache=False,
        config_kwargs={
            "connect_timeout": 10,
            "read_timeout": 60,
            "max_pool_connections": 64,
            "retries": {"total_max_attempts": 1, "mode": "standard"},
            # Other stores than AWS refuse the checksums that newer clients add; what matters to us has a sha256.
            "request_checksum_calculation": "when_required",
            "response_checksum_validation": "when_required",
        },
    )


class S3(S3FileSystem):  # type: ignore[misc]
    """See the module. Pickles to a file system of the same settings in the process that loads it."""

    protocol = ("s3", "s3a")
    retries = 1

    async def _call_s3(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        for attempt in range(_ATTEMPTS):
            try:
                return await self._exchange(method, *arguments, **keywords)
            except _NO_CREDENTIALS as error:
                raise PermissionError(errno.EACCES, str(error)) from None
            except _BROKEN as error:
                failure = OSError(errno.EIO, _line(error))
            except (BotoCoreError, ValueError) as error:
                raise OSError(errno.EINVAL, _line(error)) from None  # a request or setting that never works
            except OSError as error:
                # s3fs has put the server's answer below an error of its own.
                cause = error.__cause__
                if not isinstance(cause, ClientError):
                    raise
                code = cause.response["Error"].get("Code", "")
                if method == "complete_multipart_upload" and code == "NoSuchUpload" and attempt:
                    return {}  # the upload is gone because an attempt completed it, whose answer was lost
                failure = _translated(cause, keywords)
                if not _is_passing(cause):
                    raise failure from None
            if attempt + 1 < _ATTEMPTS:
                wait_s = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2**attempt) * random.uniform(0.5, 1)
                logger.info("%s: %s; attempt %d of %d in %.1f s", method, failure, attempt + 2, _ATTEMPTS, wait_s)
                await asyncio.sleep(wait_s)
        raise failure from None

    call_s3 = sync_wrapper(_call_s3)

    async def _exchange(self, method: str, *arguments: Any, **keywords: Any) -> Any:
        answer = await super()._call_s3(method, *arguments, **keywords)
        if method == "get_object":
            async with answer["Body"] as stream:
                answer["Body"] = _Body(await stream.read())
        elif method == "delete_objects" and answer.get("Errors"):
            first = answer["Errors"][0]
            raise OSError(errno.EIO, f"{first.get('Key')} could not be removed: {first.get('Code')}")
        return answer

    async def _cat_file(self, path: str, *arguments: Any, max_concurrency: int | None = None, **keywords: Any) -> bytes:
        # In parallel ranges it would ask for the size first; our objects are small.
        data: bytes = await super()._cat_file(path, *arguments, max_concurrency=max_concurrency or 1, **keywords)
        return data

    async def _pipe_file(self, path: str, data: bytes, **keywords: Any) -> Any:
        return await super()._pipe_file(
            path, data, **{"chunksize": _PART_BYTES, "max_concurrency": _PARALLEL_PARTS} | keywords
        )

    async def _walk(self, path: str, maxdepth: int | None = None, on_error: Any = "raise", **keywords: Any) -> Any:
        # By default a folder that cannot be listed would count as empty, and a corpus would shrink unnoticed.
        async for found in super()._walk(path, maxdepth=maxdepth, on_error=on_error, **keywords):
            yield found

    async def _list_names(self, path: str) -> list[str]:
        """Return the names directly in a folder and hold nothing else.

        1,000 names come with each request, and each needs the one before. Where there are more, the rest of the
        alphabet is listed in 16 ranges at a time: names of units begin with a hexadecimal digit.
        """
        bucket, key, _ = self.split_path(path)
        prefix = f"{key.rstrip('/')}/" if key else ""
        listing = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
        first = await self._call_s3("list_objects_v2", **listing)
        keys = _keys_of(first)
        if first.get("IsTruncated"):
            last = max(keys)
            borders = [last, *(prefix + digit for digit in _DIGITS if prefix + digit > last)]
            ranges = zip(borders, [*borders[1:], None], strict=True)
            for found in await asyncio.gather(*(self._list_range(listing, *each) for each in ranges)):
                keys += found
        names = {key[len(prefix) :].rstrip("/") for key in keys}
        return sorted(names - {""})

    async def _list_range(self, listing: dict[str, str], after: str, until: str | None) -> list[str]:
        keys: list[str] = []
        async for page in self._list_pages("list_objects_v2", StartAfter=after, **listing):
            found = _keys_of(page)
            keys += [key for key in found if until is None or key <= until]  # the next range begins after it
            if until is not None and found and max(found) > until:
                break
        return keys

    list_names = sync_wrapper(_list_names)

    async def _list_entries(self, path: str) -> list[tuple[str, int, float]]:
        """Return (path, bytes, time) of all objects below a folder, 1,000 with each request."""
        bucket, key, _ = self.split_path(path)
        prefix = f"{key.rstrip('/')}/" if key else ""
        entries: list[tuple[str, int, float]] = []
        async for page in self._list_pages("list_objects_v2", Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                entries.append((f"{bucket}/{item['Key']}", item["Size"], item["LastModified"].timestamp()))
        return entries

    list_entries = sync_wrapper(_list_entries)


def _keys_of(page: dict[str, Any]) -> list[str]:
    """Return the keys of the objects and, with a slash at the end, of the folders on a page of a listing."""
    keys = [item["Key"] for item in page.get("Contents", ())]
    return keys + [item["Prefix"] for item in page.get("CommonPrefixes", ())]


class _Body:
    """An answer's body that has been read, as s3fs expects it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self) -> bytes:
        return self._data

    def close(self) -> None:
        pass


def _line(error: Exception) -> str:
    text: str = redacted(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return text


def _is_passing(error: ClientError) -> bool:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status in _RETRIED_STATUS or error.response["Error"].get("Code") in _RETRIED_CODES


def _translated(error: ClientError, keywords: dict[str, Any]) -> OSError:
    details = error.response["Error"]
    code = details.get("Code") or str(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    place = "/".join(str(keywords[name]) for name in ("Bucket", "Key") if name in keywords)
    text = redacted(f"{place}: {code} {details.get('Message') or ''}".strip())
    if code in _FULL or status == 507:
        return OSError(errno.EDQUOT, f"{text}: no space left in the store")
    if code in _MISSING:
        return FileNotFoundError(errno.ENOENT, text)
    if code == "PreconditionFailed" or status == 412:
        if "IfNoneMatch" in keywords:
            return FileExistsError(errno.EEXIST, text)
        return OSError(errno.ESTALE, f"{text}: it changed while it was read")
    if status in (401, 403):
        return PermissionError(errno.EACCES, f"{text}: the store refuses; look at the key and its rights")
    return OSError(errno.EIO, text)
