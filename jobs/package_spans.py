"""Builds `package_spans.jsonl.gz`, training data of the injection filter: python jobs/package_spans.py TO.jsonl.gz

Real sentences of packages under open licences. Clean ones: documentation, stories of games, fortune cookies and
descriptions of tools for language models, of each kind those that an earlier model of the filter doubted, and some at
random. Attacks: sentences of prompts that steer whoever answers, each read and labelled by a language model.

The sentences are others', so the repository holds where they are found and which they are, not what they say:
`package_spans.txt` names the packages with their versions, `package_spans.bin` a hash and a label of each sentence.
What cannot be found any more is counted. Needs pip, and apt-get for Debian's packages.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from enum import IntEnum
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from jobs.package_text import documents_of, prompts_of, readme_of

PACKAGES = Path(__file__).with_suffix(".txt")
SPANS = Path(__file__).with_suffix(".bin")
_HASH_BYTES = 6
_RECORD_BYTES = _HASH_BYTES + 1
_PER_CALL = 50


class Kind(IntEnum):
    """What a sentence is, as its record says."""

    DOUBTED = 0
    RANDOM = 1
    ATTACK = 2


def hash_of(sentence: str) -> bytes:
    return hashlib.sha256(sentence.encode()).digest()[:_HASH_BYTES]


def read_spans(content: bytes) -> dict[bytes, Kind]:
    """Return the kind of each hash."""
    records = (content[start : start + _RECORD_BYTES] for start in range(0, len(content), _RECORD_BYTES))
    return {record[:_HASH_BYTES]: Kind(record[-1]) for record in records}


def write_spans(spans: dict[bytes, Kind], packages: Iterable[str]) -> None:
    """Write both files, in an order that does not depend on when a span or a package was added."""
    SPANS.write_bytes(b"".join(digest + bytes([kind]) for digest, kind in sorted(spans.items())))
    in_order = sorted(packages, key=lambda line: (line.split()[0], line.split()[1].partition("=")[0]))
    PACKAGES.write_text("".join(f"{line}\n" for line in in_order), encoding="utf-8")


def rows_of(package: str, sentences: Iterable[str], spans: dict[bytes, Kind]) -> dict[bytes, dict[str, Any]]:
    """Return the rows of a package by the hashes of their sentences."""
    rows: dict[bytes, dict[str, Any]] = {}
    for sentence in sentences:
        digest = hash_of(sentence)
        if digest in spans:
            kind = spans[digest]
            rows[digest] = {
                "text": sentence,
                "label": int(kind is Kind.ATTACK),
                "family": f"mined_{package}",
                "genre": "prompts" if kind is Kind.ATTACK else "packages",
                "hard": kind is Kind.DOUBTED,
            }
    return rows


def debian_archive(package: str, folder: Path) -> tuple[Path, str]:
    """Return the unpacked tar archive of a package, named with its version or without, and its version."""
    _call("apt-get", "download", package, cwd=folder)
    (archive,) = folder.glob("*.deb")
    unpacked = folder / "files.tar"
    with unpacked.open("wb") as file:
        subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], stdout=file, check=True)
    return unpacked, _call("dpkg-deb", "--field", archive, "Version").strip()


def of_debian(package: str, folder: Path) -> Iterator[str]:
    yield from documents_of(debian_archive(package, folder)[0])


def of_wheel(package: str, folder: Path) -> Iterator[str]:
    _call(sys.executable, "-m", "pip", "download", "--quiet", *_PIP, "--dest", folder, package)
    (wheel,) = folder.glob("*.whl")
    yield from prompts_of(wheel)


def of_readmes(packages: str, folder: Path) -> Iterator[str]:
    names, report = packages.split(), folder / "report.json"
    options = ("--quiet", "--dry-run", "--ignore-installed", "--report", report)
    try:
        _call(sys.executable, "-m", "pip", "install", *options, *_PIP, *names)
    except subprocess.CalledProcessError as error:
        # One that is gone must not take the others along.
        if len(names) == 1:
            say_left_out("readme", packages, error)
            return
        for half in (names[: len(names) // 2], names[len(names) // 2 :]):
            yield from of_readmes(" ".join(half), folder)
        return
    for installed in json.loads(report.read_text(encoding="utf-8"))["install"]:
        yield from readme_of(installed["metadata"].get("description", ""))


_PIP = ("--no-deps", "--only-binary", ":all:", "--ignore-requires-python", "--disable-pip-version-check")
_SOURCES: dict[str, Callable[[str, Path], Iterator[str]]] = {
    "debian": of_debian,
    "prompts": of_wheel,
    "readme": of_readmes,
}


def say_left_out(source: str, packages: str, error: Exception) -> None:
    said = str(getattr(error, "stderr", None) or error).strip()
    print(f"{source} {packages[:80]}: left out: {said.splitlines()[-1]}", file=sys.stderr)


def _call(*command: str | Path, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def _read(kind_of_source: str, packages: str) -> dict[bytes, dict[str, Any]]:
    spans = read_spans(SPANS.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        name = kind_of_source if kind_of_source == "readme" else packages.partition("=")[0]
        return rows_of(name, _SOURCES[kind_of_source](packages, Path(folder)), spans)


def _tasks(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Return (source, packages), many descriptions to a call."""
    named = [line.split(maxsplit=1) for line in lines if line.strip()]
    readmes = [package for source, package in named if source == "readme"]
    alone = [(source, package) for source, package in named if source != "readme"]
    return [
        *alone,
        *(("readme", " ".join(readmes[i : i + _PER_CALL])) for i in range(0, len(readmes), _PER_CALL)),
    ]


def main(target: Path) -> None:
    tasks = _tasks(PACKAGES.read_text(encoding="utf-8").splitlines())
    rows: dict[bytes, dict[str, Any]] = {}
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, (task, future) in enumerate([(task, pool.submit(_read, *task)) for task in tasks], 1):
            try:
                for digest, row in future.result().items():
                    # The first package that says it.
                    rows.setdefault(digest, row)
            except (subprocess.CalledProcessError, FileNotFoundError) as error:
                say_left_out(*task, error)
            print(f"{number} of {len(tasks)} sources: {len(rows)} sentences", file=sys.stderr)
    with target.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as file:
        for digest in sorted(rows):
            file.write((json.dumps(rows[digest], ensure_ascii=False) + "\n").encode())
    print(f"{target}: {len(rows)} of {len(SPANS.read_bytes()) // _RECORD_BYTES} sentences")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
