"""Make a corpus of long recordings: cut at pauses, each clip with its text, and heard once more."""

import csv
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import librosa
import numpy as np
import soundfile
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from model.data.corpora import CorpusError
from model.data.cutting import (
    LEAST_UNWRITTEN,
    LONGEST,
    MOST_ERRORS,
    SHORTEST,
    Cuts,
    Letters,
    Piece,
    Span,
    cut,
)
from model.data.metadata import METADATA, WAVES, key
from model.extras import installing
from model.speech.audio import MelSettings, write_wave
from objectives.ear import HEARD_RATE, Ear, EarError, Transcription, normalised, speech_in
from objectives.misreading import Likelihood, words_of
from studies.run.data import Progress

RATE = MelSettings().sample_rate  # Hz, of the clips
LOUDNESS = -23.0  # LUFS, of every clip (EBU R 128)
HIGHEST = 10 ** (-1 / 20)  # of full scale: no gain makes a peak higher
HEARD = "heard"  # the folder of what was recognized: who starts again after a stop goes on from there
LEFT_OUT = "left_out"  # the folder of clips whose words are not those of the script
CUTS = "cuts.csv"
LARGEST_PART = 0.7  # of a clip that is cut once more
EDGE = 0.1  # s around speech that may still be its own
LEAST_PAUSES = 1  # s that noise is learned from
MOST_OF_NOISE = 1.5  # deviations (dB) above the mean of the noise that still count as noise
SURE = 5.0  # letters in a hundred: with fewer errors a clip says what is written
# Logarithm: right clips of recorded Russian (Festvox) came to 21 at most, misread ones to 26 and more.
MOST_LIKELIER = 24.0
SCRIPTS = (".txt", ".srt", ".vtt")
SOUNDS = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".mp4", ".webm", ".aiff")
_CUE = re.compile(r"^(WEBVTT.*|\d+|.*-->.*|NOTE.*)$")
_TAG = re.compile(r"<[^>]*>|\{\\[^}]*\}")


@dataclass(frozen=True)
class Making:
    """How a corpus is made.

    Args:
        longest, shortest: seconds of a clip.
        most_errors: letters in a hundred that may be heard otherwise than they are written; a clip with more
            is left out.
        denoises: whether steady noise is taken out.
    """

    longest: float = LONGEST
    shortest: float = SHORTEST
    most_errors: float = MOST_ERRORS
    denoises: bool = False


@dataclass(frozen=True)
class Row:
    """A line of cuts.csv: a clip, or a text without one."""

    id: str
    recording: str
    start: float | None  # seconds
    end: float | None
    errors: float | None  # letters in a hundred that were heard otherwise
    text: str
    heard: str
    left_out: str  # the reason; empty: it is in the corpus


def recordings_of(source: Path, script: Path | None) -> list[tuple[Path, Path | None]]:
    """Sound files and the scripts of the same name beside them; raises CorpusError where there are none."""
    files = sorted(f for f in source.iterdir() if f.suffix.lower() in SOUNDS) if source.is_dir() else [source]
    if not files:
        raise CorpusError(
            f"There are no recordings in {source}.\nSounds end in {', '.join(SOUNDS)}.\n"
            "Give a sound file, or a folder of them."
        )
    if script and len(files) > 1:
        raise CorpusError(
            f"{source} holds {len(files)} recordings, and --script is the text of one.\n"
            f"Lay the text of each beside it, with its name: {files[0].stem}.txt"
        )
    beside = {f: next((s for end in SCRIPTS if (s := f.with_suffix(end)).is_file()), None) for f in files}
    return [(file, script or beside[file]) for file in files]


