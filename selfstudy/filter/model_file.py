"""The trained model as one safetensors file: weights, calibration and what they were made for.

A file is refused in one line if it is missing, damaged, of another format or made for other features or another
lexicon: a judge that reads other features than it was trained on would run and judge at random.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from selfstudy.config import ConfigError
from selfstudy.filter.calibration import Calibration
from selfstudy.filter.features import FEATURES_VERSION, NUM_FEATURES
from selfstudy.filter.linear import LinearModel

FORMAT = "selfstudy-filter/1"
SHIPPED = "model/filter.safetensors"
_REVISION_HEX_CHARS = 12
_HEADER = "selfstudy"


@dataclass(frozen=True, slots=True)
class FilterModel:
    """A model with its calibration; `revision` is the hash of both."""

    linear: LinearModel
    calibration: Calibration
    revision: str


def revision_of(linear: LinearModel, calibration: Calibration) -> str:
    digest = hashlib.sha256(linear.weights.tobytes())
    digest.update(json.dumps([linear.bias, calibration.logits, calibration.scores]).encode())
    return digest.hexdigest()[:_REVISION_HEX_CHARS]


def lexicon_hash() -> str:
    """Hash the lexicon that features are made with."""
    file = resources.files("selfstudy.filter").joinpath("phrases/lexicon.yaml")
    return hashlib.sha256(file.read_bytes()).hexdigest()


def save_model(linear: LinearModel, calibration: Calibration, path: str | Path) -> str:
    """Write the model and return its revision."""
    revision = revision_of(linear, calibration)
    header = {
        "format": FORMAT,
        "features": str(FEATURES_VERSION),
        "lexicon": lexicon_hash(),
        "bias": repr(linear.bias),
        "calibration": json.dumps([calibration.logits, calibration.scores]),
        "revision": revision,
    }
    # One entry: safetensors writes several in no fixed order, and equal models must be equal files.
    save_file({"weights": linear.weights}, str(path), metadata={_HEADER: json.dumps(header, sort_keys=True)})
    # It is written for its owner alone, and then packed with the package.
    Path(path).chmod(0o644)
    return revision


def load_model(path: str | Path | None = None) -> FilterModel:
    """Read a model, the shipped one without a path.

    Raises:
        ConfigError: it is missing, damaged, or was made for another version.
    """
    if path is None:
        path = Path(str(resources.files("selfstudy.filter").joinpath(SHIPPED)))
    path = Path(path)
    if not path.is_file():
        raise ConfigError([f"filter model {path}: no such file"])
    try:
        with safe_open(str(path), framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
            _check_version(path, header)
            weights = file.get_tensor("weights")
            calibration = Calibration(*map(tuple, json.loads(header["calibration"])))
            linear = LinearModel(weights, float(header["bias"]))
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError([f"filter model {path}: damaged: {' '.join(str(error).split())}"]) from None
    if weights.shape != (NUM_FEATURES,) or weights.dtype != np.float16:
        raise ConfigError([f"filter model {path}: damaged: weights of {weights.dtype}{list(weights.shape)}"])
    revision = revision_of(linear, calibration)
    if revision != header.get("revision"):
        raise ConfigError([f"filter model {path}: damaged: its content does not match its revision"])
    return FilterModel(linear, calibration, revision)


def _check_version(path: Path, header: dict[str, str]) -> None:
    if header.get("format") != FORMAT:
        raise ConfigError([f"filter model {path}: format {header.get('format')!r}, expected {FORMAT!r}"])
    if header.get("features") != str(FEATURES_VERSION) or header.get("lexicon") != lexicon_hash():
        raise ConfigError([f"filter model {path}: made by another version of selfstudy; train it again"])
