"""Listen to a voice while it trains, in a process beside training, so that no step waits.

What a voice said at a measure is left in its trial's folder as heard/STEP.npz, and what was heard as
heard/STEP.json, both of which survive whoever is killed: a sound is listened to until its numbers are there.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.speech.audio import MelSettings
from model.speech.hifigan import VocoderError
from model.speech.vocoder import vocoder_of
from objectives.ear import Ear, EarError
from objectives.mos import Mos, predictor
from objectives.similarity import SpeakerEncoder, similarity, speaker_encoder
from smart_tuner.store.attributes import RECORDINGS, numbers

FOLDER = "heard"
Array = NDArray[np.float32]
Mels = Sequence[Array]  # log-mels (F, n_mels)
POLL_SECONDS = 0.1
LISTENERS = 3  # processes in all, if they are killed


class Hearing:
    """Vocodes mels, and says how much of them is understood, how good they sound, and how much like the
    person of the recordings.

    Args:
        mos, encoder: None: it is not predicted, or not compared.
        vocoder: makes waves (N,) of `rate` Hz.
    """

    def __init__(
        self,
        ear: Ear,
        mos: Mos | None,
        encoder: SpeakerEncoder | None,
        vocoder: Callable[[Array], Array],
        rate: int,
    ) -> None:
        self._ear, self._mos, self._encoder, self._vocoder, self._rate = ear, mos, encoder, vocoder, rate
        self._texts: Sequence[str] = []  # whose recordings were heard: they are the same for each voice
        self._marks: dict[str, float] = {}
        self._speaker: Sequence[Array] = []

    def __call__(self, mels: Mels, recordings: Mels, texts: Sequence[str]) -> dict[str, float]:
        """What is heard in log-mels (F, n_mels) that are to say `texts`: "cer", "wer" (0 to 1) and, where it
        is measured, "mos" (1 to 5) and "similarity" (-1 to 1); the same of their recordings as
        "recordings_cer" and so on, the similarity of one half of them to the other."""
        if recordings and self._texts != texts:  # none were left by earlier versions
            heard, self._speaker = self._heard(recordings, texts)
            if len(self._speaker) > 1:
                heard["similarity"] = similarity(self._speaker[::2], self._speaker[1::2])
            self._texts, self._marks = texts, {RECORDINGS + name: value for name, value in heard.items()}
        found, speaker = self._heard(mels, texts)
        if speaker and self._texts == texts:
            found["similarity"] = similarity(speaker, self._speaker)
        return found | (self._marks if self._texts == texts else {})

    def _heard(self, mels: Mels, texts: Sequence[str]) -> tuple[dict[str, float], list[Array]]:
        """With the d-vectors."""
        waves = [self._vocoder(mel) for mel in mels]
        said = self._ear(waves, self._rate, texts)
        found = {"cer": said.cer, "wer": said.wer}
        if self._mos is not None:
            found["mos"] = self._mos(waves, self._rate)
        return found, [self._encoder(wave, self._rate) for wave in waves] if self._encoder else []


@dataclass(frozen=True)
class Means:
    """What it takes to hear a study's voices.

    Args:
        recognizer, language: see Ear.
        vocoder: see vocoder_of.
    """

    recognizer: str
    language: str
    vocoder: str | None
    mel_settings: MelSettings

    def hearing(self) -> Hearing:
        """On the CPU. Raises EarError, VocoderError."""
        ear = Ear(self.recognizer, self.language)
        vocoder = vocoder_of(self.vocoder, self.mel_settings, torch.device("cpu"))
        return Hearing(ear, predictor(), speaker_encoder(), vocoder, self.mel_settings.sample_rate)


class Listener:
    """A process that listens, started when there is something to hear. It ends with this one, or when closed.

    Args:
        warned: told why nobody listens, and that a trial waits for it.
    """

    def __init__(self, means: Means, warned: Callable[[str], None]) -> None:
        self._means, self._warned = means, warned
        self._child: subprocess.Popen[bytes] | None = None
        self._left = LISTENERS
        self._told = set[Path]()  # folders that it knows of

    def put(self, folder: Path, step: int, mels: Mels, recordings: Mels, texts: Sequence[str]) -> None:
        """Let what a trial's voice said at a step be heard; its figures are in `found` later."""
        place = folder / FOLDER
        try:
            place.mkdir(exist_ok=True)
            temporary = place / f"{step}.tmp"
            with temporary.open("wb") as file:
                np.savez(file, np.array(texts), *mels, *recordings)
            _numbers_of(place, step).unlink(missing_ok=True)  # of an attempt whose checkpoint was damaged
            os.replace(temporary, place / f"{step}.npz")
        except OSError as error:  # a full disk: a checkpoint may still find room
            self._warned(f"what the voice said at step {step} is not heard: {error}")
        self._told.discard(folder)
        self._ask(folder)

    def found(self, folder: Path, seconds: float) -> dict[int, dict[str, float]]:
        """What was heard of a trial's voice, by step. Args: seconds: for which the rest is waited for."""
        place, deadline = folder / FOLDER, time.monotonic() + seconds
        if seconds and _waiting(place):
            self._warned("waiting until the last measure is listened to")
        while (waiting := _waiting(place)) and self._ask(folder) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        if seconds and waiting:
            self._warned(f"not heard: what the voice said at step {', '.join(p.stem for p in waiting)}")
        return {int(path.stem): known for path in _of(place, "json") if (known := _read(path))}

    def close(self) -> None:
        if self._child is not None:
            self._end(self._child)
            self._child = None

    def _ask(self, folder: Path) -> bool:
        """Tell the process of a folder where something waits; whether there is one."""
        if self._child is not None and (code := self._child.poll()) is not None:
            self._end(self._child)
            self._child, self._told = None, set()
            if code > 0:  # it said why, and would do so again
                self._left = 0
        if self._child is None:
            if not self._left:
                return False
            self._child = self._begun()
        if folder not in self._told:
            self._told.add(folder)
            assert self._child.stdin is not None
            with suppress(BrokenPipeError):  # it has just ended, as is seen the next time
                self._child.stdin.write(f"{folder.absolute()}\n".encode())
        return True

    def _begun(self) -> subprocess.Popen[bytes]:
        self._left -= 1
        return subprocess.Popen(
            [sys.executable, "-m", "objectives.listening", json.dumps(asdict(self._means))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            bufsize=0,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # Ctrl-C is for whoever trains
        )

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        assert child.stdin is not None
        with suppress(BrokenPipeError):
            child.stdin.close()
        child.kill()  # what it has not heard yet is heard when the trial goes on
        child.wait()


def hand_on(source: Path, target: Path, step: int) -> None:
    """Copy what was heard up to a step from a trial's folder to that of the trial which goes on from it."""
    for file in _of(source / FOLDER, "json"):
        if int(file.stem) <= step:
            (target / FOLDER).mkdir(exist_ok=True)
            shutil.copyfile(file, target / FOLDER / file.name)


def _waiting(place: Path) -> list[Path]:
    """What is not yet heard, oldest first."""
    return sorted(_of(place, "npz"), key=lambda path: int(path.stem))


def _of(place: Path, kind: str) -> list[Path]:
    return [path for path in place.glob(f"*.{kind}") if path.stem.isdecimal()]


def _read(path: Path) -> dict[str, float]:
    """Nothing, where it was damaged."""
    try:
        return numbers(json.loads(path.read_text()))
    except (OSError, ValueError):
        return {}


def _numbers_of(place: Path, step: int | str) -> Path:
    return place / f"{step}.json"


def _hear(file: Path, hearing: Hearing) -> None:
    with np.load(file) as said:
        texts, *mels = (said[name] for name in said.files)  # in the order in which they were given
        heard = hearing(mels[: len(texts)], mels[len(texts) :], [str(text) for text in texts])
    path = _numbers_of(file.parent, file.stem)
    temporary = path.with_suffix(".json-tmp")
    temporary.write_text(json.dumps(heard))
    os.replace(temporary, path)
    file.unlink()


def main(means: Mapping[str, object]) -> None:
    """Hear what waits in each folder that is named on a line, until there are no more lines."""
    os.nice(10)
    torch.set_num_threads(1)
    settings = MelSettings(**means["mel_settings"])  # type: ignore[arg-type]
    try:
        hearing = Means(**{**means, "mel_settings": settings}).hearing()  # type: ignore[arg-type]
    except (EarError, VocoderError) as error:
        sys.exit(str(error))
    for line in sys.stdin:
        for file in _waiting(Path(line.removesuffix("\n")) / FOLDER):
            with suppress(FileNotFoundError):  # another attempt has named the folder anew
                _hear(file, hearing)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
