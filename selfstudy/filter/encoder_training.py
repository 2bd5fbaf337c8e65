"""Folded texts with labels -> an `Encoder`, fine-tuned with torch from the lower layers of a pretrained one.

Needs the packages of the extra `train`. The pretrained one is a folder with a BERT model and its vocab.txt; of the
vocabulary stay the pieces that the training texts hold, so that the file stays small.
"""

from __future__ import annotations

import importlib
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfstudy.config import ConfigError
from selfstudy.filter.encoder import GROUP, SCALES, Encoder, quantised
from selfstudy.filter.examples import sha256_of
from selfstudy.filter.word_pieces import MAX_PIECES, SPECIAL, Pieces, WordPieces

log = logging.getLogger(__name__)
_LOG_EVERY = 200
_DROPOUT = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderSettings:
    """`least_count` is how often a piece must occur to stay in the vocabulary; `head_rate` is the new head's."""

    layers: int = 4
    batch: int = 48
    epochs: int = 1
    rate: float = 1.3e-4
    head_rate: float = 2e-3
    warm_up: int = 80
    least_count: int = 4
    seed: int = 0


def fit_encoder(
    folded: Sequence[str], labels: Sequence[bool], importance: Sequence[float], start: Path, settings: EncoderSettings
) -> Encoder:
    """Return an encoder fitted to the texts that it can read; `importance` weighs the loss of each.

    Raises:
        ConfigError: the folder holds no BERT model, or one of odd widths; torch or transformers is not installed.
    """
    torch, transformers = _packages()
    bert, everything = _pretrained(transformers, start, settings.layers)
    torch.manual_seed(settings.seed)
    readings = [everything.reading(text) for text in folded]
    read = [reading.text for reading in readings if reading]
    pieces = _frequent(everything, read, settings.least_count)
    row_of = {piece: row for row, piece in enumerate(everything.vocabulary)}
    rows = torch.tensor([row_of[piece] for piece in pieces.vocabulary])
    bert.embeddings.word_embeddings = torch.nn.Embedding.from_pretrained(
        bert.embeddings.word_embeddings.weight.detach()[rows], freeze=False
    )
    # At first they say nothing, so that the pretrained layers read what they know.
    parts = torch.nn.Embedding.from_pretrained(torch.zeros(pieces.num_parts, bert.config.hidden_size), freeze=False)
    head = torch.nn.Linear(2 * bert.config.hidden_size, 1)
    network = torch.nn.ModuleDict({"bert": bert, "parts": parts, "head": head})
    windows = [next(pieces.windows(text)) for text in read]
    targets = np.array([labels, importance], np.float32)[:, [reading is not None for reading in readings]]
    _fit(torch, network, windows, targets, settings)
    return _exported(network, pieces)


def start_worker(log_level: int) -> None:
    """Prepare a process that fits one encoder at a time: torch adds in one order, whatever the machine's number of
    cores, and progress is shown."""
    _packages()[0].set_num_threads(1)
    logging.basicConfig(level=log_level, format="%(message)s")


def check_pretrained(start: Path, settings: EncoderSettings) -> str:
    """Return the hash of the pretrained weights, so that what is wrong with them is said before minutes of fitting.

    Raises:
        ConfigError: as `fit_encoder`, or the weights are not in safetensors.
    """
    _pretrained(_packages()[1], start, settings.layers)
    weights = start / "model.safetensors"
    if not weights.is_file():
        raise ConfigError([f"{weights}: no such file"])
    return sha256_of(weights)


def _packages() -> tuple[Any, Any]:
    try:
        return importlib.import_module("torch"), importlib.import_module("transformers")
    except ImportError as error:
        raise ConfigError(
            [f"an encoder is trained with torch and transformers: {error}; pip install 'selfstudy[train]'"]
        ) from None


def _pretrained(transformers: Any, start: Path, num_layers: int) -> tuple[Any, WordPieces]:
    """Return the lower layers of a BERT model and its vocabulary."""
    # It reports every layer that is left behind, which is the point here.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        pieces = WordPieces((start / "vocab.txt").read_text(encoding="utf-8").split("\n")[:-1])
        bert = transformers.BertModel.from_pretrained(
            start, num_hidden_layers=num_layers, hidden_act="gelu_pytorch_tanh", add_pooling_layer=False
        )
    except (OSError, ValueError) as error:
        raise ConfigError([f"{start}: no BERT model can be read: {' '.join(str(error).split())[:200]}"]) from None
    if not set(SPECIAL) <= set(pieces.vocabulary):
        raise ConfigError([f"{start}: vocab.txt lacks one of {', '.join(SPECIAL)}"])
    widths = (bert.config.hidden_size, bert.config.intermediate_size)
    if any(width % GROUP for width in widths):
        raise ConfigError([f"{start}: layers of widths {widths}; expected multiples of {GROUP}"])
    return bert, pieces


def _frequent(everything: WordPieces, folded: Sequence[str], least_count: int) -> WordPieces:
    counts = Counter(index for text in folded for index, _ in everything.pieces(text))
    return WordPieces(
        [
            piece
            for index, piece in enumerate(everything.vocabulary)
            # Single letters spell what is not in the vocabulary any more.
            if piece in SPECIAL
            or counts[index] >= least_count
            or (len(piece.removeprefix("##")) == 1 and piece.isascii())
        ]
    )


