"""Which spans of a chunk are instructions to a model, and lifting them out."""

from selfstudy.filter.judge import BlockKind, Context, Judge, Verdict
from selfstudy.filter.lift import lift
from selfstudy.filter.load import load_judge

__all__ = ["BlockKind", "Context", "Judge", "Verdict", "lift", "load_judge"]
