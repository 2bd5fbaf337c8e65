"""Labelled data -> a calibrated model and its card.

Reads: JSONL files of labelled spans, and the composer's own. Writes: MODEL.safetensors and MODEL.json, the card with
the hashes of the data, the settings and the figures of the cross-validation.

Every figure comes from families that the model of that fold had not seen: attacks are left out family by family, and
each fold leaves out its share of the clean families too. Families under 50 rows share a fold. Composed spans are
always in training, and families named mined_...: they are what the project knows (mined clean spans were chosen by an
earlier model's doubt, so that measured they would say how it chose), the other families stand for what it does not. The
threshold's meaning comes from those unseen clean spans alone.

The linear model is the mean of two fits. One sees the composed and the mined spans; the other composed ones too, mined
attacks, and those that were written one by one. A single fit to all of them has no room for so many wordings: it loses
on the other families what it wins on theirs. The encoder's pretrained layers know English alone, so it learns and reads
other languages in rough English (see `gloss`).
"""

from __future__ import annotations

import json
import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfstudy.filter.calibration import Calibration, calibrate, expected_share_lost
from selfstudy.filter.cascade import Cascade
from selfstudy.filter.composer import WRITTEN, compose_attacks, compose_clean, compose_written, phrases_hash
from selfstudy.filter.embedded import EmbeddedJudge
from selfstudy.filter.encoder import Encoder
from selfstudy.filter.encoder_training import EncoderSettings, check_pretrained, fit_encoder, start_worker
from selfstudy.filter.evaluation import evaluate, score_texts
from selfstudy.filter.examples import Example, read_examples, sha256_of
from selfstudy.filter.features import Featurizer
from selfstudy.filter.folds import COMPOSED, MINED, folds_of
from selfstudy.filter.linear import LinearModel, TrainingSet, TrainingSettings, fit, mixed, training_set
from selfstudy.filter.model_file import FilterModel, save_model
from selfstudy.filter.normalise import fold, unwrap
from selfstudy.filter.rules import RulesJudge

log = logging.getLogger(__name__)
_SECOND_SHARE = 0.6
_SHARES_OF_FITS = (0.65, 0.35)
_ENCODER_FITS = 5
_ALWAYS_SEEN = -1
ENGLISH, FOREIGN, UNREAD = range(3)
Indices = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """What to train on.

    `hard_importance` weighs clean spans that resemble attacks, `clean_importance` the other ones (their limit is the
    stricter one); `written_rounds` is how often each written span is drawn. `encoder` is the folder of a pretrained
    BERT model, without which the linear model decides alone; `read_share` is the share of ordinary clean spans that
    the encoder reads, `encoder_share` its share of the logit. `threshold` is for the card.
    """

    data: tuple[str, ...]
    num_composed_attacks: int = 48_000
    num_composed_clean: int = 26_000
    written_rounds: int = 1
    hard_importance: float = 1.0
    clean_importance: float = 3.0
    threshold: float = 0.5
    cross_validate: bool = True
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    encoder: str | None = None
    encoder_settings: EncoderSettings = field(default_factory=EncoderSettings)
    read_share: float = 0.04
    encoder_share: float = 0.4


def train(plan: TrainingPlan, model_path: str | Path) -> dict[str, Any]:
    """Fit, calibrate, write the model and its card; return the card.

    Raises:
        ConfigError: the data or the pretrained model cannot be read.
    """
    seed = plan.settings.seed
    pretrained = check_pretrained(Path(plan.encoder), plan.encoder_settings) if plan.encoder else None
    collected = [example for path in plan.data for example in read_examples(path)]
    first = [*compose_attacks(plan.num_composed_attacks, seed), *compose_clean(plan.num_composed_clean, seed)]
    second = [
        *compose_attacks(int(_SECOND_SHARE * plan.num_composed_attacks), seed + 1),
        *compose_clean(int(_SECOND_SHARE * plan.num_composed_clean), seed + 1),
        *compose_written(plan.written_rounds, seed),
    ]
    examples = [*collected, *first, *second]
    folded = [unwrap(fold(example.text)) for example in examples]
    features = training_set(
        folded,
        [example.label for example in examples],
        [_importance(example, plan) for example in examples],
    )
    log.info("%d collected and %d composed spans", len(collected), len(examples) - len(collected))
    in_fit = np.repeat([(True, True), (True, False), (False, True)], [len(collected), len(first), len(second)], axis=0)
    in_fit[: len(collected), 1] = [example.label or not example.family.startswith(MINED) for example in collected]
    spans = _Spans(examples, folded, features, in_fit, plan)
    cascade, calibration, figures = _fit_and_calibrate(spans)
    revision = save_model(cascade, calibration, model_path)
    card = {
        "revision": revision,
        "data": {Path(path).name: sha256_of(path) for path in plan.data},
        "phrases": phrases_hash(),
        "num_collected": len(collected),
        "num_composed": len(examples) - len(collected),
        "pretrained": pretrained,
        "plan": {name: value for name, value in asdict(plan).items() if name not in ("data", "encoder")},
        "left_out": figures,
    }
    Path(model_path).with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return card


