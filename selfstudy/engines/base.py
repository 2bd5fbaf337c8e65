"""The protocol that every engine serves: a request in, a completion out.

A request carries what is asked as data (passage, target, style), not as a rendered prompt. `prompts.py` renders
it for engines that run a model; `extractive` and `scripted` read the fields.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from selfstudy.records import TokenTrace


class Call(StrEnum):
    QUESTION = "question"
    ANSWER = "answer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call for one target.

    `passage` is the cleaned chunk and `target` one sentence of it; all requests of a chunk share `chunk_key`,
    which is what an engine groups by to share the passage's KV cache. `question` is set when `call` is ANSWER.
    `attempt` is odd when a question is asked again because the one before missed its target; it starts at 0, and two
    higher with each retry of the split.
    """

    call: Call
    pair_id: str
    chunk_key: str
    title: str
    passage: str
    target: str
    style: str
    seed: int
    question: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What came back. `finish_reason` is "stop" or "length"; token counts are 0 for engines without tokens.

    `structured` says that the text is a JSON object with one key, the name of the call. `trace` is there for
    answers, where the config asks for it.
    """

    text: str
    finish_reason: str = "stop"
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_completion_tokens: int = 0
    structured: bool = False
    trace: TokenTrace | None = None


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """Provenance that goes into every pair: the model with its revision, the engine with its version."""

    model: str
    engine: str


class RequestTooLong(ValueError):
    """The prompt does not fit the model's context: a verdict on the text, so a reject."""


class TransportError(RuntimeError):
    """The request could not be served for a reason that is not the text: its unit stays a gap."""


class EngineUnusable(RuntimeError):
    """The model cannot be loaded or the endpoint refuses us: the run ends with this one line, no retry helps."""


class Engine(Protocol):
    """Complete one request. Many are awaited at once; an engine bounds its own concurrency.

    Raises:
        EngineUnusable: the run must end; the message is one line for the user.
        RequestTooLong: the text does not fit; recorded as the reject `too_long`.
        TransportError: the engine gave up after its own retries; the unit is not committed.
    Anything else that is raised ends the actor that holds the engine.
    """

    @property
    def info(self) -> EngineInfo: ...

    async def complete(self, request: Request) -> Completion: ...

    def num_preemptions(self) -> int:
        """Return how often a running request lost its cache to another so far: too many, and work is done twice."""
        ...

    async def close(self) -> None: ...
