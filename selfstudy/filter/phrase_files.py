"""The files under `phrases`: what texts are composed of, and what they are looked up in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from importlib import resources
from importlib.resources.abc import Traversable

_PHRASES = resources.files("selfstudy.filter").joinpath("phrases")


def phrase_file(name: str) -> Traversable:
    """Return a file by its name within `phrases`."""
    return _PHRASES.joinpath(name)


def files_in(folder: str) -> list[Traversable]:
    """Return the files of a folder within `phrases`, by name."""
    return sorted(_PHRASES.joinpath(folder).iterdir(), key=lambda file: file.name)


def hash_of(files: Iterable[Traversable]) -> str:
    """Return one hash of the files' bytes, in their order."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()
