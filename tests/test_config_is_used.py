"""Every knob is read: a config field that no code looks at is a lie to the user."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from selfstudy import config as config_module
from selfstudy.config import Section

ROOT = Path(__file__).parent.parent / "selfstudy"


def sections() -> Iterator[type[BaseModel]]:
    for value in vars(config_module).values():
        if isinstance(value, type) and issubclass(value, Section) and value is not Section:
            yield value


def names_read() -> set[str]:
    """Attributes and strings of all modules but config.py; vLLM's arguments are read by name."""
    names: set[str] = set()
    for path in ROOT.rglob("*.py"):
        if path.name in ("config.py", "config_engines.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.update(node.value.split())
    return names


READ = names_read()


@pytest.mark.parametrize(
    ("section", "field"), [(section.__name__, field) for section in sections() for field in section.model_fields]
)
def test_field_is_read(section: str, field: str) -> None:
    # The kind of an engine chooses the class of its section, which is what the code looks at.
    assert field in READ or field == "kind", f"{section}.{field} is read nowhere"
