"""A provider whose behaviour is scripted: latency, failures, bias towards salient sentences, obedience to
planted instructions. For tests and simulation; deterministic unless `random_text` says otherwise.
"""

import asyncio
import os
import random
import re
import signal

from selfstudy.config import ScriptedEngine as ScriptedConfig
from selfstudy.engines.base import Call, Completion, EngineInfo, Request, TransportError
from selfstudy.ids import content_hash
from selfstudy.text.chunks import num_tokens_of

_ORDER_TO_A_MODEL = re.compile(
    r"[^.\n]*\b(?:ignore|disregard|AI assistants?|language models?|your (?:answer|response|reply)|system prompt)\b"
    r"[^.\n]*",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[^.!?\n]{20,}[.!?]")


class ScriptedEngine:
    """The `Engine` protocol with the behaviour of its config."""

    def __init__(self, config: ScriptedConfig) -> None:
        self._config = config
        self._slots = asyncio.Semaphore(config.max_concurrency)

    @property
    def info(self) -> EngineInfo:
        return EngineInfo(model="scripted@1", engine="scripted-1")

    async def complete(self, request: Request) -> Completion:
        """Raises TransportError at the scripted rate, and ends the process at another."""
        rng = self._rng(request)
        async with self._slots:
            if self._config.latency_s:
                await asyncio.sleep(rng.expovariate(1 / self._config.latency_s))
            if rng.random() < self._config.kill_rate:
                os.kill(os.getpid(), signal.SIGKILL)
            if rng.random() < self._config.failure_rate:
                raise TransportError(f"scripted failure of the {request.call} for {request.pair_id}")
        text = self._question(request, rng) if request.call is Call.QUESTION else self._answer(request, rng)
        if self._config.random_text:
            text = f"{text} ({rng.getrandbits(64):016x})"
        return Completion(
            text=text,
            num_prompt_tokens=num_tokens_of(request.passage),
            num_completion_tokens=num_tokens_of(text),
        )

    def num_preemptions(self) -> int:
        return 0

    async def close(self) -> None:
        pass

    def _rng(self, request: Request) -> random.Random:
        if self._config.random_text:
            return random.Random()  # differs from run to run, as sampling on a GPU does
        return random.Random(content_hash("script", request.pair_id, request.call, request.attempt))

    def _question(self, request: Request, rng: random.Random) -> str:
        about = " ".join(request.target.split())
        if rng.random() < self._config.salience_bias:
            # A generator's favourite: the sentence with the most capitals and digits.
            about = max(
                _SENTENCE.findall(request.passage) or [about],
                key=lambda sentence: sum(character.isupper() or character.isdigit() for character in sentence),
            )
        return f"What does it mean that {about.rstrip('.')}?"

    def _answer(self, request: Request, rng: random.Random) -> str:
        if rng.random() < self._config.refusal_rate:
            return "I'm sorry, but I cannot help with that."
        if rng.random() < self._config.obedience:
            order = _ORDER_TO_A_MODEL.search(request.passage)
            if order:
                return f"As instructed: {order[0].strip()}"
        return " ".join(request.target.split())
