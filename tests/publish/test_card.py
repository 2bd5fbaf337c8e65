"""The dataset card says what the manifest says, the unwelcome things first."""

from pathlib import Path

import pytest
import yaml

from selfstudy.publish.card import render_card
from tests.runs import parsed, run_here, write_corpus


def test_front_matter_is_yaml_that_names_the_splits(tmp_path: Path) -> None:
    manifest = run_here(parsed(write_corpus(tmp_path / "corpus"), tmp_path / "out"))
    _, front_matter, body = render_card(manifest).split("---\n", 2)
    content = yaml.safe_load(front_matter)
    assert [entry["split"] for entry in content["configs"][0]["data_files"]] == ["train", "validation"]
    assert content["size_categories"] == ["n<1K"]
    assert f"{manifest['rows']['train']:,} / {manifest['rows']['validation']:,}" in body
    assert f"{manifest['coverage']['asked']:,} (" in body
    card = next((tmp_path / "out" / "snapshots").glob("*/README.md")).read_text()
    assert card == render_card(manifest)


@pytest.mark.parametrize("kind", ["none", ["none"]])
def test_an_unfiltered_run_says_so_in_its_first_lines(tmp_path: Path, kind: object) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=2)
    manifest = run_here(parsed(corpus, tmp_path / "out", filter={"kind": kind}))
    body = render_card(manifest).split("---\n", 2)[2]
    assert "Unfiltered" in "\n".join(body.strip().splitlines()[:4])
    assert manifest["coverage"]["removed_spans"] == 0


def test_gaps_are_said_in_the_first_lines(tmp_path: Path) -> None:
    manifest = run_here(parsed(write_corpus(tmp_path / "corpus", num_documents=1), tmp_path / "out"))
    body = render_card(manifest | {"complete": False, "gaps": [{}, {}]}).split("---\n", 2)[2]
    assert "2 parts of the corpus" in "\n".join(body.strip().splitlines()[:4])
