"""vLLM inside this process's own thread: the only module that imports it, and only once an engine is made.

The engine runs on an event loop of its own, because Ray Data's backpressure may block the caller's for seconds.
Prompts go in as token ids (see `tokens.py`), only final outputs come out, and requests are admitted oldest chunk
first, a few more than the engine decodes at once, so that it never waits for us.

A verdict on the text is `RequestTooLong`, decided before anything is sent. When the engine dies, this process ends
at once: vLLM's client cannot be revived, and Ray starts a new actor.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfstudy.config import CallSampling, SamplingConfig, VllmEngine
from selfstudy.engines import guard
from selfstudy.engines.admission import Admission
from selfstudy.engines.base import (
    Call,
    Completion,
    EngineInfo,
    EngineUnusable,
    Request,
    RequestTooLong,
    TransportError,
)
from selfstudy.engines.tokens import PromptEncoder
from selfstudy.prompts import Prompts, answer_schema, render
from selfstudy.records import TokenTrace

if TYPE_CHECKING:
    from vllm import SamplingParams
    from vllm.outputs import RequestOutput
    from vllm.v1.engine.async_llm import AsyncLLM

logger = logging.getLogger(__name__)
# Named by the config with the same names as vLLM's own arguments.
_ENGINE_ARGS = (
    *("model", "revision", "tokenizer", "dtype", "kv_cache_dtype", "quantization", "load_format", "max_model_len"),
    *("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "tensor_parallel_size", "enforce_eager"),
)


class VllmHost:
    """The running engine on a thread and an event loop of its own. Making one takes as long as loading does.

    Raises:
        EngineUnusable: the model cannot be loaded.
    """

    def __init__(self, config: VllmEngine) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        self._num_requests = 0
        self._lora: Any = None
        try:
            self.engine = asyncio.run_coroutine_threadsafe(_start(config), self._loop).result()
            self.tokenizer: Any = self.engine.tokenizer
            if config.lora is not None:
                self._lora = _lora_request(config.lora)
        except (OSError, ValueError, RuntimeError, TypeError, ImportError, AttributeError, KeyError) as error:
            self._stop_loop()
            raise EngineUnusable(f"vLLM cannot run {config.model}: {_one_line(error)}") from error

    async def generate(self, token_ids: list[int], sampling: SamplingParams) -> RequestOutput:
        """Return the final output. Called from any loop; a dead engine ends this process.

        Raises:
            TransportError: vLLM failed this request, and lives.
        """
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._generate(token_ids, sampling), self._loop)
        )

    async def close(self) -> None:
        """Stop the engine and its processes."""
        if self._thread.is_alive():
            await asyncio.to_thread(self._shut_down)

    async def _generate(self, token_ids: list[int], sampling: SamplingParams) -> RequestOutput:
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        self._num_requests += 1
        prompt: Any = {"prompt_token_ids": token_ids}
        try:
            stream = self.engine.generate(prompt, sampling, str(self._num_requests), lora_request=self._lora)
            async for output in stream:
                if output.finished:
                    return output
        except EngineDeadError as error:
            # Raising would bring the next request to the same dead engine. Our children die with us.
            logger.critical("the vLLM engine died, so this process ends: %s", _one_line(error))
            os._exit(1)
        except EngineGenerateError as error:
            raise TransportError(f"vLLM failed a request: {_one_line(error.__cause__ or error)}") from error
        raise TransportError("vLLM ended a request without an output")

    def _shut_down(self) -> None:
        asyncio.run_coroutine_threadsafe(_shut_down(self.engine), self._loop).result()
        self._stop_loop()

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class VllmModel:
    """The `Engine` protocol over a host, by default one of its own: what to ask, and how."""

    def __init__(
        self, config: VllmEngine, *, sampling: SamplingConfig, prompts: Prompts, host: VllmHost | None = None
    ) -> None:
        self._host = host or VllmHost(config)
        self._config = config
        self._sampling = sampling
        self._prompts = prompts
        # A few more than are decoded at once, so that the engine never waits for us.
        self._admission = Admission(config.max_num_seqs + config.max_num_seqs // 4 + 8)
        self.encoder = PromptEncoder(
            self._host.tokenizer,
            system=prompts.system,
            chat_template=Path(config.chat_template).read_text("utf-8") if config.chat_template else None,
            chat_template_kwargs=config.chat_template_kwargs,
        )
        self._max_model_len: int = self._host.engine.model_config.max_model_len
        self._takes_seeds = sampling.seeds and not _on_cpu()
        self._info = _info(config, self._host.engine.model_config)

    @property
    def info(self) -> EngineInfo:
        return self._info

    async def complete(self, request: Request) -> Completion:
        """Complete one request; see `Engine`."""
        is_answer = request.call is Call.ANSWER
        params = self._sampling.answer if is_answer else self._sampling.question
        num_logprobs = self._sampling.answer_logprobs if is_answer else 0
        # Encoded on admission: a whole unit encoded at once would hold up the answers of the one before.
        async with self._admission.enter(request.chunk_key):
            token_ids = self.encoder.encode(render(request, self._prompts), request.chunk_key)
            if len(token_ids) + params.max_tokens > self._max_model_len:
                raise RequestTooLong(
                    f"{len(token_ids)} prompt tokens and {params.max_tokens} for the completion do not fit "
                    f"into {self._max_model_len}"
                )
            output = await self._host.generate(token_ids, self._sampling_params(request, params, num_logprobs))
        completion = output.outputs[0]
        wants_trace = is_answer and (self._sampling.answer_token_ids or num_logprobs > 0)
        return Completion(
            text=self._host.tokenizer.decode(completion.token_ids, skip_special_tokens=True),
            finish_reason=completion.finish_reason or "stop",
            num_prompt_tokens=len(token_ids),
            num_cached_tokens=output.num_cached_tokens or 0,
            num_completion_tokens=len(completion.token_ids),
            structured=self._config.structured_output,
            trace=_trace(completion, num_logprobs) if wants_trace else None,
        )

    def num_preemptions(self) -> int:
        """Return what vLLM counted in this process; 0 with `disable_log_stats`."""
        from prometheus_client import REGISTRY

        samples = (sample for metric in REGISTRY.collect() for sample in metric.samples)
        return int(sum(sample.value for sample in samples if sample.name == "vllm:num_preemptions_total"))

    async def close(self) -> None:
        await self._host.close()

    def _sampling_params(self, request: Request, params: CallSampling, num_logprobs: int) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        options: dict[str, Any] = {}
        if params.top_k is not None:
            options["top_k"] = params.top_k
        if self._takes_seeds:
            options["seed"] = request.seed
        if num_logprobs:
            options |= {"logprobs": num_logprobs, "flat_logprobs": True}
        if self._config.structured_output:
            options["structured_outputs"] = StructuredOutputsParams(json=answer_schema(request.call))
        return SamplingParams(
            temperature=params.temperature,
            top_p=params.top_p,
            max_tokens=params.max_tokens,
            ignore_eos=self._sampling.ignore_eos,
            output_kind=RequestOutputKind.FINAL_ONLY,
            # Decoding once at the end is cheaper than at every step, and no stop string needs the text earlier.
            detokenize=False,
            **options,
        )


async def _start(config: VllmEngine) -> AsyncLLM:
    """Runs on the loop that the engine's own tasks then live on."""
    guard.own_engines()
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    options = {name: getattr(config, name) for name in _ENGINE_ARGS if getattr(config, name) is not None}
    # A prefix cache is what the whole layout of the prompts is for.
    options["enable_prefix_caching"] = True
    if config.lora is not None:
        options |= {"enable_lora": True, "max_lora_rank": config.max_lora_rank}
    if config.tensor_parallel_size > 1:
        # Inside a Ray actor vLLM would otherwise start Ray actors of its own.
        options["distributed_executor_backend"] = "mp"
    return AsyncLLM.from_engine_args(AsyncEngineArgs(**(options | config.engine_args)))


async def _shut_down(engine: AsyncLLM) -> None:
    engine.shutdown()


def _lora_request(path: str) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, path)


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _info(config: VllmEngine, model_config: Any) -> EngineInfo:
    import vllm

    commit = getattr(model_config.hf_config, "_commit_hash", None)
    revision = commit or config.revision
    model = f"{config.model}@{revision}" if revision else config.model
    adapter = f"+{config.lora}" if config.lora else ""
    return EngineInfo(model=model + adapter, engine=f"vllm {vllm.__version__}")


def _trace(completion: Any, num_logprobs: int) -> TokenTrace:
    token_ids = np.asarray(completion.token_ids, dtype=np.int32)
    if not num_logprobs:
        return TokenTrace(token_ids, np.empty(0, np.int32), np.empty(0, np.float32))
    # vLLM gives the sampled token first, then the k likeliest, at every place.
    width = num_logprobs + 1
    ids = np.asarray(completion.logprobs.token_ids, dtype=np.int32).reshape(-1, width)
    logprobs = np.asarray(completion.logprobs.logprobs, dtype=np.float32).reshape(-1, width)
    return TokenTrace(token_ids, ids[:, 1:].reshape(-1), logprobs[:, 1:].reshape(-1))


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:500]
