"""No credential in a manifest, card, log or exception: userinfo and query strings of URLs are cut out."""

import re
from typing import Any

# A password may hold slashes, so userinfo with a colon reaches to the last @; `host:8000/` is none.
_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://)(?![^/@\s:]*:\d+/)[^/@\s:]*:[^\s'\"]*@", re.IGNORECASE)
_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?#'\"]+)\?[^\s'\"]*", re.IGNORECASE)
# The parameters of signed requests, wherever they stand: error messages often name paths without their protocol.
_SIGNED = re.compile(r"\b(X-Amz-[\w-]+|AWSAccessKeyId|Signature|sig|access_token)=[^\s&'\"]+", re.IGNORECASE)


# In these, what stands before an @ is a user or a token; elsewhere it may be part of the address (abfs://container@...).
_USERINFO_IS_SECRET = re.compile(r"(s3a?|https?)://", re.IGNORECASE)
# A lone `?` is a wildcard of globs.
_ASSIGNMENT = re.compile(r"://[^\s]*\?[\w.%-]+=")


def carries_credentials(url: str) -> bool:
    """Whether a URL has a user with a password, a token in its place, or a query."""
    token = _USERINFO.match(url) and _USERINFO_IS_SECRET.match(url)
    return bool(_PASSWORD.match(url) or token or _ASSIGNMENT.search(url))


def redacted(value: Any) -> Any:
    """Return a copy of a JSON-like value whose URLs carry no credentials."""
    if isinstance(value, str):
        if "://" in value:
            value = _QUERY.sub(r"\1?...", _USERINFO.sub(r"\1...@", _PASSWORD.sub(r"\1...@", value)))
        return _SIGNED.sub(r"\1=...", value)
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value
