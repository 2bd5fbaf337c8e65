"""What all commands share: where they print, the options that several of them have, a store that cannot be read."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from selfstudy.sections import ConfigError

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

Output = Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder or URL that a run wrote to")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr")]


def print_json(content: Any) -> None:
    sys.stdout.write(as_json_text(content) + "\n")


def as_json_text(content: Any) -> str:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode()


@contextmanager
def reading(output: str) -> Iterator[None]:
    """A store that cannot be read is a wrong place or key: usage, not a finding."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError([f"{output}: cannot be read: {error.strerror or error}"]) from None
