"""schemas/ and the code cannot drift apart."""

import json
from pathlib import Path

import pytest

from selfstudy.config import Config
from selfstudy.reasons import DocumentReject, Ineligible, TargetReject
from selfstudy.tables import TABLES

FOLDER = Path(__file__).parent.parent / "schemas"


@pytest.mark.parametrize("name", [*TABLES, "config"])
def test_schema_file_is_what_the_code_says(name: str) -> None:
    expected = Config.model_json_schema() if name == "config" else TABLES[name].describe()
    stored = json.loads((FOLDER / f"{name}.json").read_text())
    assert stored == json.loads(json.dumps(expected)), "run `make schemas`"


def test_there_is_no_schema_of_nothing() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {*TABLES, "config"}


def test_every_reason_is_documented_in_its_column() -> None:
    meanings = {column.name: column.meaning for name in ("chunks", "rejects") for column in TABLES[name].columns}
    for reason in [*DocumentReject, *TargetReject]:
        assert reason.value in meanings["reason"]
    for ineligible in Ineligible:
        assert ineligible.value in meanings["sentences"]
