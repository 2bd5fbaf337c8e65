"""The endpoint engine against vLLM's own OpenAI server, with the small random model."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from selfstudy.config import CallSampling, OpenaiEngine, QuestionSampling, SamplingConfig, VllmEngine
from selfstudy.engines.base import Call, Completion, EngineUnusable, Request, RequestTooLong, TransportError
from selfstudy.engines.openai import OpenaiEndpoint
from selfstudy.prompts import load_prompts, parse_answer
from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.runs import RunProcess, config_of, ended_targets, planned_targets, published, write_corpus

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vLLM is not installed: make setup-vllm")

PATIENCE_S = 300
KEY = "sk-of-the-test"
SAMPLING = SamplingConfig(question=QuestionSampling(max_tokens=8), answer=CallSampling(max_tokens=12), seeds=False)
REQUEST = Request(
    call=Call.ANSWER,
    pair_id="p",
    chunk_key="c",
    title="Rivers",
    passage="The Danube flows through ten countries and ends in the Black Sea. " * 4,
    target="It ends in the Black Sea.",
    style="factual",
    seed=3,
    question="Where does it end?",
)


@pytest.fixture(scope="module")
def base_url(vllm_config: VllmEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    options = ["--model", vllm_config.model, "--served-model-name", "tiny", "--load-format", "dummy"]
    options += ["--dtype", "float32", "--max-model-len", "1024", "--max-num-seqs", "8", "--enforce-eager"]
    options += ["--host", "127.0.0.1", "--port", str(port), "--api-key", KEY, "--enable-prompt-tokens-details"]
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1"}
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *options],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        _wait_until_healthy(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        family = [*psutil.Process(server.pid).children(recursive=True), psutil.Process(server.pid)]
        server.terminate()
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
        server.wait()


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-2000:])


def complete(base_url: str, *requests: Request, **options: Any) -> list[Completion]:
    async def scenario() -> list[Completion]:
        config = OpenaiEngine(
            kind="openai",
            **({"base_url": base_url, "model": "tiny", "api_key_env": "MY_KEY", "max_attempts": 2} | options),
        )
        endpoint = OpenaiEndpoint(config, sampling=SAMPLING, prompts=load_prompts())
        try:
            return await asyncio.gather(*(endpoint.complete(request) for request in requests))
        finally:
            await endpoint.close()

    return asyncio.run(scenario())


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)


def test_requests_are_completed_and_share_the_servers_cache(base_url: str) -> None:
    complete(base_url, REQUEST)
    requests = [replace(REQUEST, pair_id=str(number), question=f"Where {number}?") for number in range(12)]

    completions = complete(base_url, *requests)

    assert all(0 < completion.num_completion_tokens <= 12 for completion in completions)
    assert all(completion.num_prompt_tokens > 100 for completion in completions)
    assert all(completion.num_cached_tokens > 0 for completion in completions)


@pytest.mark.fault
def test_vllm_asks_and_an_endpoint_answers(
    base_url: str, vllm_config: VllmEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    config = config_of(
        write_corpus(tmp_path / "corpus", num_documents=2),
        tmp_path / "out",
        # Their tokenizer makes a token of nearly every letter; and a request with a seed ends a server on a CPU.
        chunks={"min_tokens": 30, "max_tokens": 60},
        sampling={"question": {"max_tokens": 8}, "answer": {"max_tokens": 12}, "seeds": False},
        checks={"enabled": False},
    )
    config["engine"] = vllm_config.model_dump(exclude_unset=True)
    config["answer_engine"] = {"kind": "openai", "base_url": base_url, "model": "tiny", "api_key_env": "MY_KEY"}

    run = RunProcess(config, tmp_path)

    assert run.wait() == 0, run.stderr
    tables = published(tmp_path / "out")
    assert not verify(Folder.at(str(tmp_path / "out"))).violations
    assert planned_targets(tables) == ended_targets(tables)
    pairs = tables["pairs"]
    assert len(pairs)
    assert (set(pairs["question_model"]), set(pairs["answer_model"])) == ({vllm_config.model}, {"tiny"})
    assert pairs["question_cached_tokens"].sum() > 0


def test_structured_output_is_enforced(base_url: str) -> None:
    for completion in complete(base_url, *[REQUEST] * 4, structured_output=True):
        assert completion.text.lstrip().startswith("{")
        if completion.finish_reason == "stop":
            assert parse_answer(completion) == json.loads(completion.text)["answer"].strip()


def test_a_prompt_over_the_servers_context_is_a_verdict(base_url: str) -> None:
    with pytest.raises(RequestTooLong):
        complete(base_url, replace(REQUEST, passage=REQUEST.passage * 20))


def test_an_unknown_model_or_a_wrong_key_ends_the_run(base_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineUnusable, match="404"):
        complete(base_url, REQUEST, model="another")
    monkeypatch.setenv("MY_KEY", "sk-wrong")
    with pytest.raises(EngineUnusable, match="401"):
        complete(base_url, REQUEST)


def test_nonsense_from_us_is_a_failure_of_transport(base_url: str) -> None:
    with pytest.raises(TransportError, match="HTTP 4"):
        complete(base_url, REQUEST, extra_body={"top_k": "many"})
