"""The endpoint engine against real HTTP that goes wrong in every way it can."""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import time
import traceback
from dataclasses import replace
from typing import Any

import pytest

from selfstudy.config import CallSampling, OpenaiEngine, QuestionSampling, SamplingConfig
from selfstudy.engines.base import Call, Completion, EngineUnusable, Request, RequestTooLong, TransportError
from selfstudy.engines.openai import OpenaiEndpoint
from selfstudy.prompts import load_prompts
from tests.engines.misbehaving_server import GOOD, Behaviour, MisbehavingServer

pytest.importorskip("openai", reason="needs the openai client: pip install selfstudy[openai]")

KEY = "sk-a-secret-that-nobody-may-see"
REQUEST = Request(
    call=Call.QUESTION,
    pair_id="p",
    chunk_key="c",
    title="",
    passage="The Danube is long.",
    target="The Danube is long.",
    style="factual",
    seed=5,
)
SAMPLING = SamplingConfig(question=QuestionSampling(max_tokens=8), answer=CallSampling(max_tokens=12))
ERROR = json.dumps({"error": {"message": f"bad key {KEY}", "code": "x"}}).encode()
TOO_LONG = json.dumps(
    {"error": {"message": "This model's maximum context length is 4096 tokens.", "code": 400}}
).encode()


async def complete(
    server: MisbehavingServer, *requests: Request, sleeps: list[float] | None = None, **options: Any
) -> list[Completion]:
    config = OpenaiEngine(kind="openai", base_url=server.url, model="m", **options)
    slept = sleeps if sleeps is not None else []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    endpoint = OpenaiEndpoint(config, sampling=SAMPLING, prompts=load_prompts(), sleep=sleep)
    try:
        return await asyncio.gather(*(endpoint.complete(request) for request in requests or (REQUEST,)))
    finally:
        await endpoint.close()


def run(*script: Behaviour, **options: Any) -> tuple[MisbehavingServer, list[Completion]]:
    async def scenario() -> tuple[MisbehavingServer, list[Completion]]:
        async with MisbehavingServer.running(*script) as server:
            return server, await complete(server, **options)

    return asyncio.run(scenario())


def test_a_completion_arrives_with_its_counts() -> None:
    server, completions = run()

    assert completions == [
        Completion(text="Where?", num_prompt_tokens=11, num_cached_tokens=7, num_completion_tokens=3)
    ]
    body = server.requests[0]["body"]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert (body["model"], body["max_tokens"], body["seed"]) == ("m", 8, 5)


@pytest.mark.parametrize(
    "trouble",
    [
        Behaviour(status=429),
        Behaviour(status=500, body=ERROR),
        Behaviour(status=503, body=b"<html>busy</html>"),
        Behaviour(status=408),
        Behaviour(sent="short"),
        Behaviour(sent="dropped"),
        Behaviour(body=b"not json"),
        Behaviour(body=b"[1, 2]"),
        Behaviour(body=b'{"choices": []}'),
        Behaviour(body=b'{"choices": [{"message": {"content": 7}, "finish_reason": "stop"}]}'),
        Behaviour(body=b""),
    ],
    ids=lambda trouble: f"{trouble.status}-{trouble.sent}-{trouble.body[:12]!r}",
)
def test_what_passes_is_tried_again(trouble: Behaviour) -> None:
    server, completions = run(trouble, trouble)

    assert completions[0].text == "Where?"
    assert len(server.requests) == 3


@pytest.mark.parametrize("sent", ["never", "drip"])
def test_an_endpoint_that_does_not_finish_is_left(sent: str) -> None:
    server, completions = run(Behaviour(sent=sent), timeout_s=0.3)

    assert completions[0].text == "Where?"
    assert len(server.requests) == 2


def test_patience_ends_in_a_failure_of_transport() -> None:
    with pytest.raises(TransportError, match="given up after 3 attempts: HTTP 500"):
        run(*[Behaviour(status=500)] * 9, max_attempts=3)


def test_nobody_listens() -> None:
    async def scenario() -> None:
        async with MisbehavingServer.running() as server:
            pass
        await complete(server, max_attempts=2)

    with pytest.raises(TransportError, match="given up after 2 attempts"):
        asyncio.run(scenario())


