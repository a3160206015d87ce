"""Begin with the weights of a public checkpoint in NVIDIA's format."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters

import torch
from torch import Tensor

from model.tacotron2 import Tacotron2
from model.text import FrontEnd

# The order of the first rows of a public embedding (pad, hyphen, punctuation, letters); ARPAbet follows.
PUBLIC_SYMBOLS = "_-!'(),.:;? " + "".join(sorted(ascii_letters))
EMBEDDING, PROJECTION = "embedding.weight", "decoder.linear_projection.linear_layer."


class WarmStartError(ValueError):
    """A file that is no checkpoint in NVIDIA's format, or of a network that cannot use it."""


@dataclass(frozen=True)
class WarmStart:
    """Names of tensors by what became of them."""

    loaded: tuple[str, ...]
    reshaped: tuple[str, ...]  # embedding rows matched by symbol, projection repeated for each frame
    skipped: tuple[str, ...]  # not in the file, or of another shape: they keep their fresh values


def warm_start(model: Tacotron2, front_end: FrontEnd, path: Path) -> WarmStart:
    """Copy what fits from `path` into `model`.

    Raises:
        WarmStartError: the file cannot be read as such a checkpoint, nothing in it fits, or the
            network sees normalised mels, which public weights do not expect.
    """
    d = model.dimensions
    if (d.mel_mean, d.mel_scale) != (0.0, 1.0):
        raise WarmStartError(
            f"Cannot start from {path}.\nIts weights expect plain log-mels, but this network sees "
            f"(mel - {d.mel_mean}) / {d.mel_scale}.\nUse size full, or mel_mean = 0.0 and mel_scale = 1.0."
        )
    found, outcome = _state_dict(path), {}
    for name, target in model.state_dict().items():
        outcome[name] = _copy(name, target, found.get(name), front_end)
    if "loaded" not in outcome.values():
        raise WarmStartError(
            f"Cannot start from {path}.\nNone of its tensors has the shape of this network's.\n"
            "Choose the size it was trained with: public checkpoints are full."
        )
    return WarmStart(
        *(tuple(n for n, kind in outcome.items() if kind == k) for k in ("loaded", "reshaped", "skipped"))
    )


def _state_dict(path: Path) -> dict[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise WarmStartError(
            f"Cannot start from {path}.\n{error}\nGive a checkpoint that torch.save wrote."
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {n.removeprefix("module."): t for n, t in state.items() if isinstance(t, Tensor)}
    if EMBEDDING not in tensors:
        raise WarmStartError(
            f"Cannot start from {path}.\nIt has no {EMBEDDING}.\nGive a checkpoint in NVIDIA's names."
        )
    return tensors


@torch.no_grad()
def _copy(name: str, target: Tensor, source: Tensor | None, front_end: FrontEnd) -> str:
    if source is None:
        return "skipped"
    if name == EMBEDDING:
        return _copy_embedding(target, source, front_end)
    if source.shape == target.shape:
        target.copy_(source)
        return "loaded"
    if name.startswith(PROJECTION) and source.shape[1:] == target.shape[1:]:
        blocks, rest = divmod(len(target), len(source))
        if not rest:  # every frame of a step begins as the checkpoint's only one
            target.copy_(source.repeat(blocks, *[1] * (source.dim() - 1)))
            return "reshaped"
    return "skipped"


def _copy_embedding(target: Tensor, source: Tensor, front_end: FrontEnd) -> str:
    """Rows match by symbol; symbols that the checkpoint never had keep their fresh rows."""
    if source.shape[1] != target.shape[1] or len(source) < len(PUBLIC_SYMBOLS):
        return "skipped"
    for row, symbol in zip(target, front_end.symbols, strict=True):
        if symbol in PUBLIC_SYMBOLS:
            row.copy_(source[PUBLIC_SYMBOLS.index(symbol)])
    return "reshaped"