def make(
    recordings: Sequence[tuple[Path, Path | None]],
    folder: Path,
    ear: Ear,
    making: Making,
    progress: Progress,
) -> list[Row]:
    """Fill a folder with a corpus in LJSpeech layout, and its cuts as a table.

    Nothing of the recordings is changed. What was recognized is kept, so that the same call goes on after a
    stop.

    Raises:
        CorpusError: the folder holds a corpus, a recording or script cannot be read, or no clip comes of it.
        EarError: pyloudnorm or noisereduce is missing.
    """
    if (folder / METADATA).exists():
        raise CorpusError(
            f"{folder} holds a corpus already: there is {METADATA}.\nNothing was changed.\n"
            "Choose another folder for -o, or take that file away to have all clips cut anew."
        )
    for place in (WAVES, LEFT_OUT):
        if (folder / place).exists() and not (folder / HEARD).exists():
            raise CorpusError(
                f"{folder} holds {place}/, which was not made here.\nNothing was changed.\n"
                "Choose another folder for -o."
            )
    if making.denoises:
        _noisereduce()  # said before anything is listened to
    (folder / HEARD).mkdir(parents=True, exist_ok=True)
    for place in (WAVES, LEFT_OUT):
        shutil.rmtree(folder / place, ignore_errors=True)  # of a call that was stopped
        (folder / place).mkdir()
    rows: list[Row] = []
    stems = ids_of([file for file, _ in recordings])
    for (file, script), stem in zip(recordings, stems, strict=True):
        rows += _cut(file, script, stem, folder, ear, making, progress)
    good = [row for row in rows if not row.left_out]
    with open(folder / CUTS, "w", encoding="utf-8", newline="") as table:
        lines = csv.writer(table)
        lines.writerow(field.name for field in fields(Row))
        lines.writerows(astuple(row) for row in rows)
    if not good:
        raise CorpusError(
            f"No clip comes of {recordings[0][0]}.\n"
            f"{len(rows)} pieces were left out, and why: {folder / CUTS}\n"
            "Are language and script those of the recording?"
        )
    (folder / METADATA).write_text("".join(f"{row.id}|{row.text}\n" for row in good), "utf-8")
    return rows


def ids_of(files: Sequence[Path]) -> list[str]:
    """How the ids of each file's clips begin: its name, in what an id may hold, and no two alike."""
    found: list[str] = []
    for file in files:
        stem = re.sub(r"[^\w-]+", "_", file.stem).lstrip("-")[:100] or "_"
        others = (stem, *(f"{stem}_{number}" for number in range(2, len(files) + 2)))
        found.append(next(name for name in others if key(name) not in map(key, found)))
    return found


def _cut(
    file: Path,
    script: Path | None,
    stem: str,
    folder: Path,
    ear: Ear,
    making: Making,
    progress: Progress,
) -> Iterator[Row]:
    wave, sound = read_sound(file)
    known = folder / HEARD / f"{file.stem}-{hashlib.sha256(sound.tobytes()).hexdigest()[:16]}.json"
    if not known.exists():
        heard = ear.words(sound, lambda done, total: progress(f"listening to {file.name}", done, total))
        found = {"words": [asdict(word) for word in heard], "speech": speech_in(sound)}
        part = known.with_suffix(".part")
        part.write_text(json.dumps(found, ensure_ascii=False), "utf-8")
        part.replace(known)
    found = json.loads(known.read_text("utf-8"))
    words = [Piece(**word) for word in found["words"]]
    speech: list[Span] = [(start, end) for start, end in found["speech"]]
    if making.denoises:
        clean = denoised(wave, speech)
        if clean is None:
            raise CorpusError(
                f"Noise cannot be taken out of {file}.\n"
                f"Nobody pauses in it for {LEAST_PAUSES} s in all, where the noise could be heard alone.\n"
                "Make its clips without --denoise; what was heard so far is kept."
            )
        wave = clean
    text = " ".join(word.text for word in words) if script is None else read_script(script)
    letters = partial(letters_of, language=ear.language)
    cuts = cut(text, words, speech, letters, making.shortest, making.longest)
    left, unheard, unwritten, number = list(cuts.clips), cuts.unheard, cuts.unwritten, 0
    while left:
        clip = left.pop(0)
        progress(f"hearing the clips of {file.name}", number + 1, number + 1 + len(left))
        part_of = evened(wave[round(clip.start * RATE) : round(clip.end * RATE)])
        said = ear([part_of], RATE, [clip.text])
        why = unlike(ear, part_of, RATE, clip.text, said, making.most_errors)
        if why and (parts := smaller(clip, words, speech, letters, making.shortest)).clips:
            left[:0], unheard, unwritten = parts.clips, unheard + parts.unheard, unwritten + parts.unwritten
            continue
        number += 1
        name = f"{stem}_{number:04d}"
        write_wave(folder / (LEFT_OUT if why else WAVES) / f"{name}.wav", part_of, RATE)
        text = _on_one_line(clip.text)
        yield Row(name, file.name, *_seconds(clip), round(100 * said.cer, 1), text, said.texts[0], why)
    for missing in unheard:
        yield Row("", file.name, None, None, None, missing, "", "not said, or without pauses around it")
    for other in unwritten:
        yield Row("", file.name, *_seconds(other), None, "", other.text, "not in the script")


