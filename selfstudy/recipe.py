"""What a unit's content depends on, as hashes: the recipe and the name of a unit.

The *ask* part is what generation and sampling see, the *shape* part how documents become cleaned chunks.
A change of the version numbers below is a change of the recipe: raise one with every change of behaviour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from selfstudy.config import Config, TargetsConfig, engine_recipe
from selfstudy.ids import content_hash

# Raised when prepare gives other chunks or eligible sentences for the same input.
SHAPE_VERSION = 1
# Raised when sampling, the built-in engines or the checks give other results for the same chunks.
ASK_VERSION = 1


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
        return content_hash("unit", split_id, self.hash, targets.model_dump(mode="json"))[:24]


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
