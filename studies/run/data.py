"""The corpus that a study asks for: made, fetched or found, then checked and loaded."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from model.data.corpora import CorpusError, espeak, festvox_ru, sentences
from model.data.corpus import Corpus, load_corpus
from model.data.notes import Note
from model.data.preflight import CorpusSettings, DataError, Problem, Report, by_reason
from model.settings import SIZES
from studies.file.spec import Spec

# Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]
USUAL_SIZE = "small"  # of a voice, where no study says it
SHOWN = 3  # cases of a kind


def corpus_folder(spec: Spec, workdir: Path, progress: Progress) -> Path:
    """A folder in LJSpeech layout; a corpus of our own making is made there when it is not yet.

    Raises CorpusError when it is not there, or cannot be made.
    """
    corpus = spec.voice.corpus
    if corpus.source == "espeak":
        recipe = f"{corpus.language}/{corpus.voice}/{corpus.clips}/{corpus.seed}"
        recipe += "" if corpus.words == sentences.FEW else f"/{corpus.words}"
        folder = (
            workdir
            / "corpora"
            / f"espeak-{corpus.language}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"
        )
        return espeak.prepare(
            folder,
            corpus.language,
            corpus.clips,
            corpus.seed,
            corpus.voice,
            corpus.words,
            lambda done, total: progress("speaking the corpus", done, total),
        )
    if corpus.source == "festvox-ru":
        return prepare_festvox_ru(workdir, progress)
    folder = Path(corpus.path).absolute()
    if not folder.is_dir():
        raise CorpusError(
            f'Cannot find the recordings of study "{spec.name}".\nThere is no folder {folder}.\n'
            "Put them back there, or write where they are to the study file (path in [corpus]), and go on "
            "with it: run_study.py start FILE.toml"
        )
    return folder


def prepare_festvox_ru(workdir: Path, progress: Progress) -> Path:
    return festvox_ru.prepare(
        workdir / "corpora" / "festvox-ru", lambda done, total: progress("cutting recordings", done, total)
    )


def load(spec: Spec, workdir: Path, progress: Progress, warn: Callable[[str], None]) -> Corpus:
    """Check every clip and character, then load; what is skipped is counted, and listed in a file.

    Raises DataError when the data is refused.
    """
    folder, listing = corpus_folder(spec, workdir, progress), workdir / f"{spec.name}-problems.txt"
    try:
        corpus = load_corpus(
            folder,
            spec.voice.corpus_settings(),
            workdir / "cache",
            progress=lambda done, total: progress("checking and measuring clips", done, total),
        )
    except DataError as error:
        raise listed(error, listing) from error
    report = corpus.report
    write_listing(report, listing)
    if report.problems:
        warn(f"skipped, of {report.total} clips: {by_reason(report.problems)}; all: {listing}")
    for note in report.notes:
        warn(f"{note.told} All: {listing}")
    return corpus


def usual_settings(language: str, resample_from: int | None) -> CorpusSettings:
    """What the shipped study of a small voice asks of its clips."""
    frames = SIZES[USUAL_SIZE].max_frames_per_step
    return CorpusSettings(language, resample_from=resample_from, n_frames_per_step=frames)


def described(report: Report, listing: Path) -> Iterator[str]:
    """Lines for a person: problems and notes by their kind, the first few of each."""
    kinds: dict[str, list[Problem]] = {}
    for problem in report.problems:
        kinds.setdefault(problem.reason, []).append(problem)
    for reason, problems in sorted(kinds.items(), key=lambda kind: -len(kind[1])):
        yield from (str(problem) for problem in problems[:SHOWN])
        if len(problems) > SHOWN:
            yield f"... {len(problems)} {reason} in all"
        if mend := report.mends.get(reason):
            yield f"  {mend}"
    for note in report.notes:
        yield from described_note(note)
    if report.problems or report.notes:
        yield f"All of them: {listing}"
    yield f"{len(report.rows)} of {report.total} clips are good, {len(report.problems)} problems."


def described_note(note: Note) -> Iterator[str]:
    """What it tells, and the first few of its lines."""
    yield note.told
    yield from (f"  {line}" for line in note.lines[:SHOWN])
    if len(note.lines) > SHOWN:
        yield f"  ... {len(note.lines)} in all"


def write_listing(report: Report, path: Path) -> None:
    """Write all that is to be looked at; where nothing is, an older listing goes."""
    if report.problems or report.notes:
        report.write(path)
    else:
        path.unlink(missing_ok=True)


def listed(error: DataError, path: Path) -> DataError:
    """The same refusal, with all problems written to a file that it names."""
    write_listing(error.report, path)
    if not error.report.problems:
        return error
    return DataError(f"{error}\nAll {len(error.report.problems)} problems: {path}", error.report)