def smaller(
    clip: Piece, words: Sequence[Piece], speech: Sequence[Span], letters: Letters, shortest: float
) -> Cuts:
    """What a clip becomes that is cut at its inner pauses, too, so that one wrong word costs less: no clips
    where it has none."""
    inside = [word for word in words if clip.start <= (word.start + word.end) / 2 <= clip.end]
    spoken = [(max(a, clip.start), min(b, clip.end)) for a, b in speech if a < clip.end and b > clip.start]
    return cut(clip.text, inside, spoken, letters, shortest, (clip.end - clip.start) * LARGEST_PART)


def letters_of(text: str, language: str) -> str:
    """What of a text is compared with what was heard."""
    return normalised(text, language).replace(" ", "")


def unlike(
    ear: Ear,
    wave: NDArray[np.float32],
    rate: int,
    text: str,
    said: Transcription,
    most_errors: float = MOST_ERRORS,
) -> str:
    """Why a clip (N,) of `rate` Hz is not trained on: it says something else, or more, than is written; or
    nothing.

    A recognizer misspells what it hears, so errors alone tell little. But what is said otherwise, it finds
    far likelier than what is written.
    """
    heard, errors = said.texts[0], 100 * said.cer
    if errors > most_errors:
        return f"{errors:.0f} of 100 letters are heard otherwise"
    blocks = Levenshtein.opcodes(*(letters_of(words, ear.language) for words in (text, heard)))
    more = max((b.dest_end - b.dest_start for b in blocks if b.tag == "insert"), default=0)
    fewer = max((b.src_end - b.src_start for b in blocks if b.tag == "delete"), default=0)
    if max(more, fewer) >= LEAST_UNWRITTEN:
        return f"{more} letters in a row are heard and not written, {fewer} are written and not heard"
    if errors > SURE:
        likelihood = likelihood_of(ear, wave, rate)
        by = likelihood(words_of(heard, ear.language)) - likelihood(words_of(text, ear.language))
        if by > MOST_LIKELIER:
            return f"other words are likelier by e to {by:.0f}"
    return ""


def likelihood_of(ear: Ear, wave: NDArray[np.float32], rate: int) -> Likelihood:
    """How likely an ear finds texts for a wave (N,) of `rate` Hz."""
    return Likelihood(ear, librosa.resample(wave, orig_sr=rate, target_sr=HEARD_RATE), ".")


def _seconds(clip: Piece) -> tuple[float, float]:
    return round(clip.start, 3), round(clip.end, 3)


def _on_one_line(text: str) -> str:
    return " ".join(text.replace("|", " ").split())


