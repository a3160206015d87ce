"""One attempt's numbers, pictures and sounds as TensorBoard's event file."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

FLUSH_SECONDS = 30


class Curves:
    """Args: first_step: what an attempt before this one wrote from there on is not shown any more."""

    def __init__(self, folder: Path, first_step: int) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=FLUSH_SECONDS)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def text(self, step: int, name: str, text: str) -> None:
        self._writer.add_text(name, text, step)

    def picture(self, step: int, name: str, file: Path) -> None:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._writer.add_image(name, pixels, step, dataformats="HWC")

    def sound(self, step: int, name: str, file: Path) -> None:
        wave, rate = soundfile.read(file, dtype="float32")
        self._writer.add_audio(name, torch.from_numpy(wave)[None], step, rate)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
