"""Config -> judge."""

from selfstudy.config import FilterConfig
from selfstudy.filter.combined import CombinedJudge
from selfstudy.filter.embedded import EmbeddedJudge
from selfstudy.filter.huggingface import load_huggingface
from selfstudy.filter.judge import Judge
from selfstudy.filter.model_file import load_model
from selfstudy.filter.rules import RulesJudge


def load_judge(config: FilterConfig) -> Judge | None:
    """Return the judge that the config names, None for `none`.

    Raises:
        ConfigError: a model is missing, damaged, of another version, or cannot be had.
    """
    judges = tuple(_load_one(kind, config) for kind in config.kinds if kind != "none")
    if not judges:
        return None
    return judges[0] if len(judges) == 1 else CombinedJudge(judges)


def _load_one(kind: str, config: FilterConfig) -> Judge:
    if kind == "rules":
        return RulesJudge()
    if kind == "embedded":
        return EmbeddedJudge(load_model(config.model))
    return load_huggingface(kind.removeprefix("hf:"), config.hf)
