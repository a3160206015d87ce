"""One attempt's numbers, pictures and sounds as TensorBoard's event file."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import soundfile
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

FLUSH_SECONDS = 30


class Curves:
    """A file that cannot be written any more, as on a full disk, is given up: no curve is worth a run.

    Args:
        first_step: what an attempt before this one wrote from there on is not shown any more.
        warned: called once, then.
    """

    def __init__(self, folder: Path, first_step: int, warned: Callable[[str], None]) -> None:
        self._warned, self._writer = warned, None
        try:
            self._writer = SummaryWriter(str(folder), purge_step=first_step, flush_secs=FLUSH_SECONDS)
        except OSError as error:
            self._give_up(error)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        def write(writer: SummaryWriter) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        self._write(write)

    def text(self, step: int, name: str, text: str) -> None:
        self._write(lambda writer: writer.add_text(name, text, step))

    def picture(self, step: int, name: str, file: Path) -> None:
        def write(writer: SummaryWriter) -> None:
            with Image.open(file) as image:
                pixels = np.asarray(image.convert("RGB"))
            writer.add_image(name, pixels, step, dataformats="HWC")

        self._write(write)

    def sound(self, step: int, name: str, file: Path) -> None:
        def write(writer: SummaryWriter) -> None:
            wave, rate = soundfile.read(file, dtype="float32")
            writer.add_audio(name, torch.from_numpy(wave)[None], step, rate)

        self._write(write)

    def flush(self) -> None:
        self._write(lambda writer: writer.flush())

    def close(self) -> None:
        self._write(lambda writer: writer.close())

    def _write(self, write: Callable[[SummaryWriter], None]) -> None:
        if self._writer is None:
            return
        try:
            write(self._writer)
        except OSError as error:  # SummaryWriter's own thread has met it, and raises it from now on
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._writer = None
        self._warned(f"TensorBoard gets nothing more of this attempt: {error}")
