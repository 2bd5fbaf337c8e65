"""What a run is: frozen models with a unit in every name, validated before anything starts.

`load_config` reads YAML and `--set` overrides. Unknown keys are refused. `ConfigError` carries one line per
mistake: the path of the field, the value, and what was expected.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from selfstudy.config_engines import (
    CallSampling,
    EngineConfig,
    ExtractiveEngine,
    OpenaiEngine,
    QuestionSampling,
    SamplingConfig,
    ScriptedEngine,
    VllmEngine,
    engine_recipe,
)
from selfstudy.config_filter import FilterConfig, HuggingFaceConfig
from selfstudy.redact import redacted
from selfstudy.sections import ConfigError, PositiveInt, Section, Share

__all__ = [
    "NEXT",
    "STYLES",
    "CallSampling",
    "ChecksConfig",
    "ChunksConfig",
    "Config",
    "ConfigError",
    "CorpusConfig",
    "EligibilityConfig",
    "EngineConfig",
    "ExtractiveEngine",
    "FilterConfig",
    "HuggingFaceConfig",
    "LimitsConfig",
    "OpenaiEngine",
    "PromptsConfig",
    "PublishConfig",
    "QuestionSampling",
    "ResourcesConfig",
    "SamplingConfig",
    "ScriptedEngine",
    "Section",
    "Style",
    "TargetsConfig",
    "VllmEngine",
    "engine_recipe",
    "load_config",
    "parse_config",
]

Style = Literal["factual", "reasoning", "structuring", "use_case", "creative"]
NEXT = "next"
STYLES: tuple[Style, ...] = get_args(Style)


class CorpusConfig(Section):
    """Where the documents are and how a row becomes one."""

    paths: Annotated[list[str], Field(min_length=1)]
    """Files, globs or folders over any fsspec URL. Suffixes read: .parquet .jsonl (.gz, .zst) .txt .md .html."""
    text_field: str = "text"
    """Column or key that holds the text (Parquet and JSONL)."""
    id_field: str | None = None
    """Column or key of the document's own id. Without one, rows are named by a hash of their text."""
    title_field: str | None = None
    """Column or key of the title."""
    keep_fields: list[str] = []
    """Columns or keys copied, as strings, into pairs and chunks."""
    text_format: Literal["plain", "markdown", "html"] = "plain"
    """What the text of Parquet and JSONL rows is. Of files, the suffix decides."""
    language: str = "en"
    """Language code for the abbreviations of the sentence splitter; other languages are split by their punctuation."""
    max_document_mb: Annotated[float, Field(gt=0)] = 64
    """A larger document is rejected."""
    split_mb: Annotated[float, Field(gt=0)] = 64
    """Larger files that can be sliced (Parquet, plain JSONL) are read in slices of about this size."""


class ChunksConfig(Section):
    """How a document is cut. Tokens are estimated as UTF-8 bytes / 4, for every engine."""

    min_tokens: PositiveInt = 256
    max_tokens: PositiveInt = 768
    per_unit: PositiveInt = 128
    """Chunks in one unit, the atom of retry and commit."""

    @model_validator(mode="after")
    def _leaves_room_to_choose(self) -> ChunksConfig:
        if self.max_tokens < 2 * self.min_tokens:
            raise ValueError(
                f"max_tokens must be at least twice min_tokens, so that content can choose the border; "
                f"got {self.min_tokens} and {self.max_tokens}"
            )
        return self


class EligibilityConfig(Section):
    """Which sentences may be asked about."""

    min_chars: PositiveInt = 24
    max_chars: PositiveInt = 1000
    min_words: PositiveInt = 4
    """Words in scripts with spaces; in Chinese, Japanese and Thai every two characters count as one."""


class TargetsConfig(Section):
    """How many sentences of each chunk are asked about, and in which styles."""

    per_chunk: PositiveInt = 8
    """Targets per chunk and epoch."""
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    """Instead of per_chunk: this share of the eligible sentences per epoch."""
    epoch: int | str = 0
    """At epoch k a chunk has (k+1) times as many targets, until every eligible sentence is one. `next` is the epoch
    after the latest snapshot's, so that the same config asks further every night."""
    styles: Annotated[list[Style], Field(min_length=1)] = list(STYLES)

    @field_validator("epoch")
    @classmethod
    def _is_epoch(cls, value: int | str) -> int | str:
        if value != NEXT and (isinstance(value, str) or value < 0):
            raise ValueError("expected a number from 0, or next")
        return value

    @property
    def epoch_number(self) -> int:
        """The epoch as planning has settled it."""
        assert isinstance(self.epoch, int), "targets.epoch is `next` until a run is planned"
        return self.epoch

    @model_validator(mode="after")
    def _one_measure(self) -> TargetsConfig:
        if self.fraction is not None and "per_chunk" in self.model_fields_set:
            raise ValueError("give per_chunk or fraction, not both")
        return self


class ChecksConfig(Section):
    """What makes a pair a reject. Limits are permissive: a strict one brings selection bias back."""

    enabled: bool = True
    """False keeps every pair with a question and an answer (for models whose text is noise, in tests)."""
    min_fidelity: Share = 0.2
    """Below this the question is asked once more, then rejected as off_target."""
    near_duplicate: Share = 0.95
    """Similarity from which two questions of a unit are near duplicates; 1 keeps all but exact repeats."""
    removed_words: PositiveInt = 5
    """An answer with this many words in a row from a removed span is rejected."""


