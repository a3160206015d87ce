"""How much a voice sounds like the person of its recordings, whatever it says: speaker similarity, -1 to 1.

The cosine between d-vectors (Wan et al., 2018, arXiv:1710.10467) of Resemblyzer's public encoder. Of its
package only the weights are read: what else it asks for is not needed. Without it nothing is compared.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

PACKAGE, WEIGHTS = "resemblyzer", "pretrained.pt"
# As the encoder was trained: Hz, samples of a window and between two, bands, and frames heard at once
RATE, WINDOW, HOP, BANDS, FRAMES = 16_000, 400, 160, 40, 160
WIDTH, LAYERS = 256, 3
STRIDE = 80  # frames from one hearing to the next
LEAST_RMS = 10 ** (-30 / 20)  # what is quieter is made so loud
Array = NDArray[np.float32]


class SpeakerEncoder(nn.Module):
    """Runs on the CPU."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=()):  # weights are drawn at random before they are read
            self.lstm = nn.LSTM(BANDS, WIDTH, LAYERS, batch_first=True)
            self.linear = nn.Linear(WIDTH, WIDTH)
        found = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
        self.load_state_dict({name: found[name] for name in self.state_dict()})

    @torch.inference_mode()
    def forward(self, wave: Array, rate: int) -> Array:
        """The d-vector (WIDTH,) of a wave (N,) of `rate` Hz; zeros of silence."""
        sound = librosa.resample(wave, orig_sr=rate, target_sr=RATE)
        loudness = float(np.sqrt(np.mean(sound**2))) if len(sound) else 0.0
        if not loudness:
            return np.zeros(WIDTH, np.float32)
        sound = sound * max(1.0, LEAST_RMS / loudness)
        mel = librosa.feature.melspectrogram(y=sound, sr=RATE, n_fft=WINDOW, hop_length=HOP, n_mels=BANDS).T
        mel = np.pad(mel, ((0, max(0, FRAMES - len(mel))), (0, 0)))
        last = len(mel) - FRAMES
        starts = np.linspace(0, last, 1 + -(-last // STRIDE)).astype(int)
        parts = torch.from_numpy(
            np.stack([mel[start : start + FRAMES] for start in starts]).astype(np.float32)
        )
        found = nn.functional.normalize(torch.relu(self.linear(self.lstm(parts)[1][0][-1])), dim=1)
        return nn.functional.normalize(found.mean(0), dim=0).numpy()


def similarity(one: Sequence[Array], other: Sequence[Array]) -> float:
    """Between two groups of d-vectors; 0 where one has none, or only silence."""
    a, b = (np.sum(group, axis=0) if group else np.zeros(WIDTH) for group in (one, other))
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length else 0.0


def speaker_encoder() -> SpeakerEncoder | None:
    """None where the package is not installed."""
    found = importlib.util.find_spec(PACKAGE)  # which is not imported
    file = None if found is None or found.origin is None else Path(found.origin).parent / WEIGHTS
    return SpeakerEncoder(file) if file is not None and file.is_file() else None
