"""What the benchmarks read: real documents where a folder of them lies beside the repository, else the sample."""

from __future__ import annotations

import shutil
from pathlib import Path

SAMPLE = Path(__file__).parent / "sample" / "corpus"
_REAL = Path(__file__).parents[2] / "shared" / "data" / "documents"
_MB = 1_000_000


def real_documents() -> list[str]:
    """Return globs of the real documents; empty where there are none."""
    patterns = ("shard-*.jsonl", "*.md", "*.html", "*.txt")
    return [str(_REAL / pattern) for pattern in patterns] if _REAL.is_dir() else []


def replicate_files(source: Path, target: Path, corpus_mb: float) -> None:
    """Copy all files of a folder under new names, again and again, until there are so many megabytes."""
    files = sorted(file for file in source.iterdir() if file.is_file())
    num_bytes = copy = 0
    while num_bytes < corpus_mb * _MB:
        for file in files:
            shutil.copyfile(file, target / f"{copy:04d}-{file.name}")
            num_bytes += file.stat().st_size
        copy += 1
