"""Begin with the weights of a public checkpoint in NVIDIA's format.

A checkpoint is a pickle, which may name anything to be called. Nothing is called here but what makes tensors:
whatever else the file holds, such as its settings or a number of numpy's, becomes a Blank.
"""

import hashlib
import pickle
import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from model.network.tacotron2 import Tacotron2
from model.settings import Dimensions
from model.speech.text import FrontEnd

# The order of the first rows of a public embedding (pad, hyphen, punctuation, letters); ARPAbet follows.
PUBLIC_SYMBOLS = "_-!'(),.:;? " + "".join(sorted(ascii_letters))
NO_TABLES = {"numpy", "_codecs", "builtins"}  # packages of functions and numbers
EMBEDDING, PROJECTION = "embedding.weight", "decoder.linear_projection.linear_layer."


class WarmStartError(ValueError):
    """A file that is no checkpoint in NVIDIA's format, or of a network that cannot use it."""


@dataclass(frozen=True)
class PublicWeights:
    """What was read from `path`: tensors by name, and the SHA-256 of the whole file."""

    path: Path
    tensors: Mapping[str, Tensor]
    sha256: str


@dataclass(frozen=True)
class WarmStart:
    """Names of tensors by what became of them."""

    loaded: tuple[str, ...]
    reshaped: tuple[str, ...]  # embedding rows matched by symbol, projection repeated for each frame
    skipped: tuple[str, ...]  # not in the file, or of another shape: they keep their fresh values


class Blank:
    """In place of what is no tensor: takes whatever it is made with, and does nothing."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class BlankTable:
    """The same where items are put into it, as into settings that are a kind of dictionary."""

    def __new__(cls, *_: object) -> OrderedDict[Any, Any]:  # type: ignore[misc]
        return OrderedDict()


def check_mels(network: Dimensions, path: Path) -> None:
    """Raises WarmStartError when the network sees normalised mels, which public weights do not expect."""
    if (network.mel_mean, network.mel_scale) != (0.0, 1.0):
        raise WarmStartError(
            f"Cannot start from {path}.\nIts weights expect plain log-mels, but this network sees "
            f"(mel - {network.mel_mean}) / {network.mel_scale}.\n"
            "Use size full, or mel_mean = 0.0 and mel_scale = 1.0."
        )


def read(path: Path) -> PublicWeights:
    """Raises WarmStartError when there is no such checkpoint at `path`."""
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        content = _content(path)
    except FileNotFoundError as error:
        raise WarmStartError(
            f"Cannot start from {path}.\nThere is no such file.\n"
            "Put it back there, or say where it is now: by warm_start in the study file, or --warm-start."
        ) from error
    except Exception as error:  # a file of any content may come here, and a pickle fail in any way
        raise WarmStartError(
            f"Cannot start from {path}.\nIts weights cannot be read safely: {_reason(error)}\n"
            "Give a checkpoint that torch.save wrote. Where you trust this one, load it yourself and save "
            'its weights alone: torch.save({"state_dict": checkpoint["state_dict"]}, "weights.pt")'
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    tensors = {
        name.removeprefix("module."): tensor
        for name, tensor in (state.items() if isinstance(state, dict) else ())
        if isinstance(name, str) and _is_plain(tensor)
    }
    if EMBEDDING not in tensors:
        raise WarmStartError(
            f"Cannot start from {path}.\nIt has no {EMBEDDING}.\nGive a checkpoint in NVIDIA's names."
        )
    return PublicWeights(path, tensors, sha256)


def _is_plain(tensor: object) -> bool:
    """Whether it is a tensor of numbers that can be copied into ours."""
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
        return False
    return not (tensor.is_complex() or tensor.is_quantized or tensor.is_meta)


def _content(path: Path) -> Any:
    named = _named(path)
    try:
        return _loaded(path, dict.fromkeys(named, Blank))
    except pickle.UnpicklingError:
        plain = {name for name in named if name.partition(".")[0] in NO_TABLES}
        return _loaded(path, dict.fromkeys(named, BlankTable) | dict.fromkeys(plain, Blank))


def _loaded(path: Path, blanks: Mapping[str, type]) -> Any:
    allowed: list[Callable[..., Any] | tuple[Callable[..., Any], str]]
    allowed = [(blank, name) for name, blank in blanks.items()]
    with safe_globals(allowed):
        return torch.load(path, map_location="cpu", weights_only=True)


def _named(path: Path) -> set[str]:
    """All that a checkpoint would call or make, by full name; for new ones but for what makes tensors."""
    if zipfile.is_zipfile(path):
        return set(get_unsafe_globals_in_checkpoint(path))
    with path.open("rb") as file:  # as torch wrote until 1.5: three small pickles, then the content
        opcodes = [found for _ in range(4) for found in pickletools.genops(file)]
    names = [str(named).split(" ", 1) for opcode, named, _ in opcodes if opcode.name == "GLOBAL"]
    return {full for module, name in names for full in (f"{module}.{name}", _renamed(module, name))}


def _renamed(module: str, name: str) -> str:
    """From Python 2's, which old pickles have, to the full name of today."""
    module, name = NAME_MAPPING.get((module, name), (module, name))
    return f"{IMPORT_MAPPING.get(module, module)}.{name}"


def _reason(error: Exception) -> str:
    """What torch says between its advice."""
    lines = [line.strip() for line in str(error).rpartition("WeightsUnpickler error:")[2].splitlines()]
    found = [line for line in lines if line and not line.startswith("Weights only load failed")]
    return next(iter(found), type(error).__name__).partition(" Please use")[0]


def warm_start(model: Tacotron2, front_end: FrontEnd, public: PublicWeights) -> WarmStart:
    """Copy what fits from a checkpoint into `model`.

    Raises:
        WarmStartError: nothing in it fits; see also `check_mels`.
    """
    check_mels(model.dimensions, public.path)
    outcome = {
        name: _copy(name, target, public.tensors.get(name), front_end)
        for name, target in model.state_dict().items()
    }
    if "loaded" not in outcome.values():
        raise WarmStartError(
            f"Cannot start from {public.path}.\nNone of its tensors has the shape of this network's.\n"
            "Choose the size it was trained with: public checkpoints are full."
        )
    return WarmStart(
        *(tuple(n for n, kind in outcome.items() if kind == k) for k in ("loaded", "reshaped", "skipped"))
    )


@torch.no_grad()
def _copy(name: str, target: Tensor, source: Tensor | None, front_end: FrontEnd) -> str:
    if source is None:
        return "skipped"
    if name == EMBEDDING:
        return _copy_embedding(target, source, front_end)
    if source.shape == target.shape:
        target.copy_(source)
        return "loaded"
    if name.startswith(PROJECTION) and source.dim() and source.shape[1:] == target.shape[1:] and len(source):
        blocks, rest = divmod(len(target), len(source))
        if not rest:  # every frame of a step begins as the checkpoint's only one
            target.copy_(source.repeat(blocks, *[1] * (source.dim() - 1)))
            return "reshaped"
    return "skipped"


def _copy_embedding(target: Tensor, source: Tensor, front_end: FrontEnd) -> str:
    """Rows match by symbol; symbols that the checkpoint never had keep their fresh rows."""
    if source.shape[1:] != target.shape[1:] or len(source) < len(PUBLIC_SYMBOLS):
        return "skipped"
    for row, symbol in zip(target, front_end.symbols, strict=True):
        if symbol in PUBLIC_SYMBOLS:
            row.copy_(source[PUBLIC_SYMBOLS.index(symbol)])
    return "reshaped"
