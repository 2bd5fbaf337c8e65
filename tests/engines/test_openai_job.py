"""The whole job on an endpoint: one that works, one that refuses us, and one that is down."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from selfstudy.store.filesystem import Folder
from selfstudy.verify import verify
from tests.engines.misbehaving_server import Behaviour, MisbehavingServer
from tests.runs import RunProcess, config_of, ended_targets, planned_targets, published, write_corpus

pytest.importorskip("openai", reason="needs the openai client: pip install selfstudy[openai]")

KEY = "sk-a-secret-that-nobody-may-see"


@contextmanager
def server_in_a_thread(*script: Behaviour) -> Iterator[MisbehavingServer]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    running = MisbehavingServer.running(*script)
    try:
        yield asyncio.run_coroutine_threadsafe(running.__aenter__(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(running.__aexit__(None, None, None), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def endpoint_config(server: MisbehavingServer, folder: Path, **options: Any) -> dict[str, Any]:
    corpus = write_corpus(folder / "corpus", num_documents=3)
    engine = {"kind": "openai", "base_url": server.url, "model": "m", "api_key_env": "MY_KEY", **options}
    # The server's every answer is the same, which the checks would not let pass.
    return config_of(corpus, folder / "out", checks={"enabled": False}) | {"engine": engine}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)


def everything_written(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_an_endpoint_serves_the_job_and_the_key_stays_with_us(tmp_path: Path) -> None:
    with server_in_a_thread(Behaviour(status=500), Behaviour(status=429)) as server:
        run = RunProcess(endpoint_config(server, tmp_path), tmp_path)
        assert run.wait() == 0, run.stderr

    tables = published(tmp_path / "out")
    assert not verify(Folder.at(str(tmp_path / "out"))).violations
    assert planned_targets(tables) == ended_targets(tables)
    assert set(tables["pairs"]["question_model"]) == {"m"}
    assert set(tables["pairs"]["answer_cached_tokens"]) == {7}
    assert {request["authorization"] for request in server.requests} == {f"bearer {KEY}"}
    assert KEY.encode() not in everything_written(tmp_path)


def test_an_endpoint_answers_what_another_engine_asked(tmp_path: Path) -> None:
    with server_in_a_thread() as server:
        config = endpoint_config(server, tmp_path)
        config |= {"engine": {"kind": "scripted"}, "answer_engine": config["engine"]}
        run = RunProcess(config, tmp_path)
        assert run.wait() == 0, run.stderr

    tables = published(tmp_path / "out")
    assert not verify(Folder.at(str(tmp_path / "out"))).violations
    assert planned_targets(tables) == ended_targets(tables)
    pairs = tables["pairs"]
    assert (set(pairs["question_model"]), set(pairs["answer_model"])) == ({"scripted@1"}, {"m"})
    said = [request["body"]["messages"][-1]["content"] for request in server.requests]
    assert len(said) == len(pairs)
    assert all(any(question in content for content in said) for question in pairs["question"])


def test_a_refused_key_ends_the_run_with_one_line(tmp_path: Path) -> None:
    refusal = json.dumps({"error": {"message": f"bad key {KEY}"}}).encode()
    with server_in_a_thread(*[Behaviour(status=401, body=refusal)] * 1000) as server:
        run = RunProcess(endpoint_config(server, tmp_path), tmp_path)
        assert run.wait() != 0

    assert "refuses model m" in run.stderr
    assert "Traceback" not in run.stderr
    assert KEY.encode() not in everything_written(tmp_path)


def test_an_endpoint_that_is_down_leaves_gaps_and_the_next_run_fills_them(tmp_path: Path) -> None:
    with server_in_a_thread(*[Behaviour(status=503)] * 1000) as server:
        config = endpoint_config(server, tmp_path, max_attempts=2, max_backoff_s=0.01)
        run = RunProcess(config, tmp_path)
        assert run.wait() == 1, run.stderr
        server.script.clear()

        again = RunProcess(config, tmp_path)
        assert again.wait() == 0, again.stderr

    tables = published(tmp_path / "out")
    assert planned_targets(tables) == ended_targets(tables)
    assert not len(tables["rejects"])
