"""A voice: a network with all that it needs to turn text into sound."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray

from model.device import sent
from model.network.products import speaking_weights
from model.network.tacotron2 import Tacotron2
from model.settings import Dimensions, Settings
from model.speech.audio import MelSettings
from model.speech.text import FrontEnd
from model.speech.vocoder import GriffinLim, Vocoder

# Free running may take this many mel frames a symbol, and never fewer than these in all. Speech
# has about 6 frames a symbol (LJSpeech 5.7).
LIMIT_FRAMES_PER_SYMBOL = 15
LEAST_LIMIT_FRAMES = 100
WEIGHTS, DESCRIPTION = "model.safetensors", "voice.json"


@dataclass(frozen=True)
class Speech:
    """One spoken text."""

    mel: NDArray[np.float32]  # (F, 80)
    alignment: NDArray[np.float32]  # (S, L)
    stop: str  # "gate", "attention" or "limit": see model/speech/stopping.py


@dataclass(frozen=True)
class Voice:
    """Args: vocoder: makes sound of mels; None: Griffin-Lim."""

    model: Tacotron2
    front_end: FrontEnd
    mel_settings: MelSettings
    settings: Settings
    vocoder: Vocoder | None = None

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def read(
        self, texts: Sequence[Sequence[int]], seeds: Sequence[int], weights: torch.dtype | None = None
    ) -> list[Speech]:
        """Speak symbol ids as one batch; each item's prenet masks depend on its own seed alone.

        weights: what the decoder's weights are rounded to; None leaves them as they were trained.
        """
        device = self.device
        lengths = torch.tensor([len(text) for text in texts])
        text = torch.zeros(len(texts), int(lengths.max()), dtype=torch.long)
        for row, ids in zip(text, texts, strict=True):
            row[: len(ids)] = torch.tensor(ids)
        frames = (lengths * LIMIT_FRAMES_PER_SYMBOL).clamp(min=LEAST_LIMIT_FRAMES)
        limits = frames // self.settings.n_frames_per_step
        masks = self._prenet_masks(seeds, int(limits.max()))
        was_training = self.model.training
        result = self.model.synthesise(
            sent(text, device), lengths, self.settings, sent(masks, device), limits, weights=weights
        )
        self.model.train(was_training)
        return [
            Speech(mel.numpy(), alignment.numpy(), stop)
            for mel, alignment, stop in zip(result.mels, result.alignments, result.stops, strict=True)
        ]

    def speak(self, text: str, seed: int = 0) -> Speech:
        """Speak one text. Raises TextError when it has characters that the voice never learned.

        The decoder's weights are rounded to bfloat16 where that is fast: some 0.03 dB of mel-cepstral
        distance, where another seed gives 1 to 4 dB (docs/performance.md).
        """
        weights = speaking_weights(self.device)
        return self.read([self.front_end.encode(text)], [seed], weights)[0]

    @property
    def sounds_by(self) -> str:
        """The name of the vocoder."""
        return self._vocoder.name

    @property
    def _vocoder(self) -> Vocoder:
        return self.vocoder or GriffinLim(self.mel_settings)

    def sound(self, speech: Speech) -> NDArray[np.float32]:
        """The wave (N,) of a spoken mel."""
        return self.vocoded(speech.mel)

    def vocoded(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """The wave (N,) of any log-mel (F, n_mels)."""
        return self._vocoder(mel)

    def _prenet_masks(self, seeds: Sequence[int], steps: int) -> torch.Tensor:
        """(T, 2, B, P) scaled; drawn on the CPU, so every device speaks with the same masks."""
        p, width = self.settings.p_prenet_dropout, self.model.dimensions.prenet_dim
        drawn = [
            torch.rand(steps, 2, width, generator=torch.Generator().manual_seed(seed)) >= p for seed in seeds
        ]
        return torch.stack(drawn, dim=2).float() / (1.0 - p)


def save_voice(voice: Voice, folder: Path) -> None:
    """Write weights as safetensors, and as JSON all that is needed to speak with them. Raises OSError."""
    weights = {name: tensor.contiguous() for name, tensor in voice.model.state_dict().items()}
    (folder / WEIGHTS).write_bytes(safetensors.torch.save(weights))  # its own writing raises no OSError
    description = {
        "dimensions": asdict(voice.model.dimensions),
        "front_end": asdict(voice.front_end),
        "mel_settings": asdict(voice.mel_settings),
        "settings": asdict(voice.settings),
    }
    (folder / DESCRIPTION).write_text(json.dumps(description, indent=1, ensure_ascii=False), "utf-8")


def load_voice(folder: Path, device: str = "cpu") -> Voice:
    """The voice that save_voice wrote. Raises OSError or ValueError when a file is missing or not ours."""
    found = json.loads((folder / DESCRIPTION).read_text("utf-8"))
    model = Tacotron2(Dimensions(**found["dimensions"]))
    model.load_state_dict(safetensors.torch.load_file(folder / WEIGHTS))
    front_end = found["front_end"]
    return Voice(
        model.to(device).eval(),
        FrontEnd(
            front_end["name"],
            front_end["version"],
            tuple(front_end["symbols"]),
            front_end.get("espeak", ""),  # which version 0.1 did not have, nor the next ones
            front_end.get("words", ""),
            front_end.get("stress", ""),
            tuple((word, reading) for word, reading in front_end.get("lexicon", ())),
        ),
        MelSettings(**found["mel_settings"]),
        Settings(**found["settings"]),
    )
