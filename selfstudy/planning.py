"""Config -> what a run has to do: the recipe, the splits, and what of them is committed already.

Also the estimate that `plan` prints, from a sample of the corpus.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from selfstudy.config import NEXT, Config, ConfigError
from selfstudy.corpus.read import RawDocument, read_split
from selfstudy.corpus.splits import Split, plan_splits
from selfstudy.filter.load import load_judge
from selfstudy.prepare import prepare_document
from selfstudy.prompts import Prompts, load_prompts
from selfstudy.recipe import Recipe, recipe_of, retried_prefix
from selfstudy.records import Chunk, Retry
from selfstudy.redact import redacted
from selfstudy.store.commits import CommittedUnits
from selfstudy.store.filesystem import Folder
from selfstudy.store.retries import find_retries, read_retry
from selfstudy.store.snapshots import latest_manifest, next_epoch
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
    """A split that is not done, what the names of its units begin with, and the ids of those that are done."""

    split: Split
    prefix: str
    committed: tuple[str, ...] = ()
    retry: Retry | None = None


@dataclass(frozen=True, slots=True)
class RunPlan:
    """Everything a run knows before it starts. `left_out` are splits beyond limits.max_documents, `retries` the
    numbers of the splits (by the prefix of their first time) that are asked again."""

    config: Config
    recipe: Recipe
    prompts: Prompts
    splits: tuple[Split, ...]
    left_out: tuple[Split, ...]
    num_files: int
    skipped_files: dict[str, int]
    retries: Mapping[str, int]

    def first_prefix(self, split: Split) -> str:
        return self.recipe.unit_prefix(split.split_id, self.config.targets)

    def prefix(self, split: Split) -> str:
        """Return what the names of a split's units begin with now."""
        first = self.first_prefix(split)
        return retried_prefix(first, self.retries.get(first, 0))

    def missing(self, committed: CommittedUnits) -> list[Split]:
        return [split for split in self.splits if not committed.is_complete(self.prefix(split))]

    def work(self, committed: CommittedUnits) -> list[Work]:
        """Return the splits that are not done, with the units of each that are."""
        output = Folder.at(self.config.output)
        works = []
        for split in self.missing(committed):
            first = self.first_prefix(split)
            retry = read_retry(output, first, self.retries[first]) if first in self.retries else None
            prefix = self.prefix(split)
            works.append(Work(split, prefix, tuple(committed.unit_ids(prefix)), retry))
        return works

    def complete_units(self, committed: CommittedUnits) -> list[str]:
        """Return the ids of the units of all complete splits: what may be published.

        A split whose retry is not finished gives the units that it had before.
        """
        unit_ids: list[str] = []
        for split in self.splits:
            first = self.first_prefix(split)
            numbers = reversed(range(self.retries.get(first, 0) + 1))
            prefixes = (retried_prefix(first, number) for number in numbers)
            complete = next((prefix for prefix in prefixes if committed.is_complete(prefix)), None)
            unit_ids += committed.unit_ids(complete) if complete else []
        return unit_ids

    def partial_units(self, committed: CommittedUnits) -> list[str]:
        """Return the ids of the committed units of splits that are not complete."""
        return [unit_id for split in self.missing(committed) for unit_id in committed.unit_ids(self.prefix(split))]


def plan_run(config: Config) -> RunPlan:
    """Check what can be checked before a run, and list its work. The plan's config has the epoch as a number.

    Raises:
        ConfigError: the corpus matches no file, the filter's model cannot be used, a kept field collides.
    """
    taken = [name for name in config.corpus.keep_fields if name in reserved_names()]
    if taken:
        raise ConfigError([f"corpus.keep_fields: {name!r}: a column of that name exists already" for name in taken])
    config, retries = _state_of_output(config)
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
    return RunPlan(config, recipe, prompts, splits, left_out, corpus.num_files, corpus.skipped, retries)


def _state_of_output(config: Config) -> tuple[Config, dict[str, int]]:
    """Return the config with its epoch as a number, and the splits that are asked again."""
    try:
        output = Folder.at(config.output)
        retries = find_retries(output)
        if config.targets.epoch != NEXT:
            return config, retries
        targets = config.targets.model_copy(update={"epoch": next_epoch(latest_manifest(output))})
    except ConfigError as error:
        raise ConfigError([f"output: {error}"]) from None
    except OSError as error:
        problem = f"output: {redacted(config.output)}: cannot be read: {error.strerror or error}"
        raise ConfigError([problem]) from None
    return config.model_copy(update={"targets": targets}), retries


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
    targets = num_targets_at(config.targets.epoch_number, eligible, config.targets)
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
