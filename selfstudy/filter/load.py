"""Config -> judge."""

from selfstudy.config import FilterConfig
from selfstudy.filter.judge import Judge
from selfstudy.filter.rules import RulesJudge


def load_judge(config: FilterConfig) -> Judge | None:
    """Return the judge that the config names, None for `none`.

    Raises:
        ConfigError: a model is missing, damaged or of another version.
    """
    return None if config.kind == "none" else RulesJudge()
