"""Real vLLM with a small random model: its text is noise, all else is real.

Kill tests run the engine in a process of its own; what must hold is that nothing of it is left running.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file

from selfstudy.config import QuestionSampling, SamplingConfig, VllmEngine
from selfstudy.engines.base import Call, Completion, EngineUnusable, Request, RequestTooLong
from selfstudy.engines.vllm import VllmHost, VllmModel
from selfstudy.prompts import load_prompts
from tests.runs import is_alive, wait_until

pytestmark = pytest.mark.vllm
pytest.importorskip("vllm", reason="vLLM is not installed: make setup-vllm")

PATIENCE_S = 300
PASSAGE = "The Danube flows through ten countries and ends in the Black Sea. " * 8
REQUEST = Request(
    call=Call.QUESTION,
    pair_id="p",
    chunk_key="c",
    title="Rivers",
    passage=PASSAGE,
    target="It ends in the Black Sea.",
    style="factual",
    seed=3,
    question="Where does it end?",
)
ANSWER = replace(REQUEST, call=Call.ANSWER)


@pytest.fixture
def model(vllm_host: VllmHost, vllm_config: VllmEngine, sampling: SamplingConfig) -> VllmModel:
    return VllmModel(vllm_config, sampling=sampling, prompts=load_prompts(), host=vllm_host)


def complete(model: VllmModel, *requests: Request) -> list[Completion]:
    async def scenario() -> list[Completion]:
        return await asyncio.gather(*(model.complete(request) for request in requests))

    return asyncio.run(scenario())


def test_a_question_and_its_answer_share_the_passage(model: VllmModel, sampling: SamplingConfig) -> None:
    (question,) = complete(model, replace(REQUEST, passage=f"Once. {PASSAGE}", chunk_key="once"))
    (answer,) = complete(model, replace(ANSWER, passage=f"Once. {PASSAGE}", chunk_key="once"))

    assert question.num_prompt_tokens > 200
    assert question.num_completion_tokens == sampling.question.max_tokens
    assert answer.num_completion_tokens == sampling.answer.max_tokens
    assert (question.finish_reason, answer.finish_reason) == ("length", "length")
    # The blocks of system text and passage came from the cache.
    assert answer.num_cached_tokens > 0


def write_adapter(folder: Path, *, hidden_size: int = 64, num_layers: int = 2, rank: int = 8) -> Path:
    """A LoRA adapter of random weights for the tiny model, large enough to be heard."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    tensors = {}
    for layer in range(num_layers):
        for name, num_in in (("v_proj", hidden_size), ("o_proj", 128)):
            module = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            tensors[f"{module}.lora_A.weight"] = rng.normal(size=(rank, num_in)).astype(np.float32)
            tensors[f"{module}.lora_B.weight"] = rng.normal(size=(hidden_size, rank)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank, "target_modules": ["v_proj", "o_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_an_adapter_changes_what_the_model_says(vllm_host: VllmHost, vllm_config: VllmEngine, tmp_path: Path) -> None:
    # Random weights make every token nearly as likely as the next; only the likeliest tells models apart.
    greedy = SamplingConfig(question=QuestionSampling(max_tokens=8, temperature=0), ignore_eos=True)
    config = vllm_config.model_copy(update={"lora": str(write_adapter(tmp_path / "adapter"))})
    bare = VllmModel(vllm_config, sampling=greedy, prompts=load_prompts(), host=vllm_host)
    adapted = VllmModel(config, sampling=greedy, prompts=load_prompts())
    try:
        ((without,), (said,)) = complete(bare, REQUEST), complete(adapted, REQUEST)
    finally:
        asyncio.run(adapted.close())
    assert said.text != without.text
    assert adapted.info.model == f"{bare.info.model}+{config.lora}"


def test_provenance_names_model_and_engine(model: VllmModel, vllm_config: VllmEngine) -> None:
    assert model.info.model == vllm_config.model
    assert model.info.engine.startswith("vllm ")


def test_an_answer_has_its_trace(model: VllmModel, sampling: SamplingConfig) -> None:
    question, answer = complete(model, REQUEST, ANSWER)

    assert question.trace is None
    trace = answer.trace
    assert trace is not None
    num_tokens, width = sampling.answer.max_tokens, sampling.answer_logprobs
    assert trace.token_ids.shape == (num_tokens,)
    assert trace.top_ids.shape == trace.top_logprobs.shape == (num_tokens * width,)
    assert (trace.token_ids.dtype, trace.top_ids.dtype, trace.top_logprobs.dtype) == (np.int32, np.int32, np.float32)
    by_place = trace.top_logprobs.reshape(num_tokens, width)
    assert (np.diff(by_place, axis=1) <= 0).all()
    assert (by_place <= 0).all()


def test_a_prompt_that_does_not_fit_is_refused_before_it_is_sent(model: VllmModel) -> None:
    with pytest.raises(RequestTooLong, match="do not fit into 1024"):
        complete(model, replace(REQUEST, chunk_key="long", passage=PASSAGE * 10))

    assert complete(model, REQUEST)[0].num_completion_tokens > 0


def test_structured_output_is_json(vllm_host: VllmHost, vllm_config: VllmEngine) -> None:
    sampling = SamplingConfig.model_validate({"question": {"max_tokens": 200}})
    config = vllm_config.model_copy(update={"structured_output": True})
    model = VllmModel(config, sampling=sampling, prompts=load_prompts(), host=vllm_host)

    completions = complete(model, *(replace(REQUEST, seed=seed) for seed in range(6)))

    assert all(completion.structured for completion in completions)
    assert all(completion.text.lstrip().startswith("{") for completion in completions)
    for completion in completions:
        # Noise seldom closes a string in time.
        if completion.finish_reason == "stop":
            assert isinstance(json.loads(completion.text)["question"], str)


def test_the_counter_of_preemptions_exists_and_has_not_moved(model: VllmModel) -> None:
    from prometheus_client import REGISTRY

    complete(model, REQUEST)
    names = {sample.name for metric in REGISTRY.collect() for sample in metric.samples}
    assert "vllm:num_preemptions_total" in names
    assert model.num_preemptions() == 0


def test_many_requests_at_once_all_come_back(model: VllmModel) -> None:
    requests = [
        replace(REQUEST, pair_id=f"{chunk}-{rank}", chunk_key=f"many-{chunk}", passage=f"{chunk}. {PASSAGE}", seed=rank)
        for chunk in range(6)
        for rank in range(8)
    ]

    completions = complete(model, *requests)

    assert len(completions) == len(requests)
    assert sum(completion.num_cached_tokens for completion in completions) > 0


def test_a_cancelled_request_leaves_the_engine_working(model: VllmModel) -> None:
    async def scenario() -> None:
        tasks = [asyncio.create_task(model.complete(replace(REQUEST, seed=seed))) for seed in range(40)]
        await tasks[0]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await model.complete(REQUEST)).num_completion_tokens > 0

    asyncio.run(scenario())


def test_a_model_that_cannot_be_loaded_is_one_line(tmp_path: Path, vllm_config: VllmEngine) -> None:
    with pytest.raises(EngineUnusable) as error:
        VllmHost(vllm_config.model_copy(update={"model": str(tmp_path / "none")}))

    assert "none" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_engine_argument_that_does_not_exist_is_one_line(vllm_config: VllmEngine) -> None:
    with pytest.raises(EngineUnusable, match="no_such_argument"):
        VllmHost(vllm_config.model_copy(update={"engine_args": {"no_such_argument": 1}}))


@contextlib.contextmanager
def engine_process(config: VllmEngine) -> Iterator[subprocess.Popen[str]]:
    """A process whose engine is serving requests."""
    script = Path(__file__).with_name("engine_process.py")
    environment = os.environ | {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    process = subprocess.Popen(
        [sys.executable, str(script), config.model_dump_json()], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "served\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.fault
def test_no_process_outlives_a_killed_owner(vllm_config: VllmEngine) -> None:
    with engine_process(vllm_config) as process:
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.kill()
        process.wait()

        wait_until(lambda: not any(is_alive(child) for child in children), "the end of its children")


@pytest.mark.fault
def test_a_dead_engine_core_ends_its_process(vllm_config: VllmEngine) -> None:
    with engine_process(vllm_config) as process:
        children = psutil.Process(process.pid).children(recursive=True)
        core = next(child for child in children if "EngineCore" in " ".join([child.name(), *child.cmdline()]))
        core.kill()

        assert process.wait(PATIENCE_S) == 1
        wait_until(lambda: not any(is_alive(child) for child in children), "the end of its children")
