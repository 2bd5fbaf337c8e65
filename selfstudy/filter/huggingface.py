"""A judge that is any sequence- or token-classification model of transformers.

Reads: `NAME_OR_PATH@REVISION` and the mapping of its labels. Needs torch and transformers, which are not installed
with selfstudy. Long spans are read in overlapping windows of tokens; a span scores as its worst window, and for a
token-classification model as its worst token. Nothing is downloaded in offline mode (HF_HUB_OFFLINE=1).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from selfstudy.config import ConfigError, HuggingFaceConfig
from selfstudy.filter.judge import Context, Judge, Verdict, verdict


@dataclass(frozen=True)
class HuggingFaceJudge:
    """`labels` are the indices of the classes that mean an instruction; their probabilities add up."""

    name: str
    model: Any
    tokenizer: Any
    labels: tuple[int, ...]
    per_token: bool
    config: HuggingFaceConfig

    def score(self, batch: Sequence[Context]) -> list[Verdict]:
        windows: list[list[int]] = []
        owners: list[int] = []
        for index, context in enumerate(batch):
            for window in self._windows(context.text):
                windows.append(window)
                owners.append(index)
        worst = [0.0] * len(batch)
        # Windows of similar length go together; padding is masked, so order does not change a score.
        order = sorted(range(len(windows)), key=lambda index: len(windows[index]))
        for start in range(0, len(order), self.config.batch_size):
            chosen = order[start : start + self.config.batch_size]
            for index, score in zip(chosen, self._scores([windows[i] for i in chosen]), strict=True):
                worst[owners[index]] = max(worst[owners[index]], score)
        return [verdict(score, self.name) for score in worst]

    def _windows(self, text: str) -> list[list[int]]:
        size = self.config.window_tokens
        encoded = self.tokenizer(
            [text], truncation=True, max_length=size, stride=size // 2 - 2, return_overflowing_tokens=True
        )
        windows: list[list[int]] = encoded["input_ids"]
        return windows

    def _scores(self, windows: list[list[int]]) -> list[float]:
        import torch

        padded = self.tokenizer.pad({"input_ids": windows}, return_tensors="pt")
        padded = {key: value.to(self.config.device) for key, value in padded.items()}
        with torch.inference_mode():
            logits = self.model(**padded).logits.float()
        probabilities = logits.softmax(dim=-1)[..., list(self.labels)].sum(dim=-1)
        if self.per_token:
            probabilities = (probabilities * padded["attention_mask"]).max(dim=-1).values
        return [float(value) for value in probabilities]


def load_huggingface(reference: str, config: HuggingFaceConfig) -> Judge:
    """Load `NAME_OR_PATH@REVISION`.

    Raises:
        ConfigError: torch or transformers is missing, the model cannot be had, or a label is not one of its labels.
    """
    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise ConfigError([f"filter.kind: hf:{reference}: needs {package}; install torch and transformers"])
    from transformers import (
        AutoConfig,
        AutoModelForSequenceClassification,
        AutoModelForTokenClassification,
        AutoTokenizer,
    )

    name, _, revision = reference.partition("@")
    options = {"revision": revision} if revision else {}
    try:
        settings = AutoConfig.from_pretrained(name, **options)
        tokenizer = AutoTokenizer.from_pretrained(name, **options)
        per_token = any("TokenClassification" in name for name in settings.architectures or [])
        loader = AutoModelForTokenClassification if per_token else AutoModelForSequenceClassification
        model = loader.from_pretrained(name, **options).to(config.device).eval()
    except (OSError, ValueError, RuntimeError) as error:
        first_line = " ".join(str(error).split("\n")[0].split())
        raise ConfigError([f"filter.kind: hf:{reference}: cannot be loaded: {first_line}"]) from None
    labels = _label_indices(reference, {int(i): str(n) for i, n in settings.id2label.items()}, config)
    return HuggingFaceJudge(f"hf:{reference}", model, tokenizer, labels, per_token, config)


def _label_indices(reference: str, names: dict[int, str], config: HuggingFaceConfig) -> tuple[int, ...]:
    chosen = tuple(index for index, name in names.items() if name in config.labels)
    if not chosen:
        known = ", ".join(names.values())
        raise ConfigError([f"filter.hf.labels: {config.labels}: hf:{reference} has the labels {known}"])
    return chosen
