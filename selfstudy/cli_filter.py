"""The `filter` commands: score, eval, train, show. Exit codes: 0 done; 2 wrong usage, config or file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from selfstudy.config import ConfigError, FilterConfig, parse_config
from selfstudy.console import AsJson, Output, out, print_json

app = typer.Typer(help="Score, measure, train and inspect the injection filter.", no_args_is_help=True)

Kind = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="JUDGE", help="embedded, rules or hf:NAME@REVISION; repeat to combine judges"),
]
Threshold = Annotated[
    float | None, typer.Option("--threshold", min=0, max=1, help="Spans that score at least this are flagged")
]
Model = Annotated[str | None, typer.Option("--model", help="Embedded model made by `filter train`")]
Labels = Annotated[list[str] | None, typer.Option("--label", help="Label of an hf: model that means injection")]


@app.command(epilog="Example: selfstudy filter score spans.jsonl --to scored.parquet")
def score(
    source: Annotated[Path, typer.Argument(metavar="IN", help="JSONL (.gz) or Parquet with a column `text`")],
    to: Annotated[Path, typer.Option("--to", help="Parquet file to write")],
    kind: Kind = None,
    threshold: Threshold = None,
    model: Model = None,
    label: Labels = None,
    as_json: AsJson = False,
) -> None:
    """Add score, flagged and judge to every row; rows, their order and their columns stay."""
    from selfstudy.filter.score_file import score_file

    config = _config(kind, threshold, model, label)
    summary = score_file(source, to, config)
    if as_json:
        print_json(summary)
    else:
        out.print(f"{summary['flagged']} of {summary['rows']} spans flagged by {summary['judge']}; written to {to}")


@app.command("eval", epilog="Example: selfstudy filter eval labelled.jsonl.gz --json")
def evaluate(
    source: Annotated[Path, typer.Argument(metavar="IN", help="JSONL (.gz) with text, label, family, genre")],
    kind: Kind = None,
    threshold: Threshold = None,
    model: Model = None,
    label: Labels = None,
    as_json: AsJson = False,
) -> None:
    """Recall per attack family, clean text kept per genre, AUC, recall at fixed false positives, speed.

    A model's figures on its own training data flatter it; `filter train` reports families that it has not seen.
    """
    from selfstudy.filter.evaluation import evaluate as figures_of
    from selfstudy.filter.evaluation import score_texts
    from selfstudy.filter.examples import read_examples
    from selfstudy.filter.load import load_judge

    config = _config(kind, threshold, model, label)
    judge = load_judge(config)
    examples = read_examples(source)
    if judge is None:
        raise ConfigError(["--kind none: there is nothing to evaluate"])
    scores, per_second = score_texts(judge, examples)
    figures = {"judge": judge.name, "spans_per_s": per_second} | figures_of(examples, scores, config.threshold)
    if as_json:
        print_json(figures)
    else:
        _print_figures(figures)


@app.command(epilog="Example: selfstudy filter train --data labelled.jsonl.gz --to my.safetensors")
def train(
    data: Annotated[
        list[str],
        typer.Option("--data", help="Labelled JSONL (.gz); repeatable. Families named mined_... are never measured"),
    ],
    to: Annotated[Path, typer.Option("--to", help="Model file to write; its card goes beside it as .json")],
    encoder: Annotated[
        Path | None,
        typer.Option(
            "--encoder", help="Folder of a pretrained BERT model: a second reader starts from its lower layers"
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed")] = 0,
    composed_attacks: Annotated[int, typer.Option("--composed-attacks", min=0)] = 48_000,
    composed_clean: Annotated[int, typer.Option("--composed-clean", min=0)] = 26_000,
    threshold: Annotated[float, typer.Option("--threshold", min=0, max=1, help="For the figures of the card")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """Fit the embedded model to labelled data and the composed spans, and measure it on families left out."""
    from selfstudy.filter.encoder_training import EncoderSettings
    from selfstudy.filter.linear import TrainingSettings
    from selfstudy.filter.train import TrainingPlan
    from selfstudy.filter.train import train as train_model

    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    plan = TrainingPlan(
        data=tuple(data),
        num_composed_attacks=composed_attacks,
        num_composed_clean=composed_clean,
        threshold=threshold,
        settings=TrainingSettings(seed=seed),
        encoder=str(encoder) if encoder else None,
        encoder_settings=EncoderSettings(seed=seed),
    )
    if not to.parent.is_dir():
        raise ConfigError([f"--to {to}: no such folder: {to.parent}"])
    card = train_model(plan, to)
    if as_json:
        print_json(card)
        return
    for name, figures in (card["left_out"] or {}).items():
        out.print(f"\n{name}, families left out", style="bold")
        _print_figures(figures)
    out.print(f"Model {card['revision']} written to {to}, its card to {to.with_suffix('.json')}")


@app.command(epilog="Example: selfstudy filter show out/sample")
def show(
    output: Output,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show so many spans")] = 50,
    as_json: AsJson = False,
) -> None:
    """List what the latest snapshot's filter removed, the most doubtful first, with the text around it.

    To restore a span on the next run, put its id, or a regular expression that it contains, into filter.allow.
    """
    from selfstudy.quarantine import removed_spans

    found = removed_spans(output)
    if as_json:
        print_json({"num_removed": len(found), "removed": [span.as_dict() for span in found[:limit]]})
        return
    for span in found[:limit]:
        # Corpus text is printed as plain text: marks in it must not become markup of the terminal.
        out.print(Text(f"{span.score:.4f}  {span.id}  {span.judge}  {span.field}  {span.doc_id}", style="bold"))
        out.print(Text.assemble("  ", (span.before, "dim"), (span.shown, "red"), (span.after, "dim")), soft_wrap=True)
    out.print(f"{min(limit, len(found))} of {len(found)} removed spans, the most doubtful first")


def _config(
    kind: list[str] | None, threshold: float | None, model: str | None, labels: list[str] | None
) -> FilterConfig:
    """Build the filter section; mistakes name the option's field."""
    section: dict[str, Any] = {}
    if kind:
        section["kind"] = kind if len(kind) > 1 else kind[0]
    if threshold is not None:
        section["threshold"] = threshold
    if model is not None:
        section["model"] = model
    if labels:
        section["hf"] = {"labels": labels}
    whole = parse_config(
        {"corpus": {"paths": ["-"]}, "output": "-", "engine": {"kind": "extractive"}, "filter": section}
    )
    return whole.filter


def _print_figures(figures: dict[str, Any]) -> None:
    summary = Table("figure", "value", box=None)
    for name, value in figures.items():
        if not isinstance(value, dict):
            summary.add_row(name.replace("_", " "), _shown(value))
    for share, recall in figures["recall_at_false_positives"].items():
        summary.add_row(f"recall at {float(share):.1%} false positives", _shown(recall))
    out.print(summary)
    families = Table("attack family", "rows", "recall", "", box=None)
    for name, family in figures["families"].items():
        families.add_row(
            Text(name), str(family["rows"]), f"{family['recall']:.1%}", "" if family["averaged"] else "few"
        )
    out.print(families)
    genres = Table("clean genre", "rows", "kept", box=None)
    for name, genre in figures["genres"].items():
        genres.add_row(Text(name), str(genre["rows"]), f"{genre['kept']:.2%}")
    out.print(genres)


def _shown(value: Any) -> str:
    return (
        f"{value:.4f}"
        if isinstance(value, float) and value <= 1
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )
