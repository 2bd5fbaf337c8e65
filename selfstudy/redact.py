"""No credential in a manifest, card, log or exception: userinfo and query strings of URLs are cut out."""

import re
from typing import Any

_USERINFO = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/@\s]+@", re.IGNORECASE)
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?#'\"]+)\?[^\s'\"]*", re.IGNORECASE)


def redacted(value: Any) -> Any:
    """Return a copy of a JSON-like value whose URLs carry no credentials."""
    if isinstance(value, str):
        return _QUERY.sub(r"\1?...", _USERINFO.sub(r"\1...@", value)) if "://" in value else value
    if isinstance(value, dict):
        return {key: redacted(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(item) for item in value]
    return value
