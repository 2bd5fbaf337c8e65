"""Labelled data -> a calibrated model and its card.

Reads: JSONL files of labelled spans, and the composer's own. Writes: MODEL.safetensors and MODEL.json, the card with
the hashes of the data, the settings and the figures of the cross-validation.

Every figure comes from families that the model of that fold had not seen: attacks are left out family by family, and
each fold leaves out its share of the clean families too. Families under 50 rows share a fold. Composed spans are
always in training: they are what the project knows, the other families stand for what it does not. The threshold's
meaning comes from those unseen clean spans alone.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.calibration import Calibration, calibrate
from selfstudy.filter.composer import compose_attacks, compose_clean, phrases_hash
from selfstudy.filter.embedded import EmbeddedJudge
from selfstudy.filter.evaluation import MIN_FAMILY_ROWS, evaluate, score_texts
from selfstudy.filter.examples import Example, read_examples, sha256_of
from selfstudy.filter.features import Featurizer
from selfstudy.filter.linear import LinearModel, TrainingSet, TrainingSettings, fit, training_set
from selfstudy.filter.model_file import FilterModel, save_model
from selfstudy.filter.normalise import fold, unwrap
from selfstudy.filter.rules import RulesJudge

log = logging.getLogger(__name__)
COMPOSED = "composed_"
_IN_EVERY_FOLD = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What to train on. `hard_importance` weighs clean spans that resemble attacks, `clean_importance` the other ones
    (their limit is the stricter one); `threshold` is for the card."""

    data: tuple[str, ...]
    num_composed_attacks: int = 48_000
    num_composed_clean: int = 26_000
    hard_importance: float = 1.0
    clean_importance: float = 3.0
    threshold: float = 0.5
    cross_validate: bool = True
    settings: TrainingSettings = field(default_factory=TrainingSettings)


def train(plan: TrainingPlan, model_path: str | Path) -> dict[str, Any]:
    """Fit, calibrate, write the model and its card; return the card.

    Raises:
        ConfigError: the data cannot be read.
    """
    seed = plan.settings.seed
    collected = [example for path in plan.data for example in read_examples(path)]
    examples = [
        *collected,
        *compose_attacks(plan.num_composed_attacks, seed),
        *compose_clean(plan.num_composed_clean, seed),
    ]
    folded = [unwrap(fold(example.text)) for example in examples]
    features = training_set(
        folded,
        [example.label for example in examples],
        [_importance(example, plan) for example in examples],
    )
    log.info("%d collected and %d composed spans", len(collected), len(examples) - len(collected))
    calibration, figures = _cross_validate(examples, folded, features, plan)
    model = fit(features, plan.settings)
    revision = save_model(model, calibration, model_path)
    card = {
        "revision": revision,
        "data": {Path(path).name: sha256_of(path) for path in plan.data},
        "phrases": phrases_hash(),
        "num_collected": len(collected),
        "num_composed": len(examples) - len(collected),
        "plan": {name: value for name, value in asdict(plan).items() if name != "data"},
        "left_out": figures,
    }
    Path(model_path).with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def _importance(example: Example, plan: TrainingPlan) -> float:
    if example.label:
        return 1.0
    return plan.hard_importance if example.hard else plan.clean_importance


def _cross_validate(
    examples: Sequence[Example], folded: Sequence[str], features: TrainingSet, plan: TrainingPlan
) -> tuple[Calibration, dict[str, Any] | None]:
    """Return the calibration, and the figures of each judge with the attack family of each span left out."""
    featurizer = Featurizer()
    folds = folds_of(examples)
    logits = np.full(len(examples), np.nan, dtype=np.float32)
    models: list[LinearModel] = []
    used = range(int(folds.max()) + 1) if plan.cross_validate else range(0)
    for number in used:
        inside, outside = np.flatnonzero(folds == number), np.flatnonzero(folds != number)
        models.append(fit(features.subset(outside), plan.settings))
        logits[inside] = models[-1].logits(featurizer, [folded[i] for i in map(int, inside)])
        log.info("fold %d of %d: %d spans left out", number + 1, len(used), len(inside))
    judged = np.flatnonzero(~np.isnan(logits))
    clean = [i for i in map(int, judged) if not examples[i].label and not examples[i].hard]
    if not clean:
        # Without unseen clean text the scores have an order but no meaning.
        seen = [int(i) for i in np.flatnonzero(features.labels == 0)]
        logits[seen] = fit(features, plan.settings).logits(featurizer, [folded[i] for i in seen])
        return calibrate(logits[seen], score_texts(RulesJudge(), [examples[i] for i in seen])[0]), None
    by_rules = np.zeros(len(examples))
    by_rules[judged], _ = score_texts(RulesJudge(), [examples[int(i)] for i in judged])
    calibration = calibrate(logits[clean], by_rules[clean])
    scores = np.zeros(len(examples))
    for number, model in enumerate(models):
        inside = np.flatnonzero(folds == number)
        judge = EmbeddedJudge(FilterModel(model, calibration, f"without-{number}"))
        scores[inside], _ = score_texts(judge, [examples[i] for i in map(int, inside)])
    left_out = [examples[int(i)] for i in judged]
    return calibration, {
        "embedded": evaluate(left_out, scores[judged], plan.threshold),
        "embedded+rules": evaluate(left_out, np.maximum(scores, by_rules)[judged], plan.threshold),
        "rules": evaluate(left_out, by_rules[judged], plan.threshold),
    }


def folds_of(examples: Sequence[Example]) -> NDArray[np.int64]:
    """Return the fold that leaves each example out, -1 for those that are always in training."""
    sizes: dict[str, int] = {}
    for example in examples:
        if example.label and not example.family.startswith(COMPOSED):
            sizes[example.family] = sizes.get(example.family, 0) + 1
    large = sorted(name for name, size in sizes.items() if size >= MIN_FAMILY_ROWS)
    number_of = {name: number for number, name in enumerate(large)}
    num_folds = len(large) + (1 if len(sizes) > len(large) else 0)

    def fold_of(example: Example) -> int:
        if example.family.startswith(COMPOSED) or num_folds == 0:
            return _IN_EVERY_FOLD
        if example.label:
            return number_of.get(example.family, len(large))
        return zlib.crc32(example.family.encode()) % num_folds

    return np.array([fold_of(example) for example in examples], dtype=np.int64)
