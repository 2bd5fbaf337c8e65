"""Processes that die in the same place again and again end with one line; Ray alone would repeat them for ever."""

from pathlib import Path

import pytest

from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.runs import RunProcess, config_of, num_commits, published, write_corpus

pytestmark = pytest.mark.fault

# Python imports it first in every process. The driver stays as it is; a worker comes to harm where it loads a thing.
SITECUSTOMIZE = """
import os, sys

def watch(event, arguments):
    if event == "{event}" and str(arguments[0]).endswith("{name}"):
        {harm}

if any("default_worker" in argument for argument in sys.orig_argv):
    sys.addaudithook(watch)
"""


@pytest.mark.parametrize(
    ("event", "name", "harm", "line"),
    [
        ("open", "lexicon.yaml", "os._exit(137)", "its process died 3 times on the way"),
        ("open", "lexicon.yaml", "raise ImportError('no such library')", "no such library"),
        ("import", "engines.scripted", "os._exit(137)", "its process died 3 times on the way"),
        ("import", "engines.scripted", "raise ImportError('no such library')", "no such library"),
        ("import", "selfstudy.worker", "raise ImportError('no such library')", "no such library"),
    ],
    ids=["filter dies", "filter fails", "engine dies", "engine fails", "package is missing"],
)
def test_a_worker_that_cannot_start_ends_the_run_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: str, name: str, harm: str, line: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SITECUSTOMIZE.format(event=event, name=name, harm=harm))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    corpus = write_corpus(tmp_path / "corpus", num_documents=2)
    config = config_of(corpus, tmp_path / "out", engine={"kind": "scripted"}, filter={"kind": "embedded"})
    run = RunProcess(config, tmp_path)
    try:
        assert run.wait() == 2
    finally:
        run.kill()
    (said,) = [each for each in run.stderr.splitlines() if each.startswith("selfstudy:")]
    assert "a worker cannot start" in said and line in said
    # Ray itself logs what it cannot unpickle.
    assert name == "selfstudy.worker" or "Traceback" not in run.stderr
    assert num_commits(tmp_path / "out") == 0
    assert "os._exit" in harm or not list((tmp_path / "out" / "units" / "attempts").glob("actor-*/*"))


# A worker dies where a stage meets a certain text.
POISON = """
import importlib, os, sys

if any("default_worker" in argument for argument in sys.orig_argv):
    module = importlib.import_module("{module}")
    harmless = module.{name}

    def deadly(text, *arguments, **named):
        if "arsenic" in repr(text):
            os._exit(137)
        return harmless(text, *arguments, **named)

    module.{name} = deadly
"""


@pytest.mark.parametrize(
    ("module", "name", "line"),
    [
        ("selfstudy.prepare", "prepare_document", "cannot be prepared: its process died 2 times"),
        ("selfstudy.filter.lift", "lift", "cannot be filtered: its process died 2 times"),
    ],
)
def test_a_text_that_kills_its_process_is_a_gap_and_its_neighbours_finish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, line: str
) -> None:
    corpus = write_corpus(tmp_path / "corpus", num_documents=12)
    with corpus.open("a") as file:
        file.write('{"id": "poison", "text": "The old cook kept arsenic in a blue jar on the shelf by the door."}\n')
    config = config_of(corpus, tmp_path / "out", corpus={"split_mb": 0.005}, limits={"unit_attempts": 2})
    with monkeypatch.context() as poisoned:
        (tmp_path / "sitecustomize.py").write_text(POISON.format(module=module, name=name))
        poisoned.setenv("PYTHONPATH", str(tmp_path), prepend=":")
        run = RunProcess(config, tmp_path)
        try:
            assert run.wait() == 1, run.stderr
        finally:
            run.kill()
    (gap,) = run.summary()["gaps"]
    assert line in gap["reason"]
    assert num_commits(tmp_path / "out") > 0
    again = RunProcess(config, tmp_path)
    assert again.wait() == 0, again.stderr
    assert "poison" in published(tmp_path / "out")["pairs"]["doc_id"].to_list()
    assert verify(Folder.at(str(tmp_path / "out"))).ok
