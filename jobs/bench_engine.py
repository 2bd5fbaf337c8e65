"""How much of a raw engine's speed the job keeps: three ways to send the same requests to the same vLLM.

raw       AsyncLLM driven directly, oldest chunk first
job       `selfstudy run` on the same documents
ray_data  two ray.data.llm processors, all questions and then all answers
shuffled  (with kv_blocks) AsyncLLM driven directly, targets in random order

Each arm runs in a process of its own; `bench_probe` takes the times. The window is the first request to the last
completion, less what of it an engine's start took: that of `ray_data`'s second engine, which is given apart like all
starts. The model has random weights, lengths are fixed (`ignore_eos`). Nothing else should run on the machine.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jobs.bench_probe import TRACE_VARIABLE, read_trace, write_site
from jobs.tiny_model import write_tiny_model
from selfstudy.ids import keyed_order

ARMS = ("raw", "job", "ray_data")
# On a CPU; on a GPU the job should keep 0.97. Computed prompt tokens: at most 1.1 of the least possible.
AIMS = {"job_over_raw": 0.95, "job_over_ray_data_llm": 2.0}
_SAMPLE = Path(__file__).parent / "sample" / "corpus"
_ARM_TIMEOUT_S = 1800


@dataclass(frozen=True, kw_only=True)
class BenchSpec:
    """What all arms share. `config` is the job's, as plain data; `block_size` in tokens."""

    folder: str
    config: dict[str, Any]
    trace: str


def bench_engine(
    *,
    num_chunks: int = 32,
    per_chunk: int = 8,
    repetitions: int = 3,
    arms: Iterable[str] = ARMS,
    hidden_size: int = 384,
    num_layers: int = 4,
    question_tokens: int = 16,
    answer_tokens: int = 32,
    max_num_seqs: int = 32,
    kv_blocks: int | None = None,
    block_size: int = 128,
    engine_args: dict[str, Any] | None = None,
    engine_gpus: float = 0,
) -> dict[str, Any]:
    """Run the arms interleaved and return the medians, and the pairs per second of every run.

    `kv_blocks` limits the KV cache to that many blocks; `block_size` is the engine's, to compute the least possible
    number of prompt tokens (128 on CPU, 16 on GPU).
    """
    runs: dict[str, list[dict[str, float]]] = {arm: [] for arm in arms}
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as temporary:
        folder = Path(temporary)
        texts = _write_corpus(folder / "corpus", num_chunks)
        write_tiny_model(
            folder / "model", texts, hidden_size=hidden_size, num_layers=num_layers, vocab_size=4096, max_model_len=2048
        )
        extra = dict(engine_args or {})
        if kv_blocks is not None:
            extra["num_gpu_blocks_override"] = kv_blocks
        config = _job_config(folder, per_chunk, question_tokens, answer_tokens, max_num_seqs, extra, engine_gpus)
        for repetition in range(repetitions):
            for arm in runs:
                trace = folder / f"{arm}-{repetition}.jsonl"
                config["output"] = str(folder / f"out-{arm}-{repetition}")
                _run_arm(arm, BenchSpec(folder=str(folder), config=config, trace=str(trace)))
                runs[arm].append(figures_of(trace, answer_tokens, block_size))
    return _summary(runs)


def figures_of(trace: Path, answer_tokens: int, block_size: int) -> dict[str, float]:
    """Return what the trace says: pairs per second, computed and least prompt tokens per pair, and times in s."""
    requests, starts = read_trace(trace)
    began, ended = min(request["start"] for request in requests), max(request["end"] for request in requests)
    # An arm with two engines, one after the other, is not charged for the start of the second.
    window_s = ended - began - sum(max(0.0, min(start["end"], ended) - max(start["start"], began)) for start in starts)
    busy_s = sum(
        max(request["end"] for request in group) - min(request["start"] for request in group)
        for engine in {request["engine"] for request in requests}
        for group in [[request for request in requests if request["engine"] == engine]]
    )
    answers = [request for request in requests if request["max_tokens"] == answer_tokens]
    computed = sum(len(request["prompt"]) - request["cached"] for request in requests)
    least = least_prompt_tokens([request["prompt"] for request in requests], block_size)
    prompt_tokens = sum(len(request["prompt"]) for request in requests)
    return {
        "pairs": len(answers),
        "pairs_per_s": len(answers) / window_s,
        "window_s": window_s,
        "first_to_last_s": ended - began,
        "busy_s": busy_s,
        "time_to_first_pair_s": min(request["end"] for request in answers) - began,
        "engine_start_s": sum(start["end"] - start["start"] for start in starts),
        "prompt_tokens_per_pair": prompt_tokens / len(answers),
        "computed_tokens_per_pair": computed / len(answers),
        "least_tokens_per_pair": least / len(answers),
        "cached_share": 1 - computed / prompt_tokens,
    }


