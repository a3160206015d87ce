"""Mend a metadata.csv: letters of another alphabet that look right, invisible characters, and rows that
training would leave out or a person does not want. The file as it was stays beside the new one."""

import re
import shutil
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from model.data.metadata import METADATA, WAVES, printable, read_lines
from model.data.preflight import CorpusSettings, DataError, Problem, Progress, Report, check, no_progress
from model.speech.text import REMOVE, WRITE_OUT, FrontEnd

MOST_LEFT_OUT = 0.5  # of the rows
# As a Problem is told, and notes tell of clips; what is only spoken otherwise than written is told otherwise.
NAMED = re.compile(r"^ *line (\d+): (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Change:
    """A line whose text was mended: what was put in the place of which characters ("": nothing)."""

    line: int
    mends: dict[str, str]


@dataclass(frozen=True)
class Mended:
    """What was done. Args: kept_as: the file as it was; None: nothing was to be done."""

    changes: tuple[Change, ...]
    left_out: tuple[Problem, ...]
    kept_as: Path | None


def mend(
    folder: Path,
    settings: CorpusSettings,
    leave_out: bool,
    progress: Progress = no_progress,
    listing: str | None = None,
) -> Mended:
    """Mend a corpus' metadata.csv in its place.

    Args:
        leave_out: rows with which anything is wrong after that are taken out.
        listing: what a check of this very file wrote (Report.write): the clips that it names are taken out.

    Raises:
        DataError: the folder is no corpus, most of its rows would go, or the listing is of another file.
        OSError: a file cannot be written; metadata.csv is then as it was.
    """
    if not (folder / METADATA).is_file():
        check(folder, settings)  # which says what is missing
    front_end, changes = settings.front_end(folder), list[Change]()
    before = dict(read_lines((folder / METADATA).read_bytes())[0])
    lines = dict(before)
    for number, line in before.items():
        try:
            start, separator, text = line.decode("utf-8").rpartition("|")
        except UnicodeDecodeError:
            continue  # of another encoding, which `check` names
        mended, mends = mended_text(front_end, text)
        if mends:
            lines[number] = f"{start}{separator}{mended}".encode()
            changes.append(Change(number, mends))
    listed = () if listing is None else _listed(listing, before, folder)
    for problem in listed:
        del lines[problem.line]
    bad = _bad(folder, lines, settings, progress) if leave_out else ()
    for problem in bad:
        lines.pop(problem.line, None)
    left_out = (*listed, *bad)
    if not changes and not left_out:
        return Mended((), (), None)
    kept_as = next(p for n in range(1, 10**6) if not (p := folder / f"metadata-before-{n}.csv").exists())
    shutil.copyfile(folder / METADATA, kept_as)
    part = folder / f"{METADATA}.part"
    part.write_bytes(_file(lines))
    part.replace(folder / METADATA)
    return Mended(tuple(changes), left_out, kept_as)


def mended_text(front_end: FrontEnd, text: str) -> tuple[str, dict[str, str]]:
    """A text with the right letters, as far as they are known, and what was done to it."""
    text, mends = unicodedata.normalize("NFC", text), dict[str, str]()
    before = None
    while before != text:  # without an invisible character, words may tell more
        before = text
        for character, mend in front_end.mends(text).items():
            right = "" if mend == REMOVE else mend
            for wrong, put in {character: right, character.upper(): right.upper()}.items():
                if mend != WRITE_OUT and len(wrong) == 1 and wrong in text:
                    text, mends[wrong] = text.replace(wrong, put), put
    return text, mends


def _listed(listing: str, lines: Mapping[int, bytes], folder: Path) -> tuple[Problem, ...]:
    """The rows of a file that a listing names, each once."""
    found: dict[int, Problem] = {}
    for number, told in NAMED.findall(listing):
        name = lines.get(int(number), b"\n").split(b"|")[0].decode("utf-8", "replace")
        start = next((f"{n}: " for n in (name, printable(name)) if told.startswith(f"{n}: ")), None)
        if start is None:
            raise _refused(
                folder,
                f"Line {number} of {METADATA} is not as the listing has it: {told[:50]}.",
                "The listing is of another file: check the folder again, and take that one.",
            )
        found.setdefault(int(number), Problem(name, "listed", told.removeprefix(start), int(number)))
    if not found:
        raise _refused(folder, "The listing names no row.", "It must be one that data check wrote.")
    if len(found) > MOST_LEFT_OUT * len(lines):
        raise _refused(
            folder,
            f"The listing names {len(found)} of {len(lines)} rows: most of them.",
            "Delete the lines of those that shall stay.",
        )
    return tuple(found.values())


def _refused(folder: Path, *lines: str) -> DataError:
    refusal = "\n".join((f"Nothing was taken out of {folder}.", *lines))
    return DataError(refusal, Report((), (), 0, {}, refusal))


def _bad(
    folder: Path, lines: dict[int, bytes], settings: CorpusSettings, progress: Progress
) -> tuple[Problem, ...]:
    """What would be wrong with the mended rows, by their lines in the old file. Raises DataError where that
    is most of them: then something is wrong with all."""
    with TemporaryDirectory() as place:
        (Path(place) / WAVES).symlink_to((folder / WAVES).resolve(), target_is_directory=True)
        for extra in folder.glob("*.tsv"):  # the lexicon
            (Path(place) / extra.name).symlink_to(extra.resolve())
        (Path(place) / METADATA).write_bytes(_file(lines))
        report, numbers = check(Path(place), settings, progress), list(lines)
    bad = {problem.line for problem in report.problems}
    if report.refusal and len(bad) > MOST_LEFT_OUT * len(lines):
        raise DataError(report.refusal.replace(place, str(folder)), report)
    return tuple(
        Problem(problem.id, problem.reason, problem.detail, numbers[problem.line - 1])
        for problem in report.problems
    )


def _file(lines: dict[int, bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines.values())
