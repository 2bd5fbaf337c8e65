"""The engines of the config and how they are sampled."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from selfstudy.ids import content_hash
from selfstudy.sections import ConfigError, PositiveInt, Section, Share


class ExtractiveEngine(Section):
    """Deterministic, no weights: asks about the target by rule and answers from the text."""

    kind: Literal["extractive"]


class ScriptedEngine(Section):
    """A provider with scripted behaviour, for tests and simulation."""

    kind: Literal["scripted"]
    latency_s: Annotated[float, Field(ge=0)] = 0.0
    """Mean of the (exponential) time that a call takes."""
    max_concurrency: PositiveInt = 64
    random_text: bool = False
    """True makes every run's text different, as sampling on a GPU does."""
    failure_rate: Share = 0.0
    """Share of calls that fail for reasons of transport."""
    salience_bias: Share = 0.0
    """Share of questions that ask about the most striking sentence instead of the target."""
    obedience: Share = 0.0
    """Share of answers that obey an instruction-like passage if the prompt holds one."""
    refusal_rate: Share = 0.0
    kill_rate: Share = 0.0
    """Share of calls that kill the worker process."""


class VllmEngine(Section):
    """A model run by vLLM inside the actor. What has a name in vLLM has the same name here."""

    kind: Literal["vllm"]
    model: str
    """Name on the Hugging Face hub, or a folder that every node sees."""
    revision: str | None = None
    tokenizer: str | None = None
    """Where the tokenizer is, if not with the model."""
    dtype: str = "auto"
    kv_cache_dtype: str = "auto"
    quantization: str | None = None
    load_format: str = "auto"
    """`dummy` gives random weights, for benchmarks."""
    max_model_len: PositiveInt | None = None
    """Prompt and completion together, in tokens; requests that cannot fit are rejected before they are sent."""
    max_num_seqs: PositiveInt = 1024
    """Sequences decoded at once."""
    max_num_batched_tokens: PositiveInt = 16384
    """Tokens of one engine step."""
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=1)] = 0.9
    tensor_parallel_size: PositiveInt = 1
    """GPUs of one engine; resources.engine_gpus must be the same."""
    enforce_eager: bool = False
    lora: str | None = None
    """Folder or hub name of an adapter used for every request."""
    max_lora_rank: PositiveInt = 64
    chat_template: str | None = None
    """File with a Jinja chat template, instead of the tokenizer's own."""
    chat_template_kwargs: dict[str, Any] = {"enable_thinking": False}
    """Options of the chat template. The default switches thinking off where a template knows the word."""
    structured_output: bool = False
    """True makes the model write a JSON object, which is then read: for models that chat around the question."""
    engine_args: dict[str, Any] = {}
    """Any further argument of vLLM's AsyncEngineArgs."""


class OpenaiEngine(Section):
    """An OpenAI-compatible endpoint. It tokenises on its own: see `defuse_control_tokens`."""

    kind: Literal["openai"]
    base_url: Annotated[str, Field(pattern=r"^https?://[^@\s]+$")]
    """For example http://host:8000/v1; credentials do not belong here."""
    model: str
    api_key_env: str | None = None
    """Name of the environment variable that holds the key; it must be set where the engine actors run."""
    max_concurrency: PositiveInt = 64
    timeout_s: Annotated[float, Field(gt=0)] = 120
    """Of one attempt, from the first byte sent to the last byte received."""
    max_attempts: PositiveInt = 6
    max_backoff_s: Annotated[float, Field(gt=0)] = 60
    """Longest wait between two attempts; a longer Retry-After is honoured up to ten times this."""
    token_limit_name: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the endpoint calls the limit of a completion."""
    defuse_control_tokens: bool = True
    """Break up what looks like a chat template's control token in corpus text, since the endpoint might obey it."""
    structured_output: bool = False
    """True asks for a JSON object by schema."""
    extra_body: dict[str, Any] = {}
    """Further fields of every request, for example chat_template_kwargs of a vLLM server."""


EngineConfig = Annotated[ExtractiveEngine | ScriptedEngine | VllmEngine | OpenaiEngine, Field(discriminator="kind")]


# Fields that decide how fast and where an engine is, not what it says: a change of these asks nothing anew.
_SPEED = {
    "base_url",
    *("max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "tensor_parallel_size", "enforce_eager"),
    *("max_lora_rank", "api_key_env", "max_concurrency", "timeout_s", "max_attempts", "max_backoff_s", "latency_s"),
}


def engine_recipe(engine: EngineConfig) -> dict[str, Any]:
    """What of an engine's config decides on its completions: a part of the recipe.

    Raises:
        ConfigError: the chat template, whose content counts and not its name, cannot be read.
    """
    fields = engine.model_dump(mode="json", exclude=_SPEED)
    if isinstance(engine, VllmEngine) and engine.chat_template is not None:
        try:
            template = Path(engine.chat_template).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError([f"engine.chat_template: {engine.chat_template}: {error.strerror}"]) from None
        fields["chat_template"] = content_hash("template", template)
    return fields


class CallSampling(Section):
    """How one of the two calls is sampled."""

    temperature: Annotated[float, Field(ge=0)] = 0.8
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    top_k: PositiveInt | None = None
    """Choose among this many tokens (engine vllm)."""
    max_tokens: PositiveInt = 1024
    """Longest completion; a longer one is a reject. With thinking on, the thoughts count."""


class QuestionSampling(CallSampling):
    """Questions are short, and should differ."""

    max_tokens: PositiveInt = 256


class SamplingConfig(Section):
    """Request parameters of engines that run a model."""

    question: QuestionSampling = QuestionSampling()
    answer: CallSampling = CallSampling()
    seeds: bool = True
    """Send each request its own seed, made from its pair_id. vLLM on a CPU cannot take seeds, and gets none."""
    ignore_eos: bool = False
    """Always sample max_tokens, for benchmarks (engine vllm)."""
    answer_token_ids: bool = False
    """Keep the answers' token ids, for distillation (engine vllm)."""
    answer_logprobs: Annotated[int, Field(ge=0, le=20)] = 0
    """Keep the ids and log probabilities of this many likeliest tokens at each place of the answer (engine vllm)."""
