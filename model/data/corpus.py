"""A corpus: checked clips with their mels, split once and for all, and drawn in batches."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.data.preflight import CorpusSettings, DataError, Progress, Report, Row, check, no_progress
from model.data.split import sha256
from model.data.staging import being_made
from model.device import sent
from model.speech.audio import SILENCE, MelSettings, mel_spectrogram, read_wave, trimmed
from model.speech.text import LETTERS, FrontEnd

NVIDIA_MELS = MelSettings()
MELS, INDEX = "mels.npy", "index.json"
MEL_VERSION = 1  # raise it when the same sound and settings give another mel
LENGTH_JITTER = 0.05  # so that an epoch's batches are not those of the one before


@dataclass(frozen=True)
class Utterance:
    id: str
    text: str  # as written
    symbols: NDArray[np.int64]  # (L,), the end symbol last
    mel: NDArray[np.float32]  # (F, n_mel_channels), read-only, on disk until it is looked at


@dataclass(frozen=True)
class Corpus:
    """Clips in the order of metadata.csv. No recording and no text is on both sides."""

    training: tuple[Utterance, ...]
    held_out: tuple[Utterance, ...]
    front_end: FrontEnd
    mel_settings: MelSettings
    fingerprint: str  # SHA-256 of settings, symbols, texts, sound files and split
    report: Report  # of the check: what was skipped, and why


def load_corpus(
    folder: Path,
    settings: CorpusSettings,
    cache: Path,
    mel_settings: MelSettings = NVIDIA_MELS,
    progress: Progress = no_progress,
) -> Corpus:
    """Check `folder` (LJSpeech layout), then measure its mels, or find them in `cache`.

    Raises DataError, with the report, when the data is refused. `progress` counts the clips twice
    when mels must be measured.
    """
    if mel_settings.sample_rate != settings.sample_rate:
        raise ValueError(
            f"mels are of {mel_settings.sample_rate} Hz, the corpus of {settings.sample_rate} Hz"
        )
    report = check(folder, settings, progress)
    if report.refusal:
        raise DataError(report.refusal, report)
    front_end = settings.front_end(folder)
    mels = _mels(report.rows, settings, cache, mel_settings, progress)
    items = [
        Utterance(row.id, row.text, np.array(front_end.encode(row.text), np.int64), mel)
        for row, mel in zip(report.rows, mels, strict=True)
    ]
    held_out = report.held_out
    return Corpus(
        tuple(item for item in items if item.id not in held_out),
        tuple(item for item in items if item.id in held_out),
        front_end,
        mel_settings,
        _fingerprint(report.rows, held_out, front_end, settings, mel_settings),
        report,
    )


def _fingerprint(
    rows: Sequence[Row],
    held_out: frozenset[str],
    front_end: FrontEnd,
    settings: CorpusSettings,
    mel_settings: MelSettings,
) -> str:
    clips = [(row.id, row.text, row.sha256, row.id in held_out) for row in rows]
    parts = [asdict(settings), asdict(mel_settings), asdict(front_end)]
    for key in ("normalise", "stress", "lexicon"):  # the front end has what comes of them
        del parts[0][key]
    if settings.input == LETTERS:  # as version 0.1 had it, which knew nothing else
        del parts[0]["input"], parts[2]["espeak"]
    if front_end.version == 1:
        del parts[2]["words"], parts[2]["stress"], parts[2]["lexicon"]
    return sha256([*parts, clips])


def _mels(
    rows: Sequence[Row], settings: CorpusSettings, cache: Path, mel_settings: MelSettings, progress: Progress
) -> list[NDArray[np.float32]]:
    """The mels of all rows, as views of one mapped file. Each set of recordings is measured once."""
    recipe = {
        "version": MEL_VERSION,
        "mels": asdict(mel_settings),
        "trim_db": settings.trim_db,
        "clips": [(row.id, row.sha256) for row in rows],
    }
    folder = cache / sha256(recipe)
    found = _read_mels(folder)
    if found is None:
        with being_made(folder) as part:
            frames = _write_mels(part / MELS, rows, settings, mel_settings, progress)
            (part / INDEX).write_text(json.dumps({"recipe": recipe, "frames": frames}), "utf-8")
            folder.mkdir(exist_ok=True)
            for name in (MELS, INDEX):  # the index last: it says that the mels are whole
                os.replace(part / name, folder / name)
        found = _read_mels(folder)
        assert found is not None
    return found


def _read_mels(folder: Path) -> list[NDArray[np.float32]] | None:
    """None if they are not there, or not whole: what can be measured again is no error."""
    try:
        frames = json.loads((folder / INDEX).read_text("utf-8"))["frames"]
        mels = np.asarray(np.load(folder / MELS, mmap_mode="r"))
    except (FileNotFoundError, EOFError, ValueError):
        return None
    return np.split(mels, np.cumsum(frames)[:-1])


def _write_mels(
    path: Path, rows: Sequence[Row], settings: CorpusSettings, mel_settings: MelSettings, progress: Progress
) -> list[int]:
    """Write one array (all frames, n_mel_channels), clip by clip; returns the frames of each."""
    frames = []
    with open(path, "wb") as file:
        _write_header(file, 0, mel_settings)
        for done, row in enumerate(rows, 1):
            wave = read_wave(row.wave, settings.sample_rate, settings.resample_from)
            mel = mel_spectrogram(trimmed(wave, settings.sample_rate, settings.trim_db), mel_settings)
            file.write(mel.astype("<f4").tobytes())
            frames.append(len(mel))
            progress(done, len(rows))
        file.seek(0)
        _write_header(file, sum(frames), mel_settings)  # of the same size: numpy leaves room to grow
    return frames


def _write_header(file: BinaryIO, frames: int, mel_settings: MelSettings) -> None:
    shape = (frames, mel_settings.n_mel_channels)
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": "<f4"})


@dataclass(frozen=True)
class Batch:
    """Items padded to the longest: text with id 0, mels with SILENCE."""

    text: Tensor  # (B, L) int64
    text_lengths: Tensor  # (B,) int64, always on the host
    mels: Tensor  # (B, F, n_mel_channels) float32
    mel_lengths: Tensor  # (B,) int64, always on the host

    def to(self, device: torch.device) -> "Batch":
        return replace(self, text=sent(self.text, device), mels=sent(self.mels, device))


def collate(items: Sequence[Utterance]) -> Batch:
    text_lengths = [len(item.symbols) for item in items]
    mel_lengths = [len(item.mel) for item in items]
    text = np.zeros((len(items), max(text_lengths)), np.int64)
    mels = np.full((len(items), max(mel_lengths), items[0].mel.shape[1]), SILENCE, np.float32)
    for i, item in enumerate(items):
        text[i, : text_lengths[i]] = item.symbols
        mels[i, : mel_lengths[i]] = item.mel
    return Batch(
        torch.from_numpy(text),
        torch.tensor(text_lengths),
        torch.from_numpy(mels),
        torch.tensor(mel_lengths),
    )


def batches(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """One epoch: every index once, in as few batches as `batch_size` allows, the same for (seed, epoch).

    Items of a batch have nearly one length; sizes differ by at most one, so that none is left alone
    (batch normalisation cannot bear that) unless `batch_size` is below 3. Batches come in random order.
    """
    if not lengths:
        return []
    random = np.random.default_rng((seed, epoch))
    jitter = random.uniform(1 - LENGTH_JITTER, 1 + LENGTH_JITTER, len(lengths))
    order = np.argsort(np.asarray(lengths) * jitter, kind="stable")
    drawn = np.array_split(order, -(-len(lengths) // batch_size))
    return [drawn[i].tolist() for i in random.permutation(len(drawn))]
