"""Begin with the weights of another voice: one of ours, or a public checkpoint in NVIDIA's format.

A public checkpoint is a pickle, which may name anything to be called. Nothing is called here but what makes
tensors: whatever else the file holds, such as its settings or a number of numpy's, becomes a Blank.
"""

import hashlib
import pickle
import pickletools
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from model.network.tacotron2 import Tacotron2
from model.settings import Dimensions
from model.speech.text import FrontEnd
from model.speech.voice import DESCRIPTION, WEIGHTS, load_voice

# The order of the first rows of a public embedding (pad, hyphen, punctuation, letters); ARPAbet follows.
PUBLIC_SYMBOLS = "_-!'(),.:;? " + "".join(sorted(ascii_letters))
NO_TABLES = {"numpy", "_codecs", "builtins"}  # packages of functions and numbers
EMBEDDING, PROJECTION = "embedding.weight", "decoder.linear_projection.linear_layer."


class WarmStartError(ValueError):
    """What is no voice of ours and no checkpoint in NVIDIA's format, or of a network that cannot use it."""


@dataclass(frozen=True)
class Weights:
    """What was read from `path`.

    Args:
        tensors: by name.
        sha256: of the whole file, or of a voice's two.
        symbols: of the rows of its embedding.
        mels: mean and scale of the mels that it sees.
        frames: of a decoder step for which its projection was trained; None: for all that it has rows for.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    sha256: str
    symbols: Sequence[str] = PUBLIC_SYMBOLS
    mels: tuple[float, float] = (0.0, 1.0)
    frames: int | None = None


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


def check_mels(network: Dimensions, weights: Weights) -> None:
    """Raises WarmStartError when the network sees other mels than those that the weights expect."""
    if (network.mel_mean, network.mel_scale) != weights.mels:
        mean, scale = weights.mels
        raise WarmStartError(
            f"Cannot start from {weights.path}.\nIts weights expect mels as (mel - {mean}) / {scale}, but "
            f"this network sees (mel - {network.mel_mean}) / {network.mel_scale}.\n"
            f"Use the size that it has, or mel_mean = {mean} and mel_scale = {scale} in [model]."
        )


def read(path: Path) -> Weights:
    """The weights of a public checkpoint, or of a voice of ours, as a folder.

    Raises WarmStartError where `path` is neither.
    """
    return _read_voice(path) if path.is_dir() else _read_public(path)


def _read_voice(path: Path) -> Weights:
    try:
        digests = [hashlib.sha256((path / name).read_bytes()).hexdigest() for name in (WEIGHTS, DESCRIPTION)]
        voice = load_voice(path)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise WarmStartError(
            f"Cannot start from {path}.\nIt is no voice of this program: {type(error).__name__}: "
            f"{(str(error).splitlines() or [''])[0]}\n"
            "Give the folder that run_study.py export made, or a checkpoint of a trial."
        ) from error
    network = voice.model.dimensions
    return Weights(
        path,
        voice.model.state_dict(),
        hashlib.sha256("".join(digests).encode()).hexdigest(),
        voice.front_end.symbols,
        (network.mel_mean, network.mel_scale),
        voice.settings.n_frames_per_step,
    )


def _read_public(path: Path) -> Weights:
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
    return Weights(path, tensors, sha256)


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


def warm_start(model: Tacotron2, front_end: FrontEnd, weights: Weights) -> WarmStart:
    """Copy what fits of another voice's weights into `model`.

    Raises:
        WarmStartError: nothing in it fits; see also `check_mels`.
    """
    check_mels(model.dimensions, weights)
    outcome = {
        name: _copy(name, target, weights, front_end, model.dimensions.n_mel_channels)
        for name, target in model.state_dict().items()
    }
    if "loaded" not in outcome.values():
        raise WarmStartError(
            f"Cannot start from {weights.path}.\nNone of its tensors has the shape of this network's.\n"
            "Choose the size it was trained with: public checkpoints are full."
        )
    return WarmStart(
        *(tuple(n for n, kind in outcome.items() if kind == k) for k in ("loaded", "reshaped", "skipped"))
    )


@torch.no_grad()
def _copy(name: str, target: Tensor, weights: Weights, front_end: FrontEnd, n_mels: int) -> str:
    source = weights.tensors.get(name)
    if source is None:
        return "skipped"
    if name == EMBEDDING:
        return _copy_embedding(target, source, weights.symbols, front_end)
    if name.startswith(PROJECTION):
        return _copy_frames(target, source, weights.frames, n_mels)
    if source.shape == target.shape:
        target.copy_(source)
        return "loaded"
    return "skipped"


def _copy_frames(target: Tensor, source: Tensor, frames: int | None, n_mels: int) -> str:
    """Rows of the frames of a decoder step; those that the source never made begin as the last that it did.

    Args:
        frames: how many of a step the source made; None: all that it has rows for.
    """
    if not source.dim() or source.shape[1:] != target.shape[1:]:
        return "skipped"
    made = len(source) if frames is None else n_mels * frames  # rows
    if made < n_mels or made % n_mels or len(source) < made:
        return "skipped"
    made = min(made, len(target))
    target[:made] = source[:made]
    further = (len(target) - made) // n_mels
    target[made:] = source[made - n_mels : made].repeat(further, *[1] * (source.dim() - 1))
    return "loaded" if made == len(target) == len(source) else "reshaped"


def _copy_embedding(target: Tensor, source: Tensor, symbols: Sequence[str], front_end: FrontEnd) -> str:
    """Rows match by symbol; symbols that the weights never had keep their fresh rows."""
    if source.shape[1:] != target.shape[1:] or len(source) < len(symbols):
        return "skipped"
    for row, symbol in zip(target, front_end.symbols, strict=True):
        if symbol in symbols:
            row.copy_(source[symbols.index(symbol)])
    same = source.shape == target.shape and tuple(symbols) == front_end.symbols
    return "loaded" if same else "reshaped"
