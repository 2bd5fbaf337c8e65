"""What a person has looked at and let through: `filter.allow`."""

import re
from collections.abc import Sequence

from selfstudy.ids import content_hash

_ID_CHARS = 12


def span_id(text: str) -> str:
    """Name a removed span by its text, so that one entry holds for all its copies and for later runs."""
    return content_hash("removed", text)[:_ID_CHARS]


def is_allowed(text: str, allow: Sequence[str]) -> bool:
    """Whether an entry is the span's id, or a regular expression found in it."""
    if not allow:
        return False
    name = span_id(text)
    return any(entry == name or re.search(entry, text) is not None for entry in allow)
