"""From a URL to a file system and a path: the one place where corpora and outputs are opened.

Whatever fsspec speaks; `s3:` is set up on purpose, see `s3`.
"""

from __future__ import annotations

from typing import Any

import fsspec

from selfstudy.redact import carries_credentials, redacted
from selfstudy.sections import ConfigError

_S3 = ("s3", "s3a")


def open_url(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path in its terms; asks nothing of the store.

    Raises:
        ConfigError: the URL carries credentials, or its protocol is unknown.
    """
    refuse_credentials(url)
    if protocol_of(url) in _S3:
        from selfstudy.s3 import s3  # half a second that local runs need not pay

        fs = s3()
        return fs, fs._strip_protocol(url)
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except (ValueError, ImportError) as error:
        raise ConfigError([f"{redacted(url)}: {redacted(str(error))}"]) from None


def open_file(url: str) -> Any:
    """Open a file for reading. Bytes are as they are stored."""
    fs, path = open_url(url)
    return fs.open(path, "rb")


def is_remote(url: str) -> bool:
    return protocol_of(url) not in ("", "file", "local")


def protocol_of(url: str) -> str:
    return url.split("://", 1)[0] if "://" in url else ""


def refuse_credentials(url: str) -> None:
    """A URL is written into units, manifests and cards, so nothing secret may stand in one.

    Raises:
        ConfigError: it has a query, or a user and password.
    """
    if carries_credentials(url):
        raise ConfigError(
            [
                f"{redacted(url)}: credentials and queries do not belong into a URL; set AWS_ACCESS_KEY_ID and so on, "
                "or the FSSPEC_... variables of its protocol, in the environment"
            ]
        )
