"""An OpenAI-compatible endpoint: chat completions over HTTP, with bounded concurrency and patience.

What a status means: 408, 409, 429, 5xx, a broken connection, a timeout or a body that is no completion is tried
again with jittered backoff, Retry-After first; a prompt that is too long is a verdict on the text; a refused key, an
unknown model or an exhausted quota ends the run; any other 4xx is a failure of transport at once.

The key comes from the environment and goes nowhere but into the request's header: failures are turned into plain
messages, redacted, before anything is raised, since the client's own exceptions carry the request.

Does not cover: log probabilities and token ids, which endpoints do not give as ids; and law 6, since the endpoint
tokenises on its own. Look-alikes of control tokens are broken up by a space instead.
"""

from __future__ import annotations

import asyncio
import email.utils
import os
import random
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from selfstudy.config import OpenaiEngine, SamplingConfig
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
from selfstudy.prompts import Prompts, answer_schema, render

_FIRST_BACKOFF_S = 1.0
_TRANSIENT = frozenset({408, 409, 425, 429})
_UNUSABLE = frozenset({401, 402, 403, 404})
_TOO_LONG = re.compile(
    r"context[ _]length|context window|max_model_len|maximum model length|prompt is too long|too many (?:input )?tokens"
    r"|exceeds? the (?:model|maximum|max)",
    re.IGNORECASE,
)
_CONTROL_LOOKALIKE = re.compile(
    r"<[|｜][^<>\s]{0,60}>|<[^<>\s]{1,60}[|｜]>"  # ChatML, Qwen, Llama 3, DeepSeek, Gemma 4
    r"|</?(?:s|bos|eos|pad|unk|think|thinking|tool_call|tool_response|start_of_turn|end_of_turn)>"
    r"|\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|THINK)\]|<</?SYS>>",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class _Failure:
    """One attempt that gave no completion. `retry_after_s` is what the server asked for."""

    message: str
    error: type[RuntimeError | ValueError] | None = None
    retry_after_s: float | None = None


class OpenaiEndpoint:
    """A model behind HTTP, as an `Engine`. Made and used on one event loop.

    Raises:
        EngineUnusable: the client is not installed, or the key's variable is not set.
    """

    def __init__(
        self,
        config: OpenaiEngine,
        *,
        sampling: SamplingConfig,
        prompts: Prompts,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        try:
            import openai
        except ImportError:
            raise EngineUnusable("the openai client is not installed: pip install 'selfstudy[openai]'") from None
        self._config = config
        self._sampling = sampling
        self._prompts = prompts
        self._sleep = sleep
        self._key = _key(config.api_key_env)
        self._client = openai.AsyncOpenAI(
            base_url=config.base_url,
            # The client insists on a key; servers without one ignore it.
            api_key=self._key or "none",
            timeout=config.timeout_s,
            max_retries=0,
        )
        self._connection_errors = (openai.APIConnectionError,)
        self._status_error = openai.APIStatusError
        self._admission = Admission(config.max_concurrency)
        self._info = EngineInfo(model=config.model, engine=f"openai client {openai.__version__}")

    @property
    def info(self) -> EngineInfo:
        return self._info

    async def complete(self, request: Request) -> Completion:
        """Complete one request; see `Engine`."""
        body = self._body(request)
        async with self._admission.enter(request.chunk_key):
            result = await self._attempt(body)
            for attempt in range(1, self._config.max_attempts):
                if isinstance(result, Completion) or result.error is not None:
                    break
                await self._sleep(self._wait_s(attempt, result.retry_after_s))
                result = await self._attempt(body)
        if isinstance(result, Completion):
            return result
        if result.error is not None:
            raise result.error(result.message)
        raise TransportError(f"given up after {self._config.max_attempts} attempts: {result.message}")

    def num_preemptions(self) -> int:
        return 0

    async def close(self) -> None:
        await self._client.close()

    def _body(self, request: Request) -> dict[str, Any]:
        prompt = render(request, self._prompts)
        user = _defused(prompt.user) if self._config.defuse_control_tokens else prompt.user
        params = self._sampling.question if request.call is Call.QUESTION else self._sampling.answer
        body: dict[str, Any] = {
            "model": self._config.model,
            "messages": [{"role": "system", "content": prompt.system}, {"role": "user", "content": user}],
            "temperature": params.temperature,
            "top_p": params.top_p,
            self._config.token_limit_name: params.max_tokens,
        }
        if self._sampling.seeds:
            body["seed"] = request.seed
        if self._config.structured_output:
            schema = {"name": request.call.value, "schema": answer_schema(request.call), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if self._config.extra_body:
            body["extra_body"] = self._config.extra_body
        return body

    async def _attempt(self, body: dict[str, Any]) -> Completion | _Failure:
        try:
            # The client's timeout is per read, so that a body that drips would never end.
            async with asyncio.timeout(self._config.timeout_s):
                response = await self._client.chat.completions.with_raw_response.create(**body)
                content = response.http_response.content
        except TimeoutError:
            return _Failure(f"no completion within {self._config.timeout_s:g} s")
        except self._connection_errors as error:
            return _Failure(self._redacted(f"{type(error).__name__}: {error.__cause__ or error}"))
        except self._status_error as error:
            return self._judge(error.status_code, error.response.headers, error.response.text)
        completion = _read(content, structured=self._config.structured_output)
        return completion or _Failure("the endpoint's answer is not a chat completion")

    def _judge(self, status: int, headers: Mapping[str, str], text: str) -> _Failure:
        message = self._redacted(f"HTTP {status}: {text}")
        if status in _UNUSABLE or (status == 429 and "insufficient_quota" in text):
            return _Failure(f"the endpoint refuses model {self._config.model}: {message}", EngineUnusable)
        if status in (400, 413, 422) and (status == 413 or _TOO_LONG.search(text)):
            return _Failure(message, RequestTooLong)
        if status in _TRANSIENT or status >= 500:
            return _Failure(message, retry_after_s=_retry_after_s(headers))
        return _Failure(message, TransportError)

    def _redacted(self, message: str) -> str:
        if self._key:
            message = message.replace(self._key, "[key]")
        return " ".join(message.split())[:300]

    def _wait_s(self, attempt: int, retry_after_s: float | None) -> float:
        limit_s = self._config.max_backoff_s
        if retry_after_s is not None:
            return min(retry_after_s, 10 * limit_s) + random.uniform(0, min(1.0, limit_s))
        # Jitter, so that requests that failed together do not come back together.
        return random.uniform(0.5, 1) * min(limit_s, _FIRST_BACKOFF_S * 2.0 ** (attempt - 1))


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable)
    if not key:
        raise EngineUnusable(f"engine.api_key_env: the environment variable {variable} is not set")
    return key


def _defused(text: str) -> str:
    """Break what looks like a control token after its first character: `<|im_end|>` becomes `< |im_end|>`."""
    return _CONTROL_LOOKALIKE.sub(lambda match: f"{match[0][0]} {match[0][1:]}", text)


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Read Retry-After: seconds, or a date of HTTP. Anything else is as good as none."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def _read(content: bytes, *, structured: bool) -> Completion | None:
    """Return the completion that a response body holds, None if it holds none."""
    try:
        body = orjson.loads(content)
        choice = body["choices"][0]
        text = choice["message"]["content"]
        reason = choice["finish_reason"]
        usage = body.get("usage") or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        counts = [int(usage.get("prompt_tokens") or 0), int(cached), int(usage.get("completion_tokens") or 0)]
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError, ValueError):
        return None
    # A model that thinks until its tokens are spent leaves the content out.
    if not isinstance(text, str | None):
        return None
    return Completion(
        text=text or "",
        finish_reason="length" if reason == "length" else "stop",
        num_prompt_tokens=counts[0],
        num_cached_tokens=counts[1],
        num_completion_tokens=counts[2],
        structured=structured,
    )
