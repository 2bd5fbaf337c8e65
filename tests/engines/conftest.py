"""One small model and one running vLLM engine for the whole session: starting it takes most of the time."""

import asyncio
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.tiny_model import write_tiny_model
from selfstudy.config import CallSampling, QuestionSampling, SamplingConfig, VllmEngine

TEXTS = [
    "The Danube flows through ten countries and ends in the Black Sea. " * 3,
    "Questions are tied to a sentence that the sampler chose, and answers to the passage. " * 3,
    "user assistant system think tool call im start im end turn INST",
]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tokenizers", reason="needs the tokenizers library: make setup-vllm")
    return write_tiny_model(tmp_path_factory.mktemp("model"), TEXTS)


@pytest.fixture(scope="session")
def vllm_config(tiny_model: Path) -> VllmEngine:
    return VllmEngine(
        kind="vllm",
        model=str(tiny_model),
        load_format="dummy",
        dtype="float32",
        max_model_len=1024,
        max_num_seqs=16,
        max_num_batched_tokens=1024,
        enforce_eager=True,
    )


@pytest.fixture(scope="session")
def sampling() -> SamplingConfig:
    return SamplingConfig(
        question=QuestionSampling(max_tokens=8), answer=CallSampling(max_tokens=12), ignore_eos=True, answer_logprobs=3
    )


@pytest.fixture(scope="session")
def vllm_host(vllm_config: VllmEngine) -> Iterator[object]:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed: make setup-vllm")
    from selfstudy.engines.vllm import VllmHost

    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    host = VllmHost(vllm_config)
    yield host
    asyncio.run(host.close())