class PromptsConfig(Section):
    """What the models are told."""

    file: str | None = None
    """A file like selfstudy/prompts.yaml; its hash enters the recipe."""


class PublishConfig(Section):
    """The snapshot's shape."""

    shard_mb: Annotated[float, Field(gt=0)] = 32
    """Aimed size of a shard. Memory does not depend on it: a shard is sorted and written in pieces."""
    validation_fraction: Share = 0.05
    """Share of the documents whose pairs go to the validation split; stable over the nights."""
    keep: PositiveInt | None = None
    """Number of snapshots that stay after a new one is published; all by default. The current one always stays, and
    the newest complete one."""


class LimitsConfig(Section):
    """What ends a run early, cleanly and with gaps."""

    max_hours: Annotated[float, Field(gt=0)] | None = None
    max_completion_tokens: PositiveInt | None = None
    max_documents: PositiveInt | None = None
    max_reject_share: Share = 0.5
    """Share of rejected targets, after the first 1,000, from which nothing is published."""
    lock_lease_s: Annotated[float, Field(ge=1)] = 60
    """A run that gave no sign for so long has died, and the next one takes over."""
    unit_attempts: PositiveInt = 3
    """Runs in which a unit's requests may fail, and workers it may kill in one run, before it is rejected."""


class ResourcesConfig(Section):
    """How Ray places the stages. The defaults suit one machine without a GPU."""

    prepare_cpus: Annotated[float, Field(gt=0)] = 1
    """CPUs of one prepare task; as many tasks run as the cluster has room for."""
    filter_actors: PositiveInt = 1
    filter_cpus: Annotated[float, Field(gt=0)] = 0.25
    engine_actors: PositiveInt = 1
    engine_cpus: Annotated[float, Field(gt=0)] = 0.25
    engine_gpus: Annotated[float, Field(ge=0)] = 0
    answer_actors: PositiveInt = 1
    """With an `answer_engine`, actors that answer; the engine's actors then only ask."""
    answer_cpus: Annotated[float, Field(gt=0)] = 0.25
    answer_gpus: Annotated[float, Field(ge=0)] = 0
    units_in_flight: PositiveInt = 4
    """Units that one engine actor works on at a time, so that it never drains between two."""
    wait_minutes: Annotated[float, Field(ge=0)] = 15
    """How long a run that joined a cluster waits until all filter actors and one engine actor fit (all of those that
    need no GPU). It starts then, and uses GPUs that come later as they come."""


class Config(Section):
    """One run: a corpus, an engine, an output."""

    corpus: CorpusConfig
    output: str
    """URL of the folder that holds units and snapshots."""
    engine: EngineConfig
    answer_engine: EngineConfig | None = None
    """Another engine for the answers, in actors of its own; by default one engine asks and answers."""
    prompts: PromptsConfig = PromptsConfig()
    sampling: SamplingConfig = SamplingConfig()
    chunks: ChunksConfig = ChunksConfig()
    eligibility: EligibilityConfig = EligibilityConfig()
    filter: FilterConfig = FilterConfig()
    targets: TargetsConfig = TargetsConfig()
    checks: ChecksConfig = ChecksConfig()
    publish: PublishConfig = PublishConfig()
    limits: LimitsConfig = LimitsConfig()
    resources: ResourcesConfig = ResourcesConfig()
    seed: int = 0


def load_config(path: str | Path, overrides: list[str] | None = None) -> Config:
    """Read a YAML config and apply `a.b=value` overrides (values are YAML).

    Raises:
        ConfigError: the file cannot be read, is not a mapping, or does not validate.
    """
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid YAML: {' '.join(str(error).split())}"]) from None
    if not isinstance(raw, dict):
        raise ConfigError([f"{path}: expected a mapping with corpus, output and engine"])
    for override in overrides or []:
        _apply_override(raw, override)
    return parse_config(raw)


def parse_config(raw: dict[str, Any]) -> Config:
    """Validate a plain dict; see `load_config`."""
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ConfigError([_one_line(problem) for problem in error.errors()]) from None


def _apply_override(raw: dict[str, Any], override: str) -> None:
    path, separator, value = override.partition("=")
    if not separator or not path:
        raise ConfigError([f"--set {override}: expected a.b=value"])
    *parents, leaf = path.split(".")
    section = raw
    for name in parents:
        section = section.setdefault(name, {})
        if not isinstance(section, dict):
            raise ConfigError([f"--set {override}: {name} is a value, not a section"])
    try:
        section[leaf] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError([f"--set {override}: the value is not valid YAML"]) from None


def _one_line(problem: Any) -> str:
    kind = problem["type"]
    # A discriminated union puts the tag into the location; the path in the file has none.
    location = [str(part) for part in problem["loc"]]
    if location[:1] in (["engine"], ["answer_engine"]) and len(location) > 1:
        del location[1]
    path = ".".join(location) or "config"
    if kind == "extra_forbidden":
        return f"{path}: unknown key"
    if kind == "missing":
        return f"{path}: missing"
    value = redacted(repr(problem["input"]))
    shown = value if len(value) <= 80 else value[:77] + "..."
    return f"{path}: {shown}: {problem['msg']}"
