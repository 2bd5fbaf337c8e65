"""How a run is watched: a live display on a terminal, plain lines in a log. Both write to stderr."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.table import Table

from selfstudy.run_state import Progress

_LINE_EVERY_S = 10
# Of less, the time that starting took is a larger part than that of the work.
_MIN_SHARE_FOR_ETA = 0.05


def figures(progress: Progress) -> dict[str, str]:
    """Return what is shown of a run, by label."""
    counts, seconds = progress.counts, max(progress.seconds, 1e-6)
    return {
        "units": f"{progress.units:,}",
        "corpus": f"{progress.done_bytes / max(progress.total_bytes, 1):.0%} of {progress.total_bytes / 1e6:,.1f} MB",
        "pairs": f"{counts['pairs']:,} ({counts['pairs'] / seconds:,.0f}/s)",
        "reused": f"{counts['pairs_reused']:,}",
        "tokens": f"{counts['completion_tokens']:,} ({counts['completion_tokens'] / seconds:,.0f}/s)",
        "removed": f"{counts['removed_spans']:,}",
        "rejects": f"{counts['targets_rejected'] + counts['documents_rejected']:,}",
        "left": _eta(progress),
    }


def _eta(progress: Progress) -> str:
    """Time left, by the share of the corpus that is done."""
    if progress.done_bytes < _MIN_SHARE_FOR_ETA * progress.total_bytes:
        return "?"
    seconds = progress.seconds * (progress.total_bytes / progress.done_bytes - 1)
    return (
        f"{seconds / 3600:.1f} h"
        if seconds >= 5400
        else f"{seconds / 60:.0f} min"
        if seconds >= 90
        else f"{seconds:.0f} s"
    )


class LogLines:
    """One line now and then: for job logs and CI."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = 0.0
        self._unsaid: Progress | None = None

    def started(self, progress: Progress) -> None:
        self._console.print(f"started: {progress.num_splits:,} splits, {progress.total_bytes / 1e6:,.1f} MB")

    def advanced(self, progress: Progress) -> None:
        now = time.monotonic()
        self._unsaid = progress
        if now - self._last >= _LINE_EVERY_S:
            self._last = now
            self._say_figures()

    def publishing(self) -> None:
        self._say_figures()
        self._console.print("publishing")

    def _say_figures(self) -> None:
        if self._unsaid is not None:
            line = "  ".join(f"{label} {value}" for label, value in figures(self._unsaid).items())
            self._console.print(line, soft_wrap=True)
            self._unsaid = None


class LiveTable:
    """A table that is redrawn in place. Use as a context manager."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=4, transient=True)

    def __enter__(self) -> LiveTable:
        self._live.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._live.__exit__(None, None, None)

    def started(self, progress: Progress) -> None:
        self._draw(progress, "preparing the first unit")

    def advanced(self, progress: Progress) -> None:
        self._draw(progress, "generating")

    def publishing(self) -> None:
        self._live.update("publishing")

    def _draw(self, progress: Progress, state: str) -> None:
        table = Table(title=state, title_justify="left")
        for label in (shown := figures(progress)):
            table.add_column(label, justify="right")
        table.add_row(*shown.values())
        self._live.update(table)
