"""The commands that look at what runs have written: status, verify, diff, gc. They need no config."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from typing import Annotated

import typer

from selfstudy import views
from selfstudy.config import LimitsConfig
from selfstudy.console import AsJson, Output, err, out, print_json, reading
from selfstudy.redact import redacted

app = typer.Typer()


@app.command(epilog="Example: selfstudy status out/sample")
def status(output: Output, as_json: AsJson = False) -> None:
    """Show the progress of a run from the store alone."""
    from selfstudy.status import status as status_of
    from selfstudy.store.filesystem import Folder

    with reading(output):
        found = status_of(Folder.at(output))
    if as_json:
        print_json(asdict(found))
        return
    views.show_status(out, redacted(output), found)


@app.command(epilog="Example: selfstudy verify out/sample")
def verify(output: Output, as_json: AsJson = False) -> None:
    """Recompute checksums, schemas, ids, offsets, conservation and uniqueness; exit 1 with the violations."""
    from selfstudy.store.filesystem import Folder
    from selfstudy.verify import verify as verify_output

    with err.status("verifying") as shown, reading(output):
        verdict = verify_output(Folder.at(output), lambda step: shown.update(f"verifying {step}"))
    if as_json:
        print_json(
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
    with reading(output):
        found = diff_of(folder, *manifests_to_compare(folder, before, after), Here())
    if as_json:
        print_json(found)
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
    with reading(output):
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
        print_json(content)
        return
    views.show_garbage(out, redacted(output), content)