def read_sound(file: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A recording of any format and rate, its channels mixed, at RATE and at HEARD_RATE. Raises
    CorpusError."""
    try:
        samples, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError):
        samples, rate = _by_ffmpeg(file)
    mono = samples.mean(axis=1)
    if not len(mono) or not np.isfinite(mono).all():
        raise CorpusError(f"{file} cannot be used.\nIt holds no sound, or samples that are not finite.")
    wave, sound = (librosa.resample(mono, orig_sr=rate, target_sr=to) for to in (RATE, HEARD_RATE))
    return wave, sound


def _by_ffmpeg(file: Path) -> tuple[NDArray[np.float32], int]:
    """Sound (N, channels) with its rate, of a format that libsndfile does not read."""
    if (ffmpeg := shutil.which("ffmpeg")) is None:
        raise CorpusError(
            f"{file} cannot be read.\nIt is no sound that libsndfile knows, and ffmpeg is not installed.\n"
            "Install ffmpeg, or convert the file to WAV, FLAC, OGG or MP3."
        )
    with TemporaryDirectory() as place:
        out = Path(place) / "sound.wav"
        command = [ffmpeg, "-nostdin", "-v", "error", "-i", str(file), "-vn", str(out)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise CorpusError(f"{file} cannot be read.\nffmpeg says: {done.stderr.strip()[-300:]}")
        samples, rate = soundfile.read(out, dtype="float32", always_2d=True)
        return samples, rate


def read_script(file: Path) -> str:
    """The text of a script; of subtitles without their numbers, times and tags. Raises CorpusError."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"The script {file} cannot be read.\n{error}\nSave it as UTF-8.") from error
    if file.suffix.lower() == ".txt":
        return text
    lines = (_TAG.sub("", line).strip() for line in text.splitlines())
    return " ".join(line for line in lines if line and not _CUE.match(line))


def denoised(wave: NDArray[np.float32], speech: Sequence[Span]) -> NDArray[np.float32] | None:
    """A wave (N,) at RATE without the steady noise of its pauses, by spectral gating (Sainburg et al., 2020,
    doi:10.1371/journal.pcbi.1008228). None where there is too little pause to know the noise by.

    Args:
        speech: where somebody speaks.

    Raises EarError.
    """
    is_pause = np.ones(len(wave), bool)
    for start, end in speech:
        is_pause[max(0, round((start - EDGE) * RATE)) : round((end + EDGE) * RATE)] = False
    pauses = wave[is_pause]
    if len(pauses) < LEAST_PAUSES * RATE:
        return None
    clean = _noisereduce().reduce_noise(
        y=wave, y_noise=pauses, sr=RATE, stationary=True, n_std_thresh_stationary=MOST_OF_NOISE
    )
    return np.asarray(clean, np.float32)


def _noisereduce() -> Any:
    try:
        import noisereduce
    except ModuleNotFoundError as error:
        raise _missing("Noise cannot be taken out: noisereduce") from error
    return noisereduce


def _missing(what: str) -> EarError:
    """The error for a package of the extra that is not there. Args: what: cannot be done, and its name."""
    return EarError(f"{what} is not installed.\nWhat to do: {installing('ear')}")


def evened(wave: NDArray[np.float32]) -> NDArray[np.float32]:
    """A clip at LOUDNESS, or as near as its peaks allow. Raises EarError."""
    try:
        import pyloudnorm
    except ModuleNotFoundError as error:
        raise _missing("Clips cannot be made equally loud: pyloudnorm") from error
    peak = float(np.abs(wave).max(initial=0.0))
    meter = pyloudnorm.Meter(RATE)
    if len(wave) < meter.block_size * RATE or not peak:
        return wave
    loudness = meter.integrated_loudness(wave)
    gain = 10 ** ((LOUDNESS - loudness) / 20) if np.isfinite(loudness) else 1.0
    return (wave * min(gain, HIGHEST / peak)).astype(np.float32)


def told(rows: Sequence[Row], folder: Path) -> Iterator[str]:
    """What became of the recordings, in lines for a person."""
    good = [row for row in rows if not row.left_out]
    seconds = sum(row.end - row.start for row in good if row.end is not None and row.start is not None)
    yield f"{len(good)} clips, {seconds / 60:.1f} minutes: {folder}"
    reasons = {
        "left out, heard otherwise than written": [row for row in rows if row.left_out and row.id],
        "texts not said, or without pauses around them": [row for row in rows if not row.id and row.text],
        "pieces of speech that the script lacks": [row for row in rows if not row.id and not row.text],
    }
    for what, those in reasons.items():
        if those:
            yield f"{len(those)} {what}, such as: {those[0].text or those[0].heard}"
    if len(good) < len(rows):
        yield f"All of them: {folder / CUTS}"
