"""A file of spans -> the same rows with score, flagged and judge.

Reads: Parquet, or JSONL (plain or .gz), with a string column `text`. Writes: Parquet with all columns of it, in the
same order of rows, and `score` (float64), `flagged` (boolean, never null), `judge` (string). A row whose text is null
scores 0. Refuses a file without `text`, and one that already has a column of these names.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json
import pyarrow.parquet as pq

from selfstudy.config import ConfigError, FilterConfig
from selfstudy.filter.judge import Context, Judge, Verdict
from selfstudy.filter.load import load_judge

_ADDED = ("score", "flagged", "judge")
_BATCH = 512
_BLOCK_BYTES = 64 << 20


def score_file(source: Path, to: Path, config: FilterConfig) -> dict[str, Any]:
    """Score a file; return counts and the judge's name.

    Raises:
        ConfigError: the input cannot be read or lacks `text`, the output cannot be written, or there is no judge.
    """
    judge = load_judge(config)
    if judge is None:
        raise ConfigError(["filter.kind: none: there is nothing to score with"])
    table = _read(source)
    verdicts = _score(judge, table.column("text").to_pylist())
    flagged = [verdict.score >= config.threshold for verdict in verdicts]
    table = table.append_column("score", pa.array([verdict.score for verdict in verdicts], pa.float64()))
    table = table.append_column("flagged", pa.array(flagged, pa.bool_()))
    table = table.append_column("judge", pa.array([verdict.judge for verdict in verdicts], pa.string()))
    try:
        pq.write_table(table, to, compression="zstd")
    except OSError as error:
        raise ConfigError([f"--to {to}: cannot be written: {error.strerror or error}"]) from None
    return {
        "rows": table.num_rows,
        "flagged": sum(flagged),
        "judge": judge.name,
        "threshold": config.threshold,
        "to": str(to),
    }


def _read(source: Path) -> pa.Table:
    try:
        if source.suffix == ".parquet":
            table = pq.ParquetFile(source).read()
        else:
            with pa.input_stream(str(source), compression="detect") as stream:
                options = pa_json.ReadOptions(block_size=_BLOCK_BYTES)
                table = pa_json.read_json(stream, read_options=options)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError([f"{source}: cannot be read: {' '.join(str(error).split())}"]) from None
    if "text" not in table.column_names or not _is_string(table.schema.field("text").type):
        raise ConfigError([f"{source}: has no string column `text`"])
    if taken := [name for name in _ADDED if name in table.column_names]:
        raise ConfigError([f"{source}: already has a column {taken[0]!r}"])
    return table


def _is_string(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _score(judge: Judge, texts: list[str | None]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    for start in range(0, len(texts), _BATCH):
        batch = texts[start : start + _BATCH]
        scored = judge.score([Context(text or "") for text in batch])
        verdicts.extend(scored)
    return verdicts
