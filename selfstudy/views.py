"""What people see of a plan, a preview, a run, a status and a verdict; corpus text is escaped (law 6)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from selfstudy.preview import PreviewedDocument
from selfstudy.redact import redacted
from selfstudy.run_state import ENGINE_COUNTS, RunSummary
from selfstudy.status import Status
from selfstudy.verdict import Verdict

_SHOWN_GAPS = 10
_COUNTS_OF_STATUS = ("documents", "pairs", "pairs_reused", "targets_asked", "targets_rejected", "removed_spans")


def show_plan(console: Console, output: str, content: dict[str, Any]) -> None:
    """Print what `plan --json` gives as a table."""
    table = Table("what", "number", "90 % interval", title=escape(output), title_justify="left")
    for name in ("files", "mb", "splits", "splits_committed", "splits_missing", "epoch"):
        table.add_row(name, f"{content[name]:,}", "")
    for name, value in content["estimates"].items():
        exact = value["low"] == value["high"] == value["value"]
        table.add_row(name, f"{value['value']:,}", "exact" if exact else f"{value['low']:,} to {value['high']:,}")
    console.print(table)
    share = content["sampled_share"]
    console.print(
        f"estimated from {share:.0%} of the corpus, before the filter; completion tokens assume usual lengths"
    )
    for suffix, number in content["skipped_files"].items():
        console.print(f"skipped: {number:,} files with the suffix {escape(suffix)}, which has no reader")
    for change in content["recipe_changes"]:
        console.print(escape(f"the recipe differs from the latest snapshot's: {change}"), soft_wrap=True)
    if content["recipe_changes"]:
        console.print(f"about {content['estimates']['targets']['value']:,} targets would be asked anew: --new-recipe")
    if not content["splits_missing"]:
        console.print("nothing to generate: every split is committed")


def show_preview(console: Console, document: PreviewedDocument) -> None:
    console.rule(escape(document.doc_id), align="left")
    console.print(
        f"{document.chunks} chunks, {document.sentences} sentences, {document.eligible} eligible, "
        f"{document.targets} targets, {len(document.pairs)} pairs"
    )
    for span in document.removed:
        console.print(f"[red]removed[/red] ({span.field}, {escape(span.judge)}, {span.score}): {escape(span.text)}")
    for pair in document.pairs:
        target = escape(" ".join(pair.target_text.split()))
        console.print(f"[dim]{pair.style}, fidelity {pair.fidelity}: {target}[/dim]")
        console.print(f"  [bold]Q[/bold] {escape(pair.question)}\n  [bold]A[/bold] {escape(pair.answer)}")
    for reject in document.rejects:
        console.print(f"[yellow]rejected[/yellow] ({reject.reason}): {escape(reject.detail)}")


def show_status(console: Console, output: str, found: Status) -> None:
    table = Table("what", "value", title=escape(output), title_justify="left")
    table.add_row("units committed", f"{found.units:,}")
    about = "" if found.units_read == found.units else "about "
    table.add_row("splits complete / started", f"{found.splits_complete:,} / {found.splits_started:,}")
    for name in (*_COUNTS_OF_STATUS, *ENGINE_COUNTS):
        table.add_row(name, f"{about}{found.counts.get(name, 0):,}")
    if about:
        table.add_row("", f"estimated from {found.units_read:,} units")
    table.add_row("last commit", found.last_commit_at or "none")
    if found.last_run:
        ended = found.last_run.get("finished_at")
        started = f"started {found.last_run['started_at']}, not finished"
        table.add_row("last run", f"finished {ended}" if ended else started)
    complete = {True: "complete", False: "with gaps", None: ""}[found.snapshot_complete]
    table.add_row("snapshot", f"{found.snapshot} {complete}" if found.snapshot else "none yet")
    console.print(table)


def show_diff(console: Console, found: dict[str, Any]) -> None:
    table = Table("what", "kept", "added", "dropped", title=f"{found['before']} -> {found['after']}")
    for name in ("chunks", "pairs"):
        table.add_row(name, *(f"{found[name][what]:,}" for what in ("kept", "added", "dropped")))
    console.print(table)
    for name, (before, after) in ({"epoch": found["epoch"]} | found["figures"]).items():
        console.print(f"{name}: {before} -> {after}" if before != after else f"{name}: {after}")


def show_garbage(console: Console, output: str, content: dict[str, Any]) -> None:
    table = Table("removed" if content["deleted"] else "could be removed", "objects", "MB", title=escape(output))
    for kind, total in content["garbage"].items():
        table.add_row(kind, f"{total['objects']:,}", f"{total['bytes'] / 1e6:,.1f}")
    console.print(table)
    if not content["deleted"] and any(total["objects"] for total in content["garbage"].values()):
        console.print("nothing was removed: --delete does that")


def show_verdict(console: Console, verdict: Verdict) -> None:
    for line in verdict.violations:
        console.print(escape(line), soft_wrap=True)
    total = verdict.num_violations.total()
    checked = f"{verdict.checked.total():,} checks of {len(verdict.checked)} kinds"
    console.print(f"{verdict.snapshot}: {checked}, " + (f"{total:,} violations" if total else "no violation"))


def summary_content(summary: RunSummary) -> dict[str, Any]:
    """Return what `run --json` prints."""
    manifest = summary.manifest or {}
    return {
        "exit_code": summary.exit_code,
        "run": summary.run_id,
        "output": redacted(summary.output),
        "units": summary.units,
        "targets": summary.targets,
        "pairs": summary.pairs,
        "reused": summary.reused,
        "asked": summary.asked,
        "retried_splits": summary.retried_splits,
        "seconds": summary.seconds,
        "engine": summary.engine,
        "published": summary.published,
        "nothing_to_do": summary.nothing_to_do,
        "stopped_by": summary.stopped_by,
        "gaps": [asdict(gap) for gap in summary.gaps],
        "snapshot": manifest.get("snapshot"),
        "complete": manifest.get("complete"),
        "epoch": manifest.get("epoch"),
        "exhausted": manifest.get("exhausted"),
        "diff": manifest.get("diff"),
        "counts": manifest.get("counts"),
        "rows": manifest.get("rows"),
        "coverage": manifest.get("coverage"),
    }


def show_summary(console: Console, summary: RunSummary) -> None:
    manifest = summary.manifest
    if summary.nothing_to_do:
        console.print("nothing to do: every unit of this corpus and config is committed and published")
    else:
        pairs = f"{summary.pairs:,} pairs of {summary.targets:,} targets"
        how = f" ({summary.reused:,} pairs reused, {summary.asked:,} targets asked)" if summary.reused else ""
        console.print(f"{summary.units:,} units, {pairs}{how} in {summary.seconds:.1f} s")
        _show_engine(console, summary.engine)
    if manifest is not None:
        _show_manifest(console, manifest)
        if manifest["exhausted"]:
            console.print("exhausted: every eligible sentence was asked; a further epoch asks nothing")
    for gap in summary.gaps[:_SHOWN_GAPS]:
        console.print(escape(f"gap: {gap.uris[0]}{' ...' if len(gap.uris) > 1 else ''}: {gap.reason}"))
    if summary.gaps:
        console.print(f"{len(summary.gaps):,} gaps; the same command fills them")
    if summary.stopped_by:
        console.print(escape(f"stopped by {summary.stopped_by}"))
    if manifest is not None:
        folder = f"{redacted(summary.output).rstrip('/')}/snapshots/{manifest['snapshot']}"
        console.print(escape(f"data: {folder}/data\ncard: {folder}/README.md"), soft_wrap=True)


def _show_engine(console: Console, counts: dict[str, int]) -> None:
    """What an engine with tokens did for the pairs, and whether its cache was too small."""
    if counts["prompt_tokens"]:
        cached = counts["cached_tokens"] / counts["prompt_tokens"]
        tokens = f"{counts['prompt_tokens']:,} prompt tokens, {cached:.0%} of them from the prefix cache"
        console.print(f"{tokens}; {counts['completion_tokens']:,} completion tokens")
    if counts["preemptions"]:
        console.print(f"{counts['preemptions']:,} preemptions: fewer engine.max_num_seqs would do less work twice")


def _show_manifest(console: Console, manifest: dict[str, Any]) -> None:
    counts, coverage = manifest["counts"], manifest["coverage"]
    table = Table("what", "number", title=f"snapshot {manifest['snapshot']}", title_justify="left")
    table.add_row("documents, rejected", f"{counts['documents']:,}, {counts['documents_rejected']:,}")
    table.add_row("sentences, eligible", f"{coverage['sentences']:,}, {coverage['eligible']:,}")
    asked = "" if coverage["coverage_sentences"] is None else f" ({coverage['coverage_sentences']:.1%} of the eligible)"
    table.add_row("sentences asked", f"{coverage['asked']:,}{asked}")
    table.add_row("epoch", f"{manifest['epoch']}, {coverage['exhausted_chunks']:,} chunks exhausted")
    table.add_row("spans removed", f"{coverage['removed_spans']:,} ({coverage['kept_share']:.2%} of the text kept)")
    table.add_row("pairs (train, validation)", f"{manifest['rows']['train']:,}, {manifest['rows']['validation']:,}")
    for reason, number in coverage["target_rejects_by_reason"].items():
        table.add_row(f"targets rejected: {reason}", f"{number:,}")
    for reason, number in coverage["document_rejects_by_reason"].items():
        table.add_row(f"documents rejected: {reason}", f"{number:,}")
    console.print(table)