def _importance(example: Example, plan: TrainingPlan) -> float:
    if example.label:
        return 1.0
    return plan.hard_importance if example.hard else plan.clean_importance


@dataclass(frozen=True, slots=True)
class _Spans:
    """All examples, and how both models are fitted to some of them.

    `in_fit` [examples, 2] says which of the two fits of the linear model sees an example.
    """

    examples: Sequence[Example]
    folded: Sequence[str]
    features: TrainingSet
    in_fit: NDArray[np.bool_]
    plan: TrainingPlan

    def fit_linear(self, chosen: Indices) -> LinearModel:
        seen_by_each = [chosen[self.in_fit[chosen, number]] for number in range(2)]
        return mixed([fit(self.features.subset(seen), self.plan.settings) for seen in seen_by_each], _SHARES_OF_FITS)

    def fit_encoders(self, choices: Sequence[Indices]) -> list[Encoder]:
        """Fit an encoder to each choice of the spans, all at once and each on one core: whatever the number of cores,
        the result is the same."""
        if self.plan.encoder is None:
            return []
        with ProcessPoolExecutor(
            mp_context=multiprocessing.get_context("spawn"),
            initializer=start_worker,
            initargs=(log.getEffectiveLevel(),),
        ) as pool:
            fits = [pool.submit(fit_encoder, *self._encoder_data(chosen)) for chosen in choices]
            return [fit.result() for fit in fits]

    def _encoder_data(self, chosen: Indices) -> tuple[Any, ...]:
        assert self.plan.encoder is not None
        read = self._reading_list(chosen)
        return (
            [self.folded[i] for i in read],
            [self.examples[i].label for i in read],
            [float(self.features.importance[i]) for i in read],
            Path(self.plan.encoder),
            self.plan.encoder_settings,
        )

    def _reading_list(self, chosen: Indices) -> list[int]:
        """Return what the encoder reads: rare kinds more often, plentiful ones in part."""
        rng = np.random.default_rng(self.plan.settings.seed)
        return [i for i in map(int, chosen) for _ in range(int(_times_read(self.examples[i]) + rng.random()))]

    def texts(self, chosen: Indices) -> list[str]:
        return [self.folded[int(i)] for i in chosen]


def _times_read(example: Example) -> float:
    if example.family == WRITTEN:
        return 0.5 if example.label else 1.0
    if example.family.startswith(COMPOSED):
        return 0.12
    if example.family.startswith(MINED):
        return 1.0 if example.label else 0.5
    return 2.0 if example.label else 1.0


def _fit_and_calibrate(spans: _Spans) -> tuple[Cascade, Calibration, dict[str, Any] | None]:
    """Return the model of all spans, its calibration, and the figures of each judge with families left out."""
    examples, plan, featurizer = spans.examples, spans.plan, Featurizer()
    folds = folds_of(examples)
    used = range(int(folds.max()) + 1) if plan.cross_validate else range(0)
    judged = np.flatnonzero(folds >= 0) if plan.cross_validate else np.zeros(0, dtype=np.intp)
    clean = [i for i in map(int, judged) if not examples[i].label and not examples[i].hard]
    if not clean:
        # Without unseen clean text the scores have an order but no meaning.
        return _calibrated_on_training(spans)
    coarse = np.full(len(examples), np.nan, dtype=np.float32)
    models: list[Cascade] = []
    for number in used:
        inside = np.flatnonzero(folds == number)
        models.append(Cascade(spans.fit_linear(np.flatnonzero(folds != number))))
        coarse[inside] = models[-1].logits(featurizer, spans.texts(inside))
        log.info("fold %d of %d: %d spans left out", number + 1, len(used), len(inside))
    whole, logits = Cascade(spans.fit_linear(np.arange(len(examples)))), coarse
    if plan.encoder:
        # Fitting an encoder takes minutes, so each leaves several folds out at once.
        groups = np.where(folds < 0, folds, folds % _ENCODER_FITS)
        encoders = spans.fit_encoders([np.flatnonzero(groups != number) for number in range(_ENCODER_FITS + 1)])
        models = [
            replace(model, encoder=encoders[number % _ENCODER_FITS], share=plan.encoder_share)
            for number, model in enumerate(models)
        ]
        models, logits = _with_borders(spans, models, folds, coarse, np.array(clean))
        whole = replace(models[0], linear=whole.linear, encoder=encoders[-1])
    by_rules = np.zeros(len(examples))
    by_rules[judged], _ = score_texts(RulesJudge(), [examples[int(i)] for i in judged])
    hard = [i for i in map(int, judged) if not examples[i].label and examples[i].hard]
    calibration = calibrate(logits[clean], by_rules[clean], logits[hard], by_rules[hard])
    scores = np.zeros(len(examples))
    for number, model in enumerate(models):
        inside = np.flatnonzero(folds == number)
        judge = EmbeddedJudge(FilterModel(model, calibration, f"without-{number}"))
        scores[inside], _ = score_texts(judge, [examples[i] for i in map(int, inside)])
    left_out = [examples[int(i)] for i in judged]
    return (
        whole,
        calibration,
        {
            "embedded": evaluate(left_out, scores[judged], plan.threshold),
            "embedded+rules": evaluate(left_out, np.maximum(scores, by_rules)[judged], plan.threshold),
            "rules": evaluate(left_out, by_rules[judged], plan.threshold),
        },
    )


