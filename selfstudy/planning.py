"""Config -> what a run has to do: the recipe, the splits, and what of them is committed already.

Also the estimate that `plan` prints, from a sample of the corpus.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from selfstudy.config import Config, ConfigError
from selfstudy.corpus.read import RawDocument, read_split
from selfstudy.corpus.splits import Split, plan_splits
from selfstudy.filter.load import load_judge
from selfstudy.prepare import prepare_document
from selfstudy.prompts import Prompts, load_prompts
from selfstudy.recipe import Recipe, recipe_of
from selfstudy.records import Chunk
from selfstudy.store.commits import CommittedUnits
from selfstudy.tables import reserved_names
from selfstudy.targets import num_targets_at

_SAMPLE_SPLITS = 24
_SAMPLE_BYTES_PER_SPLIT = 250_000
_BOOTSTRAP_ROUNDS = 400
# Tokens around a passage in a prompt, and of a usual completion: what `plan` assumes until a run has measured them.
_INSTRUCTION_TOKENS = 220
_QUESTION_TOKENS = 30
_ANSWER_TOKENS = 120


@dataclass(frozen=True, slots=True)
class Work:
    """A split that is not done, with the ids of its units that are."""

    split: Split
    committed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything a run knows before it starts. `left_out` are splits beyond limits.max_documents."""

    config: Config
    recipe: Recipe
    prompts: Prompts
    splits: tuple[Split, ...]
    left_out: tuple[Split, ...]
    num_files: int
    skipped_files: dict[str, int]

    def prefix(self, split: Split) -> str:
        return self.recipe.unit_prefix(split.split_id, self.config.targets)

    def missing(self, committed: CommittedUnits) -> list[Split]:
        return [split for split in self.splits if not committed.is_complete(self.prefix(split))]

    def work(self, committed: CommittedUnits) -> list[Work]:
        """Return the splits that are not done, with the units of each that are."""
        return [Work(split, tuple(committed.unit_ids(self.prefix(split)))) for split in self.missing(committed)]

    def complete_units(self, committed: CommittedUnits) -> list[str]:
        """Return the ids of the units of all complete splits: what may be published."""
        prefixes = (self.prefix(split) for split in self.splits)
        return [
            unit_id for prefix in prefixes if committed.is_complete(prefix) for unit_id in committed.unit_ids(prefix)
        ]


def plan_run(config: Config) -> RunPlan:
    """Check what can be checked before a run, and list its work.

    Raises:
        ConfigError: the corpus matches no file, the filter's model cannot be used, a kept field collides.
    """
    taken = [name for name in config.corpus.keep_fields if name in reserved_names()]
    if taken:
        raise ConfigError([f"corpus.keep_fields: {name!r}: a column of that name exists already" for name in taken])
    judge = load_judge(config.filter)
    prompts = load_prompts(config.prompts.file)
    recipe = recipe_of(
        config,
        prompts_version=prompts.version,
        judge_name=judge.name if judge is not None else "none",
    )
    corpus = plan_splits(config.corpus, config.seed)
    splits, left_out = corpus.splits, tuple[Split, ...]()
    if config.limits.max_documents is not None:
        splits, left_out = limit_documents(corpus.splits, config)
    return RunPlan(config, recipe, prompts, splits, left_out, corpus.num_files, corpus.skipped)


