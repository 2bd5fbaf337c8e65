"""Adds what the filter doubts of packages to its training data.

    python jobs/mine_packages.py --unlike labelled.jsonl.gz --unlike documents/ gnome-devel-docs orca

Reads the newest version of Debian's packages that are named, scores their sentences with the shipped model, and adds
the most doubted ones of each to `package_spans.bin`, the package to `package_spans.txt`. They count as clean: a
package's documentation orders nothing of a model. What could say otherwise stands first in what is printed, to be
read. Left out is what shares words with a measuring set or with what `--unlike` names (labelled data, documents that
are measured with).
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from jobs import package_spans
from jobs.bench_filter import exam_examples, held_out_examples, unseen_instructions
from jobs.package_spans import Kind, debian_archive, hash_of, read_spans, say_left_out, write_spans
from jobs.package_text import documents_of
from jobs.planting import shingles, words_of
from selfstudy.filter.features import Featurizer
from selfstudy.filter.model_file import FilterModel, load_model
from selfstudy.filter.normalise import fold, unwrap

_LEAST_SCORE = 0.3
_MOST_OF_A_PACKAGE, _LEAST_OF_A_PACKAGE = 300, 30
_MEASURED_RUN, _KNOWN_RUN = 5, 8
_LEAST_LETTERS = 8
_BATCH = 2_000


class Known:
    """Runs of words that no sentence may share."""

    def __init__(self, texts: Iterable[str], length: int) -> None:
        self._length = length
        self._runs = {run for text in texts for run in shingles(words_of(text), length)}

    def __contains__(self, sentence: str) -> bool:
        return not self._runs.isdisjoint(shingles(words_of(sentence), self._length))


def doubted(sentences: Iterable[str], model: FilterModel) -> list[tuple[float, str]]:
    """Return (score, sentence) of those that the model doubts, the highest first."""
    unread, featurizer, found = sorted(set(sentences)), Featurizer(), []
    for start in range(0, len(unread), _BATCH):
        batch = unread[start : start + _BATCH]
        logits = model.cascade.logits(featurizer, [unwrap(fold(sentence)) for sentence in batch])
        scores = model.calibration.scores_of(logits).tolist()
        found += [(score, text) for score, text in zip(scores, batch, strict=True) if score >= _LEAST_SCORE]
    return sorted(found, reverse=True)


def chosen(found: Iterable[tuple[float, str]], known: Iterable[Known]) -> list[tuple[float, str]]:
    """Return those of a package that are kept; none if there are few, since a package costs a download."""
    kept = [
        (score, sentence)
        for score, sentence in found
        if sum(map(str.isalpha, sentence)) >= _LEAST_LETTERS and not any(sentence in runs for runs in known)
    ]
    return kept[:_MOST_OF_A_PACKAGE] if len(kept) >= _LEAST_OF_A_PACKAGE else []


def texts_in(path: Path) -> Iterator[str]:
    """Yield the texts of a file or of a folder's files, of JSON Lines each row's."""
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
            if ".jsonl" in file.suffixes:
                yield from (str(json.loads(line).get("text", "")) for line in content.splitlines() if line.strip())
            else:
                yield content.decode(errors="ignore")


def main(names: list[str], unlike: list[Path]) -> None:
    measured = [*unseen_instructions(), *(example.text for example in [*held_out_examples(), *exam_examples()])]
    known = [Known(measured, _MEASURED_RUN), Known((text for path in unlike for text in texts_in(path)), _KNOWN_RUN)]
    model, spans = load_model(), read_spans(package_spans.SPANS.read_bytes())
    packages = set(package_spans.PACKAGES.read_text(encoding="utf-8").splitlines())
    for name in names:
        if any(line.startswith(f"debian {name}=") for line in packages):
            print(f"{name}: read before", file=sys.stderr)
            continue
        try:
            with tempfile.TemporaryDirectory() as folder:
                archive, version = debian_archive(name, Path(folder))
                found = doubted(documents_of(archive), model)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            say_left_out("debian", name, error)
            continue
        kept = chosen([(score, text) for score, text in found if hash_of(text) not in spans], known)
        print(f"{name} {version}: {len(kept)} kept of {len(found)} doubted", file=sys.stderr)
        for score, sentence in kept:
            print(f"{score:.3f}\t{name}\t{sentence}")
        if kept:
            spans.update((hash_of(sentence), Kind.DOUBTED) for _, sentence in kept)
            packages.add(f"debian {name}={version}")
            write_spans(spans, packages)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="PACKAGE")
    parser.add_argument("--unlike", type=Path, action="append", default=[], metavar="PATH")
    arguments = parser.parse_args()
    for path in arguments.unlike:
        if not path.exists():
            parser.error(f"--unlike {path}: no such file or folder")
    main(arguments.names, arguments.unlike)