def _with_borders(
    spans: _Spans, models: Sequence[Cascade], folds: Indices, coarse: NDArray[np.float32], clean: Indices
) -> tuple[list[Cascade], NDArray[np.float32]]:
    """Return the models with what the `clean` spans decide, and the logits of the left-out spans.

    That is what the encoder reads, and that as many of them are lost at the default threshold of those in rough
    English, and of those that cannot be read, as of the others.
    """
    doubt = float(np.quantile(coarse[clean], 1 - spans.plan.read_share))
    models = [replace(model, doubt=doubt) for model in models]
    logits = _refined(spans, models, folds, coarse)
    kinds = np.full(len(folds), _ALWAYS_SEEN)
    for number, model in enumerate(models):
        assert model.encoder is not None
        inside = np.flatnonzero(folds == number)
        readings = [model.encoder.pieces.reading(text) for text in spans.texts(inside)]
        kinds[inside] = [UNREAD if reading is None else int(reading.foreign) for reading in readings]
    by_kind = shifts_of(logits[clean], kinds[clean])
    foreign, unread = by_kind.get(FOREIGN, 0.0), by_kind.get(UNREAD, 0.0)
    models = [replace(model, foreign_shift=foreign, unread_shift=unread) for model in models]
    return models, _refined(spans, models, folds, coarse)


def _refined(
    spans: _Spans, models: Sequence[Cascade], folds: Indices, coarse: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the logits of the left-out spans by both models, from the linear ones."""
    logits, featurizer = coarse.copy(), Featurizer()
    for number, model in enumerate(models):
        inside = np.flatnonzero(folds == number)
        logits[inside] = model.refined(featurizer, coarse[inside], spans.texts(inside))
    return logits


def shifts_of(clean_logits: NDArray[np.float32], kinds: Indices) -> dict[int, float]:
    """Return what to add to the logits of each kind so that as many of its clean spans are lost as of English ones."""
    kept = 1 - expected_share_lost(0.5)
    borders = {int(kind): float(np.quantile(clean_logits[kinds == kind], kept)) for kind in set(kinds)}
    shifts = {kind: borders.get(ENGLISH, border) - border for kind, border in borders.items()}
    if UNREAD in shifts:
        # Too little of what cannot be read is judged to suspect the rest of it (keys, tables, code) on that ground.
        shifts[UNREAD] = min(0.0, shifts[UNREAD])
    return shifts


def _calibrated_on_training(spans: _Spans) -> tuple[Cascade, Calibration, None]:
    seen = np.flatnonzero(spans.features.labels == 0)
    everything = np.arange(len(spans.examples))
    cascade, featurizer = Cascade(spans.fit_linear(everything)), Featurizer()
    logits = coarse = cascade.logits(featurizer, spans.texts(seen))
    for encoder in spans.fit_encoders([everything]):
        doubt = float(np.quantile(coarse, 1 - spans.plan.read_share))
        cascade = Cascade(cascade.linear, encoder, doubt, spans.plan.encoder_share)
        logits = cascade.refined(featurizer, coarse, spans.texts(seen))
    by_rules, _ = score_texts(RulesJudge(), [spans.examples[int(i)] for i in seen])
    return cascade, calibrate(logits, by_rules, logits[:0], by_rules[:0]), None
