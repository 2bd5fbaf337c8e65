"""Question-answer training data from documents: every question is tied to a sentence that a sampler chose,
instruction-like passages are lifted out before a model sees the text, and the coverage that results is measured.

>>> import selfstudy
>>> summary = selfstudy.run(selfstudy.load_config("jobs/sample.yaml"))
>>> pairs = selfstudy.load(summary.output).select("question", "answer").collect()

The heavy parts (Ray, Polars) are imported with the function that needs them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from selfstudy.config import Config, ConfigError, load_config, parse_config

if TYPE_CHECKING:
    import polars as pl

    from selfstudy.run_state import RunSummary

__all__ = ["Config", "ConfigError", "load", "load_config", "parse_config", "run"]


def run(config: Config | dict[str, Any], *, new_recipe: bool = False, retry: Sequence[str] = ()) -> RunSummary:
    """Generate what is missing of a config and publish a snapshot; see `selfstudy.job.run`.

    `config` is a Config or the plain dict of one. Uses the Ray that runs in this process, else joins the cluster that
    RAY_ADDRESS names, else starts a local one, which ends with the run.

    Raises:
        ConfigError: the config is wrong or cannot be run; one line per mistake in `problems`.
        EngineUnusable: a worker cannot start: the model cannot be loaded, or the endpoint refuses us.
        ClusterFailedError: Ray lost what the run stood on; the same call goes on.
        OSError: storage failed; what was committed stays, and the same call goes on.
    """
    from selfstudy.job import run as run_config

    parsed = parse_config(config) if isinstance(config, dict) else config
    return run_config(parsed, new_recipe=new_recipe, retry=retry)


def load(output: str, split: str | None = None) -> pl.LazyFrame:
    """Return the pairs of the current snapshot of an output, lazily, in the columns of schemas/pairs.json.

    `split` is "train", "validation" or None for both. Offsets in it count code points of the normalised document,
    token columns tokens of the model.

    Raises:
        FileNotFoundError: nothing was published there.
        ValueError: there is no such split.
    """
    from selfstudy.publish.snapshot import scan_parquet
    from selfstudy.store.filesystem import Folder
    from selfstudy.store.snapshots import latest_manifest

    if split not in (None, "train", "validation"):
        raise ValueError(f"split must be 'train', 'validation' or None, got {split!r}")
    folder = Folder.at(output)
    manifest = latest_manifest(folder)
    if manifest is None:
        raise FileNotFoundError(f"{output}: nothing is published here (no latest.json)")
    prefix = f"data/{split}-" if split else "data/"
    names = [file["name"] for file in manifest["files"] if file["name"].startswith(prefix)]
    return scan_parquet(folder.child(f"snapshots/{manifest['snapshot']}"), names)
