"""The command line. Exit codes: 0 complete; 1 gaps, violations or too many rejects; 2 wrong usage or config."""

from __future__ import annotations

import logging
import signal
import sys
from contextlib import redirect_stdout
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from rich.markup import escape

from selfstudy import views
from selfstudy.cli_filter import app as filter_app
from selfstudy.cli_store import app as store_app
from selfstudy.config import Config, ConfigError, load_config
from selfstudy.console import AsJson, as_json_text, err, out, print_json, reading
from selfstudy.engines.base import EngineUnusable
from selfstudy.redact import redacted
from selfstudy.resources import ClusterFailedError

app = typer.Typer(
    name="selfstudy",
    help="Question-answer training data from documents: every question tied to a sampled sentence, "
    "instruction-like passages lifted out first, coverage measured.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(store_app)
app.add_typer(filter_app, name="filter")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, for example jobs/sample.yaml")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="A.B=VALUE", help="Override a field of the config; repeatable")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Show the log of every stage")]
LimitDocuments = Annotated[
    int | None, typer.Option("--limit-documents", min=1, help="Read only so many documents (limits.max_documents)")
]


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
        # Ray prints on stdout when a worker dies, the last of it when it stops.
        with redirect_stdout(sys.stderr):
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
        print_json(views.summary_content(summary))
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
    with reading(loaded.output):
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
        print_json(content)
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
        print_json({"documents": [asdict(document) for document in documents]})
        return
    for document in documents:
        views.show_preview(out, document)


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
        print_json(chosen[name] if name else chosen)
        return
    write.mkdir(parents=True, exist_ok=True)
    for each, content in chosen.items():
        (write / f"{each}.json").write_text(as_json_text(content) + "\n", encoding="utf-8")


def main() -> NoReturn:
    """Run the command line; every expected failure is one clear line on stderr."""
    from selfstudy.generate import UnitFailedError
    from selfstudy.store.lock import LockHeldError

    try:
        app()
    except ConfigError as error:
        for problem in error.problems:
            err.print(escape(f"selfstudy: {redacted(problem)}"), soft_wrap=True)
        sys.exit(2)
    except (EngineUnusable, FileNotFoundError) as error:
        err.print(escape(f"selfstudy: {redacted(str(error))}"), soft_wrap=True)
        sys.exit(2)
    except LockHeldError as error:
        err.print(escape(f"selfstudy: {error}"), soft_wrap=True)
        sys.exit(1)
    except (OSError, UnitFailedError, ClusterFailedError) as error:
        line = f"selfstudy: {redacted(str(error))}. What was committed stays; run again to go on."
        err.print(escape(line), soft_wrap=True)
        sys.exit(1)
    sys.exit(0)


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


if __name__ == "__main__":
    main()