def _fit(
    torch: Any, network: Any, windows: Sequence[Pieces], targets: NDArray[np.float32], settings: EncoderSettings
) -> None:
    """Fit the network to windows and their `targets` [label and importance, windows]."""
    rng = np.random.default_rng(settings.seed)
    batches = [batch for _ in range(settings.epochs) for batch in _batches(windows, settings.batch, rng)]
    rng.shuffle(batches)
    optimiser = torch.optim.AdamW(
        [
            {"params": network["bert"].parameters(), "peak": settings.rate},
            {"params": network["parts"].parameters(), "peak": settings.head_rate},
            {"params": network["head"].parameters(), "peak": settings.head_rate},
        ],
        lr=settings.rate,
        weight_decay=0.01,
    )
    network.train()
    mean_loss = 0.0
    for number, batch in enumerate(batches):
        progress = min(1.0, (number + 1) / settings.warm_up) * (1 - number / len(batches))
        for group in optimiser.param_groups:
            group["lr"] = group["peak"] * progress
        labels, importance = torch.tensor(targets[:, batch])
        logits = _logits(torch, network, [windows[index] for index in batch])
        losses = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, labels, weight=importance, reduction="sum"
        )
        loss = losses / importance.sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        mean_loss += (float(loss.detach()) - mean_loss) / min(number + 1, _LOG_EVERY)
        if (number + 1) % _LOG_EVERY == 0:
            log.info("encoder: batch %d of %d: mean loss %.4f", number + 1, len(batches), mean_loss)


def _logits(torch: Any, network: Any, windows: Sequence[Pieces]) -> Any:
    """Return one logit per window."""
    tokens, parts, mask = _padded(torch, windows)
    bert = network["bert"]
    embedded = bert.embeddings.word_embeddings(tokens) + network["parts"](parts)
    # Half precision saves time where the processor has it, and takes sixty times as much where it has not.
    has_halves = torch.backends.cpu.get_cpu_capability() == "AVX512"
    with torch.autocast("cpu", torch.bfloat16, enabled=network.training and has_halves):
        states = bert(inputs_embeds=embedded, attention_mask=mask).last_hidden_state.float()
    read = torch.cat([_mean(states, mask), _maximum(states, mask)], 1)
    return network["head"](torch.nn.functional.dropout(read, _DROPOUT, network.training))[:, 0]


def _batches(windows: Sequence[Pieces], size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of each batch: drawn at random, texts of a length together."""
    order = rng.permutation(len(windows))
    for start in range(0, len(order), 20 * size):
        some = sorted(order[start : start + 20 * size], key=lambda index: len(windows[index]))
        for first in range(0, len(some), size):
            yield np.array(some[first : first + size])


def _padded(torch: Any, windows: Sequence[Pieces]) -> tuple[Any, Any, Any]:
    """Return the pieces, the parts of their words and where there are any, each [windows, longest]."""
    both = torch.zeros(2, len(windows), max(map(len, windows)), dtype=torch.long)
    mask = torch.zeros_like(both[0])
    for row, window in enumerate(windows):
        both[:, row, : len(window)] = torch.tensor(window).T
        mask[row, : len(window)] = 1
    return both[0], both[1], mask


def _mean(states: Any, mask: Any) -> Any:
    kept = mask[..., None].float()
    return (states * kept).sum(1) / kept.sum(1)


def _maximum(states: Any, mask: Any) -> Any:
    return (states - 1e4 * (1 - mask[..., None].float())).max(1).values


def _exported(network: Any, pieces: WordPieces) -> Encoder:
    bert = network["bert"]
    tensors: dict[str, NDArray[np.generic]] = {}

    def keep(name: str, *modules: Any) -> None:
        """Keep linear layers side by side as one."""
        matrix = np.concatenate([module.weight.detach().numpy().T for module in modules], axis=1)
        tensors[f"{name}.weight"], tensors[f"{name}.weight" + SCALES] = quantised(matrix)
        bias = np.concatenate([module.bias.detach().numpy() for module in modules])
        tensors[f"{name}.bias"] = bias.astype(np.float16)

    def keep_norm(name: str, module: Any) -> None:
        tensors[f"{name}.norm.weight"] = module.weight.detach().numpy().astype(np.float16)
        tensors[f"{name}.norm.bias"] = module.bias.detach().numpy().astype(np.float16)

    embeddings = bert.embeddings
    words = embeddings.word_embeddings.weight.detach().numpy()
    tensors["embedding"], tensors["embedding" + SCALES] = quantised(words.T)
    tensors["parts"] = network["parts"].weight.detach().numpy().astype(np.float16)
    places = embeddings.position_embeddings.weight[:MAX_PIECES] + embeddings.token_type_embeddings.weight[0]
    tensors["positions"] = places.detach().numpy().astype(np.float16)
    keep_norm("embedding", embeddings.LayerNorm)
    for number, layer in enumerate(bert.encoder.layer):
        attention = layer.attention.self
        keep(f"{number}.attention", attention.query, attention.key, attention.value)
        keep(f"{number}.heard", layer.attention.output.dense)
        keep_norm(f"{number}.attention", layer.attention.output.LayerNorm)
        keep(f"{number}.inner", layer.intermediate.dense)
        keep(f"{number}.outer", layer.output.dense)
        keep_norm(f"{number}.outer", layer.output.LayerNorm)
    tensors["head.weight"] = network["head"].weight.detach().numpy()[0].astype(np.float16)
    tensors["head.bias"] = network["head"].bias.detach().numpy().astype(np.float16)
    return Encoder(pieces, tensors, bert.config.num_attention_heads)
