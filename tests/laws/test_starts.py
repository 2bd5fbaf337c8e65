"""Workers that cannot start end the run with one line; Ray alone would start them again and again."""

from pathlib import Path

import pytest

from tests.runs import RunProcess, config_of, num_commits, write_corpus

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
    assert not list((tmp_path / "out" / "units" / "attempts").glob("actor-*/*"))
