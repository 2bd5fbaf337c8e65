"""Benchmarks: `python jobs/bench.py NAME`, a table for people, with --json one object for machines.

Each ends with exit code 0 also when an aim is missed: it measures, and others judge.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import yaml
from rich.console import Console
from rich.table import Table

# `python jobs/bench.py` puts jobs/ on the path, and not the folder that it is in.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
if sys.argv[1:2] in (["filter"], ["prepare"]):
    # Their figures are of one core, as Ray gives an actor; numpy reads this when it is imported.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from selfstudy.worker import versions

app = typer.Typer(help="Measure the parts of selfstudy.", no_args_is_help=True, add_completion=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Argument of the benchmark's function, as YAML.")
]


@app.callback()
def main() -> None:
    """Measure the parts of selfstudy."""


@app.command()
def prepare(
    corpus: Annotated[
        str | None,
        typer.Option(help="File, folder or glob, or `sample`. By default real documents where there are some."),
    ] = None,
    corpus_mb: Annotated[float, typer.Option(help="Size to which the sample is replicated.")] = 5.0,
    repetitions: Annotated[int, typer.Option(min=1, help="Passes over the corpus; the median counts.")] = 3,
    memory: Annotated[bool, typer.Option("--memory", help="Also watch the whole job's memory. Takes long.")] = False,
    memory_mb: Annotated[list[float] | None, typer.Option(help="Corpus sizes for --memory: 20 and 400.")] = None,
    as_json: AsJson = False,
) -> None:
    """From files to targets on one core, step by step."""
    from jobs.bench_prepare import AIMS, bench_prepare

    figures = bench_prepare(corpus=corpus, corpus_mb=corpus_mb, repetitions=repetitions)
    if memory:
        from jobs.bench_memory import bench_memory

        figures |= bench_memory(sizes_mb=memory_mb or (20, 400))
    report("prepare", figures, aims=AIMS, as_json=as_json)


@app.command()
def engine(settings: Settings = None, as_json: AsJson = False) -> None:
    """The job against the raw engine and against ray.data.llm."""
    from jobs.bench_engine import AIMS, bench_engine

    report("engine", bench_engine(**_arguments(settings)), aims=AIMS, as_json=as_json)


@app.command()
def refresh(settings: Settings = None, as_json: AsJson = False) -> None:
    """The second night: what is asked again, and how long it takes if nothing changed."""
    from jobs.bench_refresh import AIMS, AT_MOST, bench_refresh

    report("refresh", bench_refresh(**_arguments(settings)), aims=AIMS, at_most=AT_MOST, as_json=as_json)


@app.command()
def store(settings: Settings = None, as_json: AsJson = False) -> None:
    """Planning and resuming on a store of many commits; --set num_commits=1000000 --set folder=KEPT."""
    from jobs.bench_store import AT_MOST, bench_store

    report("store", bench_store(**_arguments(settings)), at_most=AT_MOST, as_json=as_json)


@app.command("filter")
def filter_(settings: Settings = None, as_json: AsJson = False) -> None:
    """The judges of the filter."""
    from jobs.bench_filter import bench_filter

    report("filter", bench_filter(**_arguments(settings)), as_json=as_json)


def report(
    name: str,
    figures: Mapping[str, Any],
    *,
    aims: Mapping[str, float] | None = None,
    at_most: Mapping[str, float] | None = None,
    as_json: bool,
) -> None:
    """Print figures as a table, or as {benchmark, figures, aims, machine, versions}.

    `aims` are what figures should reach, `at_most` what they should not exceed.
    """
    floors, ceilings = dict(aims or {}), dict(at_most or {})
    result = {
        "benchmark": name,
        "figures": figures,
        "aims": floors | ceilings,
        "machine": machine(),
        "versions": versions(),
    }
    if as_json:
        sys.stdout.write(orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS).decode() + "\n")
        return
    table = Table(title=f"bench {name}", title_justify="left")
    for column in ("figure", "value", "aim"):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for path, value in _flat(figures):
        shown = f"{value:,}" if isinstance(value, int | float) else str(value)
        verdict = ""
        if path in floors:
            verdict = f"{floors[path]:,g} {'met' if value >= floors[path] else 'missed'}"
        elif path in ceilings:
            verdict = f"at most {ceilings[path]:,g} {'met' if value <= ceilings[path] else 'missed'}"
        table.add_row(path, shown, verdict)
    console = Console()
    console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in machine().items()), style="dim")


def machine() -> dict[str, Any]:
    """Return what the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "load_1m": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _flat(figures: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in figures.items():
        path = f"{prefix}{key}"
        rows += _flat(value, f"{path}.") if isinstance(value, Mapping) else [(path, value)]
    return rows


def _arguments(settings: list[str] | None) -> dict[str, Any]:
    arguments = {}
    for setting in settings or []:
        name, separator, value = setting.partition("=")
        if not separator:
            raise typer.BadParameter(f"{setting}: expected NAME=VALUE", param_hint="--set")
        arguments[name] = yaml.safe_load(value)
    return arguments


if __name__ == "__main__":
    app()
