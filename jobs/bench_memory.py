"""Whether memory grows with the corpus: the real job on a small and on a large one, watched from outside.

A process's memory is what it does not share with others (resident minus shared), so that the object store, which
every worker maps, counts for none. The driver is the process that calls `run`; a task is any worker of Ray.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil

from jobs.corpora import SAMPLE
from selfstudy.config import CorpusConfig
from selfstudy.corpus.normalise import normalise
from selfstudy.corpus.read import RawDocument, read_split
from selfstudy.corpus.splits import plan_splits
from selfstudy.ids import keyed_order

_MB = 1_000_000
_SAMPLE_EVERY_S = 0.25
_FILES = 8


def bench_memory(*, sizes_mb: Iterable[float] = (20, 400)) -> dict[str, Any]:
    """Run the job on corpora of these sizes and return the peaks by size. It has one target per chunk, to be quick."""
    figures: dict[str, dict[str, float]] = {"peak_driver_mb": {}, "peak_task_mb": {}, "job_seconds": {}}
    for size_mb in sizes_mb:
        with tempfile.TemporaryDirectory(prefix="bench-memory-") as temporary:
            folder = Path(temporary)
            _write_corpus(folder / "corpus", size_mb)
            peaks = _watch(folder)
        sys.stderr.write(f"{size_mb:g} MB: {peaks}\n")
        for name, value in peaks.items():
            figures[name][f"{size_mb:g}"] = value
    return figures


def _watch(folder: Path) -> dict[str, float]:
    config = {
        "corpus": {"paths": [str(folder / "corpus")], "id_field": "id", "split_mb": 16},
        "output": str(folder / "out"),
        "engine": {"kind": "extractive"},
        "targets": {"per_chunk": 1},
    }
    # The driver says its seconds on stdout; all else that Ray prints belongs to nobody's JSON.
    code = (
        "import json, sys, selfstudy; summary = selfstudy.run(json.loads(sys.argv[1])); "
        "assert summary.exit_code == 0, summary; print(summary.seconds)"
    )
    command = [sys.executable, "-c", code, json.dumps(config)]
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
    peak_driver = peak_task = 0
    while True:
        try:
            output, _ = driver.communicate(timeout=_SAMPLE_EVERY_S)
            break
        except subprocess.TimeoutExpired:
            peak_driver = max(peak_driver, _private_bytes(psutil.Process(driver.pid)))
            peak_task = max([peak_task, *map(_private_bytes, _tasks(driver.pid))])
    if driver.returncode:
        raise RuntimeError(f"the job ended with {driver.returncode}")
    return {
        "peak_driver_mb": round(peak_driver / _MB, 1),
        "peak_task_mb": round(peak_task / _MB, 1),
        "job_seconds": float(output.split()[-1]),
    }


def _tasks(driver_pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(driver_pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any(part.startswith("ray::") for part in process.cmdline()[:1]):
                    yield process


def _private_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - memory.shared)


def _write_corpus(folder: Path, size_mb: float) -> None:
    """Write the sample's documents as rows, copy after copy, the paragraphs of each copy in an order of its own."""
    folder.mkdir(parents=True)
    documents = [text.split("\n\n") for text in _sample_texts()]
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context((folder / f"{number:02d}.jsonl").open("wb")) for number in range(_FILES)]
        num_bytes = 0
        for number in itertools.count():
            paragraphs = documents[number % len(documents)]
            text = "\n\n".join(paragraphs[place] for place in keyed_order(f"copy {number}", 0, len(paragraphs)))
            num_bytes += files[number % _FILES].write(orjson.dumps({"id": str(number), "text": text}) + b"\n")
            if num_bytes >= size_mb * _MB:
                return


def _sample_texts() -> list[str]:
    config = CorpusConfig(paths=[str(SAMPLE)])
    return [
        normalise(item.text, item.text_format).text
        for split in plan_splits(config, seed=0).splits
        for item in read_split(split, config)
        if isinstance(item, RawDocument)
    ]
