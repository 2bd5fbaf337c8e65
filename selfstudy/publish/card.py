"""The dataset card: README.md with YAML front matter, every figure from the manifest."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render_card(manifest: dict[str, Any]) -> str:
    """Render the card of a manifest. Nothing in it comes from the corpus's text."""
    loader = PackageLoader("selfstudy", "publish")
    environment = Environment(loader=loader, undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    environment.filters["n"] = lambda number: f"{number:,}"
    environment.filters["pct"] = lambda share: "–" if share is None else f"{share:.2%}"
    coverage, rows = manifest["coverage"], manifest["rows"]
    num_pairs = rows["train"] + rows["validation"]
    config = manifest["config"]
    return environment.get_template("card.md.jinja").render(
        **manifest,
        engine=config["engine"]["kind"],
        unfiltered=config["filter"]["kind"] in ("none", ["none"]),
        has_validation=rows["validation"] > 0,
        size_category=next((name for limit, name in _SIZES if num_pairs < limit), "n>1M"),
        decile_shares=[
            asked / eligible if eligible else None
            for asked, eligible in zip(coverage["asked_by_decile"], coverage["eligible_by_decile"], strict=True)
        ],
    )
