"""The command line. Exit codes: 0 complete; 1 gaps, violations or too many rejects; 2 wrong usage or config."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from selfstudy import views
from selfstudy.cli_filter import app as filter_app
from selfstudy.config import Config, ConfigError, LimitsConfig, load_config
from selfstudy.engines.base import EngineUnusable
from selfstudy.redact import redacted

app = typer.Typer(
    name="selfstudy",
    help="Question-answer training data from documents: every question tied to a sampled sentence, "
    "instruction-like passages lifted out first, coverage measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(filter_app, name="filter")
out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, for example jobs/sample.yaml")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override a field of the config; repeatable")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, all else on stderr")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the log of every stage")]
LimitDocuments = Annotated[
    int | None, typer.Option("--limit-documents", min=1, help="Read only so many documents (limits.max_documents)")
]
Output = Annotated[str, typer.Argument(metavar="OUTPUT", help="Folder or URL that a run wrote to")]


@app.command(epilog="Example: selfstudy run jobs/sample.yaml --set targets.per_chunk=4")
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    limit_documents: LimitDocuments = None,
    new_recipe: Annotated[
        bool, typer.Option("--new-recipe", help="Go on although the recipe changed and asks everything anew")
    ] = False,
    retry: Annotated[
        list[str] | None, typer.Option(metavar="REASON", help="Ask targets again that were rejected so; repeatable")
    ] = None,
    steal_lock: Annotated[
        bool, typer.Option("--steal-lock", help="Take the output from another run without waiting for it to end")
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Generate what is missing and publish a snapshot; the same command resumes and refreshes."""
    _log(verbose)
    loaded = _load(config, overrides, limit_documents)
    signal.signal(signal.SIGTERM, _stop)
    from selfstudy.job import run as run_config
    from selfstudy.progress import LiveTable, LogLines

    options: dict[str, Any] = {"new_recipe": new_recipe, "retry": retry or (), "steal_lock": steal_lock}
    try:
        if err.is_terminal:
            with LiveTable(err) as live:
                summary = run_config(loaded, live, **options)
        else:
            summary = run_config(loaded, LogLines(err), **options)
    except KeyboardInterrupt:
        err.print("stopped. What was committed stays; the same command goes on from there.")
        raise typer.Exit(1) from None
    if retry and not summary.retried_splits:
        err.print(f"no target was rejected as {' or '.join(retry)}")
    if as_json:
        _print_json(views.summary_content(summary))
    else:
        views.show_summary(out, summary)
    raise typer.Exit(summary.exit_code)


@app.command(epilog="Example: selfstudy plan jobs/sample.yaml --json")
def plan(
    config: ConfigFile, overrides: Overrides = None, limit_documents: LimitDocuments = None, as_json: AsJson = False
) -> None:
    """Show what a run would do: files, splits, what is committed, and estimates from a sample of the corpus."""
    from selfstudy.job import recipe_changes
    from selfstudy.planning import estimate, plan_run
    from selfstudy.store.commits import CommittedUnits
    from selfstudy.store.filesystem import Folder
    from selfstudy.store.snapshots import latest_manifest

    loaded = _load(config, overrides, limit_documents)
    planned = plan_run(loaded)
    output = Folder.at(loaded.output)
    with _reading(loaded.output):
        committed = CommittedUnits.find(output)
        changes = recipe_changes(planned, latest_manifest(output))
    missing = planned.missing(committed)
    estimates, share = estimate(planned)
    content = {
        "files": planned.num_files,
        "skipped_files": planned.skipped_files,
        "mb": round(sum(split.num_bytes for split in planned.splits) / 1e6, 3),
        "splits": len(planned.splits),
        "splits_left_out": len(planned.left_out),
        "splits_committed": len(planned.splits) - len(missing),
        "splits_missing": len(missing),
        "epoch": planned.config.targets.epoch_number,
        "recipe_changes": changes,
        "sampled_share": round(share, 4),
        "estimates": {name: asdict(value) for name, value in estimates.items()},
    }
    if as_json:
        _print_json(content)
        return
    views.show_plan(out, redacted(loaded.output), content)


