"""Watch every request that goes into a vLLM engine, in whatever process it lives: the same code for all arms.

Python runs `install_probe` first in every process (`write_site`); it waits until somebody imports vLLM and then wraps
AsyncLLM. Each finished request and each engine start becomes one line of JSON in the file that SELFSTUDY_BENCH_TRACE
names. Times are seconds since the epoch, on one machine.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

TRACE_VARIABLE = "SELFSTUDY_BENCH_TRACE"
_MODULE = "vllm.v1.engine.async_llm"


def write_site(folder: Path) -> Path:
    """Make a folder which, on PYTHONPATH, brings the probe into every process of an arm."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text("from jobs.bench_probe import install_probe\n\ninstall_probe()\n")
    return folder


def install_probe() -> None:
    """Do nothing now, and patch vLLM's engine class once it is imported."""
    path = os.environ.get(TRACE_VARIABLE)
    if path:
        sys.meta_path.insert(0, _AfterImport(path))


def read_trace(path: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the requests, in the order in which they ended, and the starts of engines, each with `start` and `end`.

    An engine starts with the import of vLLM in its process and ends when it takes requests.
    """
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [line for line in lines if "prompt" in line], [line for line in lines if "prompt" not in line]


class _AfterImport(importlib.abc.MetaPathFinder):
    def __init__(self, path: str) -> None:
        self._path = path
        self._imported = 0.0

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        del path, target
        if fullname == "vllm":
            self._imported = time.time()
        if fullname != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        assert spec is not None
        assert spec.loader is not None
        spec.loader = _Patching(spec.loader, self._path, self._imported)
        return spec


class _Patching(importlib.abc.Loader):
    def __init__(self, loader: Any, path: str, imported: float) -> None:
        self._loader = loader
        self._path = path
        self._imported = imported

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        _patch(module.AsyncLLM, self._path, self._imported)


def _patch(engine_class: Any, path: str, imported: float) -> None:
    start, generate = engine_class.__init__, engine_class.generate

    def write(record: dict[str, Any]) -> None:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def timed_start(self: Any, *args: Any, **kwargs: Any) -> None:
        start(self, *args, **kwargs)
        write({"engine": os.getpid(), "start": imported, "end": time.time()})

    async def traced(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        started = time.time()
        sampling = kwargs.get("sampling_params") or args[1]
        async for output in generate(self, *args, **kwargs):
            if output.finished:
                record: dict[str, Any] = {"engine": os.getpid(), "start": started, "end": time.time()}
                record |= {"max_tokens": sampling.max_tokens, "prompt": list(output.prompt_token_ids)}
                record |= {"cached": output.num_cached_tokens or 0, "completion": len(output.outputs[0].token_ids)}
                write(record)
            yield output

    engine_class.__init__ = timed_start
    engine_class.generate = traced
