"""The filter's part of the config: which judges, how strict, with which model."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from selfstudy.sections import PositiveInt, Section, Share


class HuggingFaceConfig(Section):
    """How a `hf:` judge reads its model."""

    labels: Annotated[list[str], Field(min_length=1)] = ["INJECTION", "JAILBREAK", "MALICIOUS", "LABEL_1"]
    """Labels of the model that mean an instruction; their probabilities add up."""
    window_tokens: Annotated[int, Field(ge=16)] = 512
    """Longer spans are read in overlapping windows of this many tokens."""
    batch_size: PositiveInt = 32
    device: str = "cpu"


class FilterConfig(Section):
    """How instruction-like spans are found and lifted out."""

    kind: str | list[str] = ["embedded", "rules"]
    """Judge, or a list of judges of which the strictest counts: `embedded` (trained, shipped), `rules` (patterns),
    `hf:NAME@REVISION` (any classification model of transformers). `none` runs unfiltered, and the dataset card
    says so."""
    threshold: Share = 0.5
    """Sentences that score at least this are lifted; in a chunk full of doubtful ones, up to 0.1 more. Of clean
    sentences the default judges together lose an expected share of 0.002 ** (2 t): at 0.5 two in a thousand, at 0.6 six
    in ten thousand."""
    model: str | None = None
    """Path of an embedded model made by `filter train`, instead of the shipped one."""
    allow: list[str] = []
    """Removed spans to restore: ids as `filter show` prints them, or regular expressions found in the span."""
    hf: HuggingFaceConfig = HuggingFaceConfig()

    @property
    def kinds(self) -> tuple[str, ...]:
        return (self.kind,) if isinstance(self.kind, str) else tuple(self.kind)

    @field_validator("kind")
    @classmethod
    def _names_judges(cls, value: str | list[str]) -> str | list[str]:
        kinds = [value] if isinstance(value, str) else value
        for kind in kinds:
            if kind not in ("embedded", "rules", "none") and not (kind.startswith("hf:") and len(kind) > 3):
                raise ValueError(f"expected embedded, rules, hf:NAME or none, got {kind!r}")
        if not kinds or ("none" in kinds and len(kinds) > 1):
            raise ValueError("expected one judge, a list of judges, or none alone")
        return value

    @field_validator("allow")
    @classmethod
    def _are_patterns(cls, value: list[str]) -> list[str]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None
        return value