@app.command(epilog="Example: selfstudy preview jobs/sample.yaml -n 2")
def preview(
    config: ConfigFile,
    number: Annotated[int, typer.Option("-n", min=1, help="Documents to show")] = 3,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Take a few documents through the whole way and show removed spans, targets and pairs; nothing is written."""
    from selfstudy.preview import preview as preview_documents

    documents = preview_documents(_load(config, overrides, None), number)
    if as_json:
        _print_json({"documents": [asdict(document) for document in documents]})
        return
    for document in documents:
        views.show_preview(out, document)


@app.command(epilog="Example: selfstudy status out/sample")
def status(output: Output, as_json: AsJson = False) -> None:
    """Show the progress of a run from the store alone."""
    from selfstudy.status import status as status_of
    from selfstudy.store.filesystem import Folder

    with _reading(output):
        found = status_of(Folder.at(output))
    if as_json:
        _print_json(asdict(found))
        return
    views.show_status(out, redacted(output), found)


@app.command(epilog="Example: selfstudy verify out/sample")
def verify(output: Output, as_json: AsJson = False) -> None:
    """Recompute checksums, schemas, ids, offsets, conservation and uniqueness; exit 1 with the violations."""
    from selfstudy.store.filesystem import Folder
    from selfstudy.verify import verify as verify_output

    with err.status("verifying") as shown, _reading(output):
        verdict = verify_output(Folder.at(output), lambda step: shown.update(f"verifying {step}"))
    if as_json:
        _print_json(
            {
                "ok": verdict.ok,
                "snapshot": verdict.snapshot,
                "checked": verdict.checked,
                "violations": verdict.violations,
                "num_violations": verdict.num_violations,
            }
        )
    else:
        views.show_verdict(out, verdict)
    raise typer.Exit(0 if verdict.ok else 1)


@app.command(epilog="Example: selfstudy diff out/sample")
def diff(
    output: Output,
    before: Annotated[str | None, typer.Argument(metavar="A", help="Snapshot; the one before B by default")] = None,
    after: Annotated[str | None, typer.Argument(metavar="B", help="Snapshot; the current one by default")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a snapshot has and lacks against another: chunks, pairs, coverage."""
    from selfstudy.publish.diff import diff as diff_of
    from selfstudy.publish.executor import Here
    from selfstudy.store.filesystem import Folder
    from selfstudy.store.snapshots import manifests_to_compare

    folder = Folder.at(output)
    with _reading(output):
        found = diff_of(folder, *manifests_to_compare(folder, before, after), Here())
    if as_json:
        _print_json(found)
        return
    views.show_diff(out, found)


@app.command(epilog="Example: selfstudy gc out/sample --delete")
def gc(
    output: Output,
    delete: Annotated[bool, typer.Option("--delete", help="Remove it; without this, only list")] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Snapshots that stay; by default publish.keep of the current one")
    ] = None,
    min_age_s: Annotated[
        float, typer.Option(min=0, help="Leave unfinished files that are younger: somebody may be writing them")
    ] = 3600,
    as_json: AsJson = False,
) -> None:
    """List, and with --delete remove, what no kept snapshot and no unfinished run needs."""
    from selfstudy.gc import find_garbage, remove, totals
    from selfstudy.store.filesystem import Folder
    from selfstudy.store.lock import RunLock
    from selfstudy.store.snapshots import latest_manifest

    folder = Folder.at(output)
    with _reading(output):
        latest = latest_manifest(folder)
        if keep is None and latest is not None:
            keep = latest["config"]["publish"]["keep"]
        # No run may be at work while something is removed; to look does no harm.
        with RunLock.take(folder, "gc", LimitsConfig().lock_lease_s) if delete else nullcontext():
            garbage = find_garbage(folder, keep=keep, min_age_s=min_age_s)
            if delete:
                remove(folder, garbage)
    content = {"deleted": delete, "keep": keep, "garbage": totals(garbage)}
    if as_json:
        _print_json(content)
        return
    views.show_garbage(out, redacted(output), content)


@app.command(epilog="Example: selfstudy schema config > config.schema.json")
def schema(
    name: Annotated[str | None, typer.Argument(help="One of the tables, or `config`; all without it")] = None,
    write: Annotated[Path | None, typer.Option(help="Write one file each into this folder instead")] = None,
) -> None:
    """Print the schemas of the published tables and the JSON Schema of the config."""
    from selfstudy.tables import TABLES

    schemas: dict[str, Any] = {table.name: table.describe() for table in TABLES.values()}
    schemas["config"] = Config.model_json_schema()
    if name is not None and name not in schemas:
        raise ConfigError([f"schema: {name!r}: expected one of {', '.join(schemas)}"])
    chosen = {name: schemas[name]} if name else schemas
    if write is None:
        _print_json(chosen[name] if name else chosen)
        return
    write.mkdir(parents=True, exist_ok=True)
    for each, content in chosen.items():
        (write / f"{each}.json").write_bytes(_dump(content) + b"\n")


def main() -> NoReturn:
    """Run the command line; every expected failure is one clear line on stderr."""
    from selfstudy.generate import UnitFailedError
    from selfstudy.job import EngineFailedError
    from selfstudy.store.lock import LockHeldError

    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            err.print(escape(f"selfstudy: {redacted(problem)}"), soft_wrap=True)
        sys.exit(2)
    except (EngineUnusable, EngineFailedError) as error:
        err.print(escape(f"selfstudy: engine: {redacted(str(error))}"), soft_wrap=True)
        sys.exit(2)
    except FileNotFoundError as error:
        err.print(escape(f"selfstudy: {redacted(str(error))}"), soft_wrap=True)
        sys.exit(2)
    except LockHeldError as error:
        err.print(escape(f"selfstudy: {error}"), soft_wrap=True)
        sys.exit(1)
    except (OSError, UnitFailedError) as error:
        line = f"selfstudy: {redacted(str(error))}. What was committed stays; run again to go on."
        err.print(escape(line), soft_wrap=True)
        sys.exit(1)
    sys.exit(0)


@contextmanager
def _reading(output: str) -> Iterator[None]:
    """A store that cannot be read is a wrong place or key: usage, not a finding."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ConfigError([f"{output}: cannot be read: {error.strerror or error}"]) from None


def _load(path: Path, overrides: list[str] | None, limit_documents: int | None) -> Config:
    limit = [f"limits.max_documents={limit_documents}"] if limit_documents else []
    return load_config(path, [*(overrides or []), *limit])


def _stop(_signum: int, _frame: FrameType | None) -> None:
    """SIGTERM, which `ray job stop` and Kubernetes send, ends a run as Ctrl-C does."""
    raise KeyboardInterrupt


def _log(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )


def _dump(content: Any) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)


def _print_json(content: Any) -> None:
    sys.stdout.write(_dump(content).decode() + "\n")


if __name__ == "__main__":
    main()
