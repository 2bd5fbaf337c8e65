"""The closed lists are closed from both sides: a reason that nothing gives is a promise that nothing keeps."""

import ast
from enum import StrEnum
from pathlib import Path

import pytest

import selfstudy
from selfstudy.reasons import DocumentReject, Ineligible, Stage, TargetReject

SOURCES = [file for file in Path(selfstudy.__file__).parent.rglob("*.py") if file.name != "reasons.py"]
LISTS = (Ineligible, Stage, DocumentReject, TargetReject)


@pytest.fixture(scope="module")
def named() -> set[tuple[str, str]]:
    """Every LIST.MEMBER that the package names."""
    return {
        (node.value.id, node.attr)
        for file in SOURCES
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


@pytest.mark.parametrize("reason", [reason for reasons in LISTS for reason in reasons], ids=repr)
def test_every_reason_is_given_by_the_code(reason: StrEnum, named: set[tuple[str, str]]) -> None:
    assert (type(reason).__name__, reason.name) in named


@pytest.mark.parametrize("reasons", LISTS)
def test_a_value_is_its_name_in_lower_case(reasons: type[StrEnum]) -> None:
    assert [reason.value for reason in reasons] == [reason.name.lower() for reason in reasons]