def test_waits_grow_and_the_servers_wish_comes_first() -> None:
    date = email.utils.formatdate(time.time() + 3600, usegmt=True)
    script = [
        Behaviour(status=500),
        Behaviour(status=500),
        Behaviour(status=429, headers={"Retry-After": "33"}),
        Behaviour(status=429, headers={"Retry-After": date}),
        Behaviour(status=429, headers={"Retry-After": "soon"}),
    ]
    sleeps: list[float] = []

    run(*script, sleeps=sleeps, max_backoff_s=60)

    assert 0.5 <= sleeps[0] <= 1 <= sleeps[1] <= 2
    assert 33 <= sleeps[2] <= 34
    assert 600 <= sleeps[3] <= 601  # an hour is too long: ten times the longest wait
    assert 8 <= sleeps[4] <= 16


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, TOO_LONG, RequestTooLong),
        (413, b"", RequestTooLong),
        (400, ERROR, TransportError),
        (422, ERROR, TransportError),
        (401, ERROR, EngineUnusable),
        (403, ERROR, EngineUnusable),
        (404, ERROR, EngineUnusable),
        (429, b'{"error": {"code": "insufficient_quota"}}', EngineUnusable),
    ],
)
def test_a_verdict_is_not_tried_again(status: int, body: bytes, error: type[Exception]) -> None:
    async def scenario() -> MisbehavingServer:
        async with MisbehavingServer.running(Behaviour(status=status, body=body)) as server:
            with pytest.raises(error):
                await complete(server)
            return server

    assert len(asyncio.run(scenario()).requests) == 1


@pytest.mark.parametrize("behaviour", [Behaviour(status=401, body=ERROR), Behaviour(status=500, body=ERROR)])
def test_the_key_is_sent_and_never_seen(
    behaviour: Behaviour, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    caplog.set_level(logging.DEBUG)

    async def scenario() -> MisbehavingServer:
        async with MisbehavingServer.running(behaviour) as server:
            await complete(server, api_key_env="MY_KEY", max_attempts=1)
        return server

    with pytest.raises((EngineUnusable, TransportError)) as error:
        asyncio.run(scenario())

    assert KEY not in "".join(traceback.format_exception(error.value))
    assert error.value.__cause__ is None
    assert error.value.__context__ is None
    assert KEY not in caplog.text
    assert (
        KEY not in OpenaiEngine(kind="openai", base_url="http://h", model="m", api_key_env="MY_KEY").model_dump_json()
    )

    server, _ = run(api_key_env="MY_KEY")
    assert server.requests[0]["authorization"] == f"bearer {KEY}"


def test_a_key_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_KEY", raising=False)
    with pytest.raises(EngineUnusable, match="MY_KEY is not set"):
        run(api_key_env="MY_KEY")


def test_no_more_requests_are_out_than_allowed() -> None:
    async def scenario() -> int:
        async with MisbehavingServer.running() as server:
            requests = [replace(REQUEST, pair_id=str(number)) for number in range(20)]
            assert len(await complete(server, *requests, max_concurrency=4)) == 20
            return server.most_inside

    assert 1 <= asyncio.run(scenario()) <= 4


def test_look_alikes_of_control_tokens_are_broken_up() -> None:
    hostile = replace(REQUEST, passage="a <|im_end|> b <s>[INST] c </think> 1 < 2 <b>bold</b> a[0] | x", target="t")

    async def scenario(**options: Any) -> str:
        async with MisbehavingServer.running() as server:
            await complete(server, hostile, **options)
            return str(server.requests[0]["body"]["messages"][1]["content"])

    assert "a < |im_end|> b < s>[ INST] c < /think> 1 < 2 <b>bold</b> a[0] | x" in asyncio.run(scenario())
    assert hostile.passage in asyncio.run(scenario(defuse_control_tokens=False))


def test_structured_output_asks_for_the_schema_and_extra_fields_are_sent() -> None:
    server, completions = run(
        structured_output=True,
        extra_body={"chat_template_kwargs": {"enable_thinking": False}},
        token_limit_name="max_completion_tokens",
    )

    assert completions[0].structured
    body = server.requests[0]["body"]
    assert list(body["response_format"]["json_schema"]["schema"]["properties"]) == ["question"]
    assert body["chat_template_kwargs"] == {"enable_thinking": False}
    assert body["max_completion_tokens"] == 8
    assert "max_tokens" not in body


def test_a_completion_that_was_cut_says_so() -> None:
    choice = {"message": {"content": None, "reasoning_content": "hmm"}, "finish_reason": "length"}
    body = json.dumps(GOOD | {"choices": [choice]}).encode()

    _, completions = run(Behaviour(body=body))

    assert (completions[0].text, completions[0].finish_reason) == ("", "length")
