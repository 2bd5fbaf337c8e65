import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.bench import app
from jobs.bench_prepare import STEPS
from tests.factories import prose


@pytest.mark.parametrize("real", [False, True])
def test_prepare_prints_one_json_object(tmp_path: Path, real: bool) -> None:
    (tmp_path / "a.txt").write_text(prose(40))
    source = ["--corpus", str(tmp_path)] if real else ["--corpus", "sample", "--corpus-mb", "0.05"]
    result = CliRunner().invoke(app, ["prepare", "--json", "--repetitions", "1", *source])
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert set(printed) == {"benchmark", "figures", "aims", "machine", "versions"}
    figures = printed["figures"]
    assert set(figures["mb_per_s"]) == set(STEPS)
    assert {"mb_per_s_without_filter", "filter_sentences_per_s"} <= set(figures)
    assert figures["sentences"] >= 40
    assert set(printed["aims"]) <= set(figures)


def test_prepare_prints_a_table_for_people() -> None:
    result = CliRunner().invoke(app, ["prepare", "--repetitions", "1", "--corpus", "sample", "--corpus-mb", "0.05"])
    assert result.exit_code == 0
    assert "mb_per_s_without_filter" in result.stdout
    assert not result.stdout.startswith("{")


def test_store_resumes_from_what_it_made() -> None:
    result = CliRunner().invoke(app, ["store", "--json", "--set", "num_commits=2000", "--set", "units_per_split=4"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)["figures"]
    # Of 500 splits one in a hundred lacks its last unit.
    assert figures["splits"] == 500 and figures["splits_missing"] == figures["rows"] == 5
    assert figures["commits"] == figures["commits_made"] == 2000 - 5
    assert figures["units_complete"] == 4 * 495
    assert set(figures["seconds"]) == {"plan", "find", "work", "rows", "complete_units", "status"}
