"""The engine bench takes its times by the same code in every arm: here with an engine that only pretends."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.bench_engine import figures_of, least_prompt_tokens
from jobs.bench_probe import TRACE_VARIABLE, read_trace, write_site

ROOT = Path(__file__).parent.parent
FAKE_VLLM = """
import asyncio
from types import SimpleNamespace

class AsyncLLM:
    def __init__(self):
        pass

    async def generate(self, prompt, sampling_params, request_id):
        await asyncio.sleep(0.01)
        completion = SimpleNamespace(token_ids=[7] * sampling_params.max_tokens)
        yield SimpleNamespace(
            finished=True, prompt_token_ids=prompt["prompt_token_ids"], num_cached_tokens=4, outputs=[completion]
        )
"""
PROGRAM = """
import asyncio
from types import SimpleNamespace
from vllm.v1.engine.async_llm import AsyncLLM

async def main():
    engine = AsyncLLM()
    for number in range(3):
        sampling = SimpleNamespace(max_tokens=number)
        async for output in engine.generate({"prompt_token_ids": [1] * 6}, sampling, str(number)):
            assert output.finished

asyncio.run(main())
"""


def test_the_probe_sees_every_request_and_the_start_of_the_engine(tmp_path: Path) -> None:
    package = tmp_path / "fake" / "vllm" / "v1" / "engine"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    (package / "async_llm.py").write_text(FAKE_VLLM)
    trace = tmp_path / "trace.jsonl"
    paths = [write_site(tmp_path / "site"), ROOT, tmp_path / "fake"]
    environment = os.environ | {TRACE_VARIABLE: str(trace), "PYTHONPATH": os.pathsep.join(map(str, paths))}

    subprocess.run([sys.executable, "-c", PROGRAM], env=environment, check=True)

    requests, starts = read_trace(trace)
    assert [request["max_tokens"] for request in requests] == [0, 1, 2]
    assert all((request["cached"], request["prompt"]) == (4, [1] * 6) for request in requests)
    (start,) = starts
    assert start["start"] < start["end"] <= requests[0]["start"] < requests[0]["end"]


def test_the_start_of_a_second_engine_is_no_part_of_the_window(tmp_path: Path) -> None:
    """Questions from 0 to 10, another engine's start from 12 to 30, answers from 31 to 41."""
    lines = [
        {"engine": 1, "start": -20.0, "end": -1.0},
        request(1, 0.0, 10.0, max_tokens=16),
        {"engine": 2, "start": 12.0, "end": 30.0},
        request(2, 31.0, 41.0, max_tokens=32),
    ]
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(map(json.dumps, lines)))

    figures = figures_of(trace, answer_tokens=32, block_size=4)

    assert figures["first_to_last_s"] == 41
    assert figures["window_s"] == 41 - 18
    assert figures["busy_s"] == 20
    assert figures["engine_start_s"] == 19 + 18
    assert figures["pairs_per_s"] == pytest.approx(1 / 23)
    assert figures["time_to_first_pair_s"] == 41


def request(engine: int, start: float, end: float, *, max_tokens: int) -> dict[str, object]:
    return {"engine": engine, "start": start, "end": end, "max_tokens": max_tokens, "prompt": [1] * 6, "cached": 0}


def test_the_least_possible_counts_each_shared_block_once() -> None:
    passage = list(range(8))
    # Two blocks of four are shared; what follows them differs. A whole prompt from the cache computes its last block.
    assert least_prompt_tokens([[*passage, 90], [*passage, 91]], block_size=4) == 9 + 1
    assert least_prompt_tokens([passage, passage], block_size=4) == 8 + 4
    assert least_prompt_tokens([passage, [99, *passage[1:]]], block_size=4) == 16