def limit_documents(splits: Sequence[Split], config: Config) -> tuple[tuple[Split, ...], tuple[Split, ...]]:
    """Keep the first splits until they hold limits.max_documents, the last of them cut short; and the others.

    Reads the kept splits once, without processing them, to count.
    """
    left = config.limits.max_documents or 0
    kept: list[Split] = []
    for split in splits:
        if left == 0:
            break
        num_documents = 0
        for _ in read_split(split, config.corpus):
            num_documents += 1
            if num_documents > left:
                break
        if num_documents > left:
            kept.append(replace(split, max_documents=left))
            return tuple(kept), tuple(splits[len(kept) - 1 :])
        kept.append(split)
        left -= num_documents
    return tuple(kept), tuple(splits[len(kept) :])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure for the whole corpus with a 90 % interval from the sample."""

    value: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class _Sampled:
    num_bytes: int
    figures: dict[str, int]


def estimate(plan: RunPlan) -> tuple[dict[str, Estimate], float]:
    """Estimate what the corpus holds and asks for, and the share of its bytes that was read for it.

    Figures: documents, rejected_documents, chunks, sentences, eligible, targets, requests, prompt_tokens,
    distinct_prompt_tokens (what is left to compute when a chunk's prefix is cached), completion_tokens. Targets are
    those of the config's epoch, before the filter.
    """
    sampled = [_sample_split(split, plan.config) for split in plan.splits[:_SAMPLE_SPLITS]]
    read = sum(sample.num_bytes for sample in sampled)
    total = sum(split.num_bytes for split in plan.splits)
    share = min(1.0, read / total) if total else 1.0
    names = sampled[0].figures if sampled else {}
    return {name: _scale(sampled, name, total, exact=share > 0.999) for name in names}, share


def _scale(sampled: Sequence[_Sampled], name: str, total: int, *, exact: bool) -> Estimate:
    """A ratio estimate, its interval by resampling splits (they are what was drawn)."""

    def ratio(samples: Sequence[_Sampled]) -> float:
        num_bytes = sum(sample.num_bytes for sample in samples)
        return sum(sample.figures[name] for sample in samples) / num_bytes if num_bytes else 0.0

    if exact:
        value = sum(sample.figures[name] for sample in sampled)
        return Estimate(value, value, value)
    rng = random.Random(name)
    rounds = sorted(ratio(rng.choices(sampled, k=len(sampled))) for _ in range(_BOOTSTRAP_ROUNDS))
    low, high = rounds[_BOOTSTRAP_ROUNDS // 20], rounds[-_BOOTSTRAP_ROUNDS // 20]
    return Estimate(*(round(total * value) for value in (ratio(sampled), low, high)))


def _sample_split(split: Split, config: Config) -> _Sampled:
    figures = dict.fromkeys(
        ("documents", "rejected_documents", "chunks", "sentences", "eligible", "targets", "requests",
         "prompt_tokens", "distinct_prompt_tokens", "completion_tokens"), 0
    )  # fmt: skip
    num_bytes = 0
    whole = True
    for item in read_split(split, config.corpus):
        figures["documents"] += 1
        result = prepare_document(item, config) if isinstance(item, RawDocument) else item
        if isinstance(result, list) and isinstance(item, RawDocument):
            num_bytes += len(item.text.encode())
            for chunk in result:
                _count_chunk(chunk, config, figures)
        else:
            figures["rejected_documents"] += 1
        if num_bytes >= _SAMPLE_BYTES_PER_SPLIT:
            whole = False
            break
    # A split that was read to its end stands for all its bytes, field names and compression included.
    return _Sampled(split.num_bytes if whole else num_bytes, figures)


def _count_chunk(chunk: Chunk, config: Config, figures: dict[str, int]) -> None:
    eligible = sum(sentence.eligible for sentence in chunk.sentences)
    targets = num_targets_at(config.targets.epoch, eligible, config.targets)
    figures["chunks"] += 1
    figures["sentences"] += len(chunk.sentences)
    figures["eligible"] += eligible
    figures["targets"] += targets
    figures["requests"] += 2 * targets
    figures["prompt_tokens"] += 2 * targets * (chunk.num_tokens + _INSTRUCTION_TOKENS)
    figures["distinct_prompt_tokens"] += (chunk.num_tokens if targets else 0) + 2 * targets * _INSTRUCTION_TOKENS
    figures["completion_tokens"] += targets * (_QUESTION_TOKENS + _ANSWER_TOKENS)


def first_documents(plan: RunPlan, number: int) -> Iterator[RawDocument]:
    """Yield a few readable documents in the order of the run."""
    readable = (
        item for split in plan.splits for item in read_split(split, plan.config.corpus) if isinstance(item, RawDocument)
    )
    for _, document in zip(range(number), readable, strict=False):
        yield document
