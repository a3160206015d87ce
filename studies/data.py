"""The corpus that a study asks for: made, fetched or found, then checked and loaded."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from model.corpora import CorpusError, espeak, festvox_ru
from model.corpus import Corpus, load_corpus
from model.preflight import DataError, by_reason
from studies.spec import Spec

# Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]


def corpus_folder(spec: Spec, home: Path, progress: Progress) -> Path:
    """A folder in LJSpeech layout; a corpus of our own making is made there when it is not yet.

    Raises CorpusError when it is not there, or cannot be made.
    """
    corpus = spec.corpus
    if corpus.source == "espeak":
        recipe = f"{corpus.language}/{corpus.voice}/{corpus.clips}/{corpus.seed}"
        folder = (
            home / "corpora" / f"espeak-{corpus.language}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}"
        )
        return espeak.prepare(
            folder,
            corpus.language,
            corpus.clips,
            corpus.seed,
            corpus.voice,
            lambda done, total: progress("speaking the corpus", done, total),
        )
    if corpus.source == "festvox-ru":
        return prepare_festvox_ru(home, progress)
    folder = Path(corpus.path).absolute()
    if not folder.is_dir():
        raise CorpusError(
            f'Cannot find the recordings of study "{spec.name}".\nThere is no folder {folder}.\n'
            "Put them back there, or write where they are to the study file (path in [corpus]), and go on "
            "with it: run_study.py start FILE.toml"
        )
    return folder


def prepare_festvox_ru(home: Path, progress: Progress) -> Path:
    return festvox_ru.prepare(
        home / "corpora" / "festvox-ru", lambda done, total: progress("cutting recordings", done, total)
    )


def load(spec: Spec, home: Path, progress: Progress, warn: Callable[[str], None]) -> Corpus:
    """Check every clip and character, then load; what is skipped is counted, and listed in a file.

    Raises DataError when the data is refused.
    """
    folder, listing = corpus_folder(spec, home, progress), home / f"{spec.name}-problems.txt"
    try:
        corpus = load_corpus(
            folder,
            spec.corpus_settings(),
            home / "cache",
            progress=lambda done, total: progress("checking and measuring clips", done, total),
        )
    except DataError as error:
        raise listed(error, listing) from error
    if corpus.report.problems:
        corpus.report.write(listing)
        warn(f"skipped, of {corpus.report.total} clips: {by_reason(corpus.report.problems)}; all: {listing}")
    return corpus


def listed(error: DataError, path: Path) -> DataError:
    """The same refusal, with all problems written to a file that it names."""
    if not error.report.problems:
        return error
    error.report.write(path)
    return DataError(f"{error}\nAll {len(error.report.problems)} problems: {path}", error.report)