def least_prompt_tokens(prompts: list[list[int]], block_size: int) -> int:
    """Return how many prompt tokens a prefix cache without bounds must compute, in whole blocks.

    The last token of a prompt is always computed, so a block that it ends cannot come from the cache.
    """
    known: set[int] = set()
    total = 0
    for prompt in prompts:
        prefix, cached = 0, 0
        for end in range(block_size, len(prompt) + 1, block_size):
            prefix = hash((prefix, *prompt[end - block_size : end]))
            if prefix in known and cached == end - block_size and end < len(prompt):
                cached = end
            known.add(prefix)
        total += len(prompt) - cached
    return total


def _summary(runs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    medians = {
        arm: {name: round(statistics.median(run[name] for run in results), 4) for name in results[0]}
        for arm, results in runs.items()
    }
    pairs_per_s = {arm: [round(run["pairs_per_s"], 3) for run in results] for arm, results in runs.items()}
    summary: dict[str, Any] = {"arms": medians, "pairs_per_s_of_each_run": pairs_per_s}
    job = medians.get("job")
    if job is not None:
        summary["computed_over_least"] = round(job["computed_tokens_per_pair"] / job["least_tokens_per_pair"], 4)
        summary["time_to_first_pair_s"] = job["time_to_first_pair_s"]
        for other, name in (("raw", "job_over_raw"), ("ray_data", "job_over_ray_data_llm")):
            if other in medians:
                summary[name] = round(job["pairs_per_s"] / medians[other]["pairs_per_s"], 4)
                # The same with all that a second engine's start takes, and with engines' own windows alone.
                for measure in ("first_to_last", "busy"):
                    ratio = medians[other][f"{measure}_s"] / job[f"{measure}_s"]
                    summary[f"{name}_{measure}"] = round(ratio, 4)
    return summary


def _run_arm(arm: str, spec: BenchSpec) -> None:
    file = Path(spec.folder) / "spec.json"
    file.write_text(json.dumps(asdict(spec)), encoding="utf-8")
    environment = os.environ | {TRACE_VARIABLE: spec.trace, "VLLM_LOGGING_LEVEL": "ERROR"}
    environment.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    # Ray's workers look for the probe, too.
    root = Path(__file__).parent.parent
    site = write_site(Path(spec.folder) / "site")
    paths = [str(site), str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    # What an arm prints belongs to nobody's JSON.
    command = [sys.executable, "-m", "jobs.bench_arms", arm, str(file)]
    subprocess.run(
        command,
        env=environment,
        check=True,
        stdout=sys.stderr,
        timeout=_ARM_TIMEOUT_S,
        cwd=Path(__file__).parent.parent,
    )


def _job_config(
    folder: Path,
    per_chunk: int,
    question_tokens: int,
    answer_tokens: int,
    max_num_seqs: int,
    engine_args: dict[str, Any],
    engine_gpus: float,
) -> dict[str, Any]:
    return {
        "corpus": {"paths": [str(folder / "corpus" / "*.txt")]},
        "output": "",
        "engine": {
            "kind": "vllm",
            "model": str(folder / "model"),
            "load_format": "dummy",
            "dtype": "bfloat16" if engine_gpus else "float32",
            "max_model_len": 2048,
            "max_num_seqs": max_num_seqs,
            # Compiling on a CPU takes longer than the whole bench.
            "enforce_eager": not engine_gpus,
            "max_num_batched_tokens": 2048 if not engine_gpus else 16384,
            "engine_args": engine_args,
        },
        "sampling": {
            "question": {"max_tokens": question_tokens},
            "answer": {"max_tokens": answer_tokens},
            "ignore_eos": True,
        },
        "chunks": {"min_tokens": 256, "max_tokens": 768, "per_unit": 16},
        "targets": {"per_chunk": per_chunk},
        "checks": {"enabled": False},
        "resources": {"engine_gpus": engine_gpus},
    }


def _write_corpus(folder: Path, num_documents: int) -> list[str]:
    """Write documents of one chunk each, made of the sample's sentences in another order; return their texts."""
    folder.mkdir(parents=True)
    sentences = [
        sentence.strip()
        for file in sorted([*_SAMPLE.glob("*.md"), *_SAMPLE.glob("*.txt")])
        for sentence in file.read_text("utf-8").replace("\n", " ").split(". ")
        if 60 < len(sentence) < 200 and not set("|<>`#*[") & set(sentence)
    ]
    texts = []
    for number in range(num_documents):
        order = keyed_order(f"document-{number}", 0, len(sentences))
        texts.append(f"Document {number}. " + " ".join(f"{sentences[index]}." for index in order[:16]))
        (folder / f"{number:05}.txt").write_text(texts[-1], encoding="utf-8")
    return texts
