"""What a unit's content depends on, as hashes: the recipe and the name of a unit.

The *ask* part is what generation and sampling see, the *shape* part how documents become cleaned chunks.
A change of the version numbers below is a change of the recipe: raise one with every change of behaviour.
"""

from __future__ import annotations

from typing import Any

from selfstudy.config import Config
from selfstudy.ids import content_hash

# Raised when prepare gives other chunks or eligible sentences for the same input.
SHAPE_VERSION = 1
# Raised when sampling, the built-in engines or the checks give other results for the same chunks.
ASK_VERSION = 1


def ask_recipe(config: Config) -> dict[str, Any]:
    """Return what decides on the pairs of a given cleaned chunk."""
    engine = config.engine.model_dump(mode="json")
    return {
        "version": ASK_VERSION,
        "engine": engine,
        "styles": list(config.targets.styles),
        "checks": config.checks.model_dump(mode="json"),
        "seed": config.seed,
    }


def shape_recipe(config: Config) -> dict[str, Any]:
    """Return what decides on the chunks of a given document."""
    corpus = config.corpus
    return {
        "version": SHAPE_VERSION,
        "corpus": {
            "text_field": corpus.text_field,
            "id_field": corpus.id_field,
            "title_field": corpus.title_field,
            "keep_fields": list(corpus.keep_fields),
            "text_format": corpus.text_format,
            "language": corpus.language,
            "max_document_mb": corpus.max_document_mb,
        },
        "chunks": config.chunks.model_dump(mode="json"),
        "eligibility": config.eligibility.model_dump(mode="json"),
        "filter": config.filter.model_dump(mode="json"),
    }


def recipe_of(config: Config) -> dict[str, Any]:
    return {"ask": ask_recipe(config), "shape": shape_recipe(config)}


def ask_hash(config: Config) -> str:
    return content_hash("ask", ask_recipe(config))


def recipe_hash(config: Config) -> str:
    return content_hash("recipe", recipe_of(config))


def unit_prefix(config: Config, split_id: str) -> str:
    """Return what the names of a split's units begin with: split, recipe, targets and epoch."""
    targets = config.targets.model_dump(mode="json")
    return content_hash("unit", split_id, recipe_of(config), targets)[:24]
