"""One arm of the engine bench, in a process of its own: `python -m jobs.bench_arms ARM SPEC.json`."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from selfstudy.config import Config, VllmEngine, parse_config
from selfstudy.corpus.splits import plan_splits
from selfstudy.engines.admission import Admission
from selfstudy.engines.base import Call, Completion, EngineInfo, Request
from selfstudy.filter.lift import lift
from selfstudy.filter.load import load_judge
from selfstudy.generate import Generator
from selfstudy.prepare import prepare_split
from selfstudy.prompts import load_prompts, render
from selfstudy.targets import sample_targets


def main() -> None:
    arm, file = sys.argv[1:]
    spec = json.loads(Path(file).read_text("utf-8"))
    config = parse_config(spec["config"])
    assert isinstance(config.engine, VllmEngine)
    if arm in ("raw", "shuffled"):
        asyncio.run(_raw(config, config.engine, shuffled=arm == "shuffled"))
    elif arm == "job":
        _job(config)
    else:
        _ray_data(config, config.engine)


class _Recorder:
    """An engine that notes the questions which the job would ask."""

    info = EngineInfo(model="none", engine="none")

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Completion:
        if request.call is Call.QUESTION:
            self.requests.append(request)
        return Completion(text="?")

    def num_preemptions(self) -> int:
        return 0

    async def close(self) -> None:
        pass


async def _questions(config: Config) -> list[Request]:
    """Run the job's own stages without Ray, up to the engine."""
    recorder = _Recorder()
    generator = Generator(recorder, recorder, config.checks, "")
    judge = load_judge(config.filter)
    for split in plan_splits(config.corpus, config.seed).splits:
        for unit in prepare_split(split, config, "bench", set()):
            chunks, removed = lift(unit.chunks, judge, config.filter)
            sampled = tuple(sample_targets(chunk, config.targets, seed=config.seed, ask="") for chunk in chunks)
            await generator.generate(replace(unit, chunks=sampled, removed=removed))
    return recorder.requests


async def _raw(config: Config, engine_config: VllmEngine, *, shuffled: bool) -> None:
    """AsyncLLM in its best order: a chunk's questions together, each answer as soon as its question is there."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    from selfstudy.engines.tokens import PromptEncoder

    engine = _async_llm(engine_config)
    prompts = load_prompts()
    tokenizer = engine.get_tokenizer()
    encoder = PromptEncoder(
        tokenizer,
        system=prompts.system,
        chat_template=None,
        chat_template_kwargs=engine_config.chat_template_kwargs,
    )
    questions = await _questions(config)
    admission = Admission(engine_config.max_num_seqs + engine_config.max_num_seqs // 4 + 8)
    if shuffled:
        random.Random(0).shuffle(questions)
        questions = [replace(request, chunk_key=f"{number}") for number, request in enumerate(questions)]
    sent = 0

    async def complete(request: Request) -> str:
        nonlocal sent
        sent += 1
        call = config.sampling.question if request.call is Call.QUESTION else config.sampling.answer
        sampling = SamplingParams(
            temperature=call.temperature,
            top_p=call.top_p,
            max_tokens=call.max_tokens,
            ignore_eos=True,
            output_kind=RequestOutputKind.FINAL_ONLY,
            detokenize=False,
        )
        prompt: Any = {"prompt_token_ids": encoder.encode(render(request, prompts), request.chunk_key)}
        async with admission.enter(request.chunk_key):
            async for output in engine.generate(prompt, sampling, str(sent)):
                if output.finished:
                    return str(tokenizer.decode(output.outputs[0].token_ids, skip_special_tokens=True))
        raise RuntimeError("no output")

    async def pair(request: Request) -> None:
        question = await complete(request)
        await complete(replace(request, call=Call.ANSWER, question=question.strip()))

    async with asyncio.TaskGroup() as group:
        for request in questions:
            group.create_task(pair(request))
    engine.shutdown()


def _async_llm(config: VllmEngine) -> Any:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**_engine_kwargs(config), model=config.model))


def _engine_kwargs(config: VllmEngine) -> dict[str, Any]:
    names = ("load_format", "dtype", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "enforce_eager")
    return {name: getattr(config, name) for name in names} | {"enable_prefix_caching": True} | config.engine_args


def _job(config: Config) -> None:
    from selfstudy.job import run

    run(config)


def _ray_data(config: Config, engine_config: VllmEngine) -> None:
    """Two processors, one after the other: the questions of all targets, then the answers to all questions."""
    import ray
    from ray.data.llm import build_processor

    from selfstudy.pipeline import start_ray

    start_ray()
    prompts = load_prompts()
    dataset = ray.data.from_items([_row(request) for request in asyncio.run(_questions(config))])
    for call in Call:
        sampling = config.sampling.question if call is Call.QUESTION else config.sampling.answer
        params = {"temperature": sampling.temperature, "top_p": sampling.top_p, "max_tokens": sampling.max_tokens}

        def before(
            row: dict[str, Any], call: Call = call, params: dict[str, Any] = params | {"ignore_eos": True}
        ) -> dict[str, Any]:
            prompt = render(Request(**row["request"], call=call, question=row["question"]), prompts)
            messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
            return {"messages": messages, "sampling_params": params, **row}

        def after(row: dict[str, Any]) -> dict[str, Any]:
            return {"request": row["request"], "question": row["generated_text"]}

        processor = build_processor(
            _processor_config(engine_config, config.resources.engine_gpus), preprocess=before, postprocess=after
        )
        dataset = processor(dataset).materialize()


def _processor_config(config: VllmEngine, gpus: float) -> Any:
    from ray.data.llm import vLLMEngineProcessorConfig

    return vLLMEngineProcessorConfig(
        model_source=config.model,
        # On a CPU vLLM has a worker process of its own.
        engine_kwargs=_engine_kwargs(config) | {"distributed_executor_backend": "uni" if gpus else "mp"},
        concurrency=1,
        batch_size=64,
        placement_group_config={"bundles": [{"CPU": 0.25, "GPU": gpus} if gpus else {"CPU": 0.25}]},
        log_engine_metrics=False,
        chat_template_stage={"enabled": True, "num_cpus": 0.1, "chat_template_kwargs": config.chat_template_kwargs},
        tokenize_stage={"enabled": True, "num_cpus": 0.1},
        detokenize_stage={"enabled": True, "num_cpus": 0.1},
    )


def _row(request: Request) -> dict[str, Any]:
    names = ("pair_id", "chunk_key", "title", "passage", "target", "style", "seed", "attempt")
    return {"request": {name: getattr(request, name) for name in names}, "question": ""}


if __name__ == "__main__":
    main()
