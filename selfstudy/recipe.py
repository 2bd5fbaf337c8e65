"""What a unit's content depends on, as hashes: the recipe and the name of a unit.

The *ask* part is what generation and sampling see, the *shape* part how documents become cleaned chunks.
A change of the version numbers below is a change of the recipe: raise one with every change of behaviour.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from selfstudy.config import Config, TargetsConfig, engine_recipe
from selfstudy.ids import content_hash

# Raised when prepare or the unit of removal gives other chunks or eligible sentences for the same input.
SHAPE_VERSION = 5
# Raised when sampling, the built-in engines or the checks give other results for the same chunks.
ASK_VERSION = 1
# Raised when a unit's tables hold something else for the same pairs.
UNIT_VERSION = 2


@dataclass(frozen=True)
class Recipe:
    """`ask` decides on the pairs of a given cleaned chunk, `shape` on the chunks of a given document."""

    ask: dict[str, Any]
    shape: dict[str, Any]

    @cached_property
    def ask_hash(self) -> str:
        return content_hash("ask", self.ask)

    @cached_property
    def hash(self) -> str:
        return content_hash("recipe", self.ask, self.shape)

    def unit_prefix(self, split_id: str, targets: TargetsConfig) -> str:
        """Return what the names of a split's units begin with: split, recipe, targets and epoch."""
        return content_hash("unit", UNIT_VERSION, split_id, self.hash, targets.model_dump(mode="json"))[:24]


def retried_prefix(prefix: str, number: int) -> str:
    """Return what the names of a split's units begin with at its n-th retry; `prefix` is that of its first time."""
    return content_hash("unit", prefix, number)[:24] if number else prefix


def recipe_of(config: Config, *, prompts_version: str, judge_name: str) -> Recipe:
    """Build the recipe of a run; `judge_name` carries the filter's version, "none" without one."""
    answer_engine = config.answer_engine
    ask = {
        "version": ASK_VERSION,
        "engine": engine_recipe(config.engine),
        "answer_engine": engine_recipe(answer_engine) if answer_engine else None,
        "prompts": prompts_version,
        "sampling": config.sampling.model_dump(mode="json"),
        "styles": list(config.targets.styles),
        "checks": config.checks.model_dump(mode="json"),
        "seed": config.seed,
    }
    shape = {
        "version": SHAPE_VERSION,
        # How the corpus is cut into splits does not show in a document's chunks; where it is, the split says.
        "corpus": config.corpus.model_dump(mode="json", exclude={"paths", "split_mb"}),
        "chunks": config.chunks.model_dump(mode="json"),
        "eligibility": config.eligibility.model_dump(mode="json"),
        "filter": config.filter.model_dump(mode="json") | {"judge": judge_name},
    }
    return Recipe(ask, shape)


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Return one line per field of a recipe's part that differs: its path in the config, old -> new."""
    if isinstance(before, dict) and isinstance(now, dict):
        if before.get("kind") != now.get("kind"):  # of another kind of thing all else differs as well
            return differences(before["kind"], now["kind"], f"{path}.kind")
        return [
            line
            for name in sorted(before.keys() | now.keys())
            for line in differences(before.get(name), now.get(name), f"{path}.{name}" if path else name)
        ]
    if before == now:
        return []
    path = _NAMES_IN_CONFIG.get(path, path)
    return [f"{path}: {_short(before)} -> {_short(now)}"]


_NAMES_IN_CONFIG = {
    "prompts": "prompts (by their hash)",
    "styles": "targets.styles",
    "version": "version of the sampler and the checks",
}


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
