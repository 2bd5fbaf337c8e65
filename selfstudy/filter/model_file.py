"""The trained model as one safetensors file: weights, calibration and what they were made for.

A file is refused in one line if it is missing, damaged, of another format or made for other features, another lexicon
or other dictionaries: a judge that reads other features than it was trained on would run and judge at random.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from selfstudy.config import ConfigError
from selfstudy.filter.calibration import Calibration
from selfstudy.filter.cascade import Cascade
from selfstudy.filter.encoder import Encoder
from selfstudy.filter.features import FEATURES_VERSION, NUM_FEATURES
from selfstudy.filter.gloss import dictionary_files
from selfstudy.filter.lexicon import lexicon_files
from selfstudy.filter.linear import LinearModel
from selfstudy.filter.phrase_files import hash_of
from selfstudy.filter.word_pieces import WordPieces

FORMAT = "selfstudy-filter/3"
SHIPPED = "model/filter.safetensors"
_REVISION_HEX_CHARS = 12
_HEADER = "selfstudy"
_WEIGHTS = "weights"
_ENCODER = "encoder."
_VOCABULARY = "encoder_vocabulary"


@dataclass(frozen=True, slots=True)
class FilterModel:
    """A model with its calibration; `revision` is the hash of both."""

    cascade: Cascade
    calibration: Calibration
    revision: str


def revision_of(cascade: Cascade, calibration: Calibration) -> str:
    digest = hashlib.sha256(json.dumps(_settings(cascade, calibration), sort_keys=True).encode())
    for name, tensor in sorted(_tensors(cascade).items()):
        digest.update(f"{name} {tensor.dtype} {tensor.shape}".encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()[:_REVISION_HEX_CHARS]


def save_model(cascade: Cascade, calibration: Calibration, path: str | Path) -> str:
    """Write the model and return its revision."""
    revision = revision_of(cascade, calibration)
    header = {
        "format": FORMAT,
        "features": str(FEATURES_VERSION),
        "words": _words_hash(),
        "settings": _settings(cascade, calibration),
        "revision": revision,
    }
    # One entry: safetensors writes several in no fixed order, and equal models must be equal files.
    save_file(_tensors(cascade), str(path), metadata={_HEADER: json.dumps(header, sort_keys=True)})
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
            names = list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
            cascade, calibration = _read(tensors, header["settings"])
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError([f"filter model {path}: damaged: {' '.join(str(error).split())}"]) from None
    weights = cascade.linear.weights
    if weights.shape != (NUM_FEATURES,) or weights.dtype != np.float16:
        raise ConfigError([f"filter model {path}: damaged: weights of {weights.dtype}{list(weights.shape)}"])
    revision = revision_of(cascade, calibration)
    if revision != header.get("revision"):
        raise ConfigError([f"filter model {path}: damaged: its content does not match its revision"])
    return FilterModel(cascade, calibration, revision)


def _settings(cascade: Cascade, calibration: Calibration) -> dict[str, Any]:
    """Return what is no tensor."""
    return {
        "bias": cascade.linear.bias,
        "doubt": cascade.doubt,
        "share": cascade.share,
        "foreign_shift": cascade.foreign_shift,
        "unread_shift": cascade.unread_shift,
        "heads": cascade.encoder.num_heads if cascade.encoder else 0,
        "calibration": [list(calibration.logits), list(calibration.scores)],
    }


def _tensors(cascade: Cascade) -> dict[str, NDArray[np.generic]]:
    tensors: dict[str, NDArray[np.generic]] = {_WEIGHTS: cascade.linear.weights}
    if cascade.encoder is not None:
        tensors |= {_ENCODER + name: tensor for name, tensor in cascade.encoder.tensors.items()}
        vocabulary = "\n".join(cascade.encoder.pieces.vocabulary).encode()
        tensors[_VOCABULARY] = np.frombuffer(vocabulary, dtype=np.uint8)
    return tensors


def _read(tensors: dict[str, NDArray[np.generic]], settings: dict[str, Any]) -> tuple[Cascade, Calibration]:
    encoder = None
    if _VOCABULARY in tensors:
        pieces = WordPieces(tensors[_VOCABULARY].tobytes().decode().split("\n"))
        of_encoder = {name.removeprefix(_ENCODER): tensors[name] for name in tensors if name.startswith(_ENCODER)}
        encoder = Encoder(pieces, of_encoder, settings["heads"])
    weights: NDArray[Any] = tensors[_WEIGHTS]
    linear = LinearModel(weights, settings["bias"])
    return (
        Cascade(linear, encoder, *(settings[name] for name in ("doubt", "share", "foreign_shift", "unread_shift"))),
        Calibration(*map(tuple, settings["calibration"])),
    )


def _words_hash() -> str:
    """Hash what a model's features are looked up in."""
    return hash_of([*lexicon_files(), *dictionary_files()])


def _check_version(path: Path, header: dict[str, str]) -> None:
    if header.get("format") != FORMAT:
        raise ConfigError(
            [f"filter model {path}: format {header.get('format')!r}, expected {FORMAT!r}; train it again"]
        )
    if header.get("features") != str(FEATURES_VERSION) or header.get("words") != _words_hash():
        raise ConfigError([f"filter model {path}: made by another version of selfstudy; train it again"])
