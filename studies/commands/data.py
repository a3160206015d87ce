"""Verbs for recordings: check, mend or make a corpus of them, or fetch one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from model.data.cutting import LONGEST, MOST_ERRORS
from model.data.mending import mend
from model.data.metadata import named
from model.data.preflight import CorpusSettings, DataError, check
from smart_tuner.lazy import LazyModule
from studies.commands.place import Place
from studies.file.spec import Spec, load
from studies.report.outputs import UserPath

if TYPE_CHECKING:
    from objectives import ear
    from studies.callbacks import terminal as display
    from studies.report import clips_page
    from studies.run import data, heard_corpus, recordings, tacotron2
else:
    ear, recordings = LazyModule("objectives.ear"), LazyModule("studies.run.recordings")
    clips_page = LazyModule("studies.report.clips_page")
    heard_corpus = LazyModule("studies.run.heard_corpus")
    data, tacotron2 = LazyModule("studies.run.data"), LazyModule("studies.run.tacotron2")
    display = LazyModule("studies.callbacks.terminal")

RECOGNIZER = click.option(
    "--recognizer", default="base", show_default=True, help="A Whisper model, or the folder of one."
)


@click.group()
def data_group() -> None:
    """Check, mend or make a corpus of recordings, or fetch one."""


def checked_as(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say as what a corpus is checked."""
    for option in (
        click.option("--resample-from", type=click.IntRange(min=1), help="The recordings' rate, if another."),
        click.option("--language", type=click.Choice(["en", "ru"]), help="Default: en."),
        click.option("--study", help="Check as this study would: its limits, frames a step, language, rate."),
    ):
        command = option(command)
    return command


def _ear(recognizer: str, language: str) -> "ear.Ear":
    return ear.Ear(ear.recognizer_of(recognizer) or recognizer, language)


def _as_wished(
    study: str | None, language: str | None, resample_from: int | None
) -> tuple[CorpusSettings, Spec | None]:
    """As what a corpus is checked, and the study that says it, if one does."""
    if not study:
        return data.usual_settings(language or "en", resample_from), None
    if language or resample_from:
        raise click.UsageError("--language and --resample-from stand in the file of --study.")
    spec = load(study)
    return spec.voice.corpus_settings(), spec


@data_group.command("check")
@click.argument("folder", type=UserPath())
@click.option(
    "--listen",
    type=click.IntRange(min=1),
    metavar="CLIPS",
    help="Hear so many of the clips, too, spread over all: do they say their texts, in one voice?",
)
@RECOGNIZER
@checked_as
@click.pass_obj
def data_check(
    place: Place,
    folder: Path,
    listen: int | None,
    recognizer: str,
    study: str | None,
    language: str | None,
    resample_from: int | None,
) -> None:
    """Read every row and clip of FOLDER (metadata.csv, wavs/) and list what training would refuse."""
    settings, spec = _as_wished(study, language, resample_from)
    with display.Terminal(place.console) as terminal:
        found = check(folder, settings, lambda done, total: terminal.progress("checking clips", done, total))
    place.workdir.mkdir(parents=True, exist_ok=True)
    listing = place.workdir / f"{folder.resolve().name}-check.txt"  # NAME-problems.txt is a study's
    data.write_listing(found, listing)
    for line in data.described(found, listing):
        click.echo(line)
    if spec is None:
        frames = settings.n_frames_per_step
        click.echo(f"Checked as for a small voice, up to {frames} frames a step. For another: --study.")
    if found.refusal:
        raise data.listed(DataError(found.refusal, found), listing)
    if spec is not None:
        tacotron2.check_sample_text(spec, found, settings.front_end(folder))
    if listen:
        hears = _ear(recognizer, settings.language)
        with display.Terminal(place.console) as terminal:
            heard = heard_corpus.hear(found, settings, hears, listen, terminal.progress)
        for line in heard.told():
            click.echo(line)
        if notes := tuple(heard.notes()):
            data.write_listing(replace(found, notes=(*found.notes, *notes)), listing)
            click.echo(f"All of them: {listing}")
        if heard.refusal:
            raise DataError(heard.refusal, found)


@data_group.command("fix")
@click.argument("folder", type=UserPath(exists=True, file_okay=False))
@click.option("--leave-out", is_flag=True, help="Take out the rows, too, with which anything else is wrong.")
@click.option(
    "--take-out",
    type=UserPath(exists=True, dir_okay=False),
    metavar="LISTING",
    help="Take out the clips that LISTING names, as data check wrote it; delete the lines of those to keep.",
)
@checked_as
@click.pass_obj
def data_fix(
    place: Place,
    folder: Path,
    leave_out: bool,
    take_out: Path | None,
    study: str | None,
    language: str | None,
    resample_from: int | None,
) -> None:
    """Put the right letters into FOLDER's metadata.csv where look-alikes of another alphabet stand, and take
    out invisible characters; the file as it was is kept beside it."""
    settings, _ = _as_wished(study, language, resample_from)
    with display.Terminal(place.console) as terminal:
        done = mend(
            folder,
            settings,
            leave_out,
            lambda n, total: terminal.progress("checking clips", n, total),
            None if take_out is None else take_out.read_text("utf-8-sig", "replace"),
        )
    for change in done.changes:
        mends = ", ".join(
            f"{named(a)} to {named(b)}" if b else f"{named(a)} out" for a, b in change.mends.items()
        )
        click.echo(f"line {change.line}: {mends}")
    for problem in done.left_out:
        click.echo(f"{problem}: taken out")
    if done.kept_as is None:
        click.echo("Nothing was to be mended.")
    else:
        lines = f"{len(done.changes)} lines were mended, {len({p.line for p in done.left_out})} taken out."
        click.echo(f"{lines} The file as it was: {done.kept_as}")


@data_group.command("make")
@click.argument("source", type=UserPath(exists=True))
@click.option("-o", "--output", type=UserPath(file_okay=False), required=True, help="The corpus' folder.")
@click.option(
    "--script",
    type=UserPath(exists=True, dir_okay=False),
    help="What is read in SOURCE (.txt, .srt, .vtt); default: the file of its name beside it.",
)
@click.option("--language", type=click.Choice(["en", "ru"]), default="en", show_default=True)
@click.option(
    "--longest", type=click.FloatRange(2, 30), default=LONGEST, show_default=True, help="Seconds of a clip."
)
@click.option(
    "--most-errors",
    type=click.FloatRange(0, 100),
    default=MOST_ERRORS,
    show_default=True,
    help="A clip is left out of which more letters in 100 are heard otherwise than written.",
)
@click.option("--denoise", is_flag=True, help="Take out the steady noise that is heard in the pauses.")
@RECOGNIZER
@click.pass_obj
def data_make(
    place: Place,
    source: Path,
    output: Path,
    script: Path | None,
    language: str,
    longest: float,
    most_errors: float,
    denoise: bool,
    recognizer: str,
) -> None:
    """Cut SOURCE, a long recording or a folder of them, into a corpus to train on.

    Each is aligned with its script, cut at pauses, evened in loudness, and every clip is heard once more. A
    recording without a script gets what was heard as its texts: drafts, to be read.
    """
    hears = _ear(recognizer, language)
    found = recordings.recordings_of(source, script)
    making = recordings.Making(longest=longest, most_errors=most_errors, denoises=denoise)
    with display.Terminal(place.console) as terminal:
        rows = recordings.make(found, output, hears, making, terminal.progress)
    drafts = any(text is None for _, text in found)
    page = output / "clips.html"
    page.write_text(clips_page.page(rows, output, drafts), "utf-8")
    for line in recordings.told(rows, output):
        click.echo(line)
    if drafts:
        click.echo("Texts without a script are drafts: read them before you train on them.")
    click.echo(f"Listen through them: {page}")
    click.echo(f"Next: run_study.py data check {output} --language {language}")


@data_group.command("prepare")
@click.argument("corpus", type=click.Choice(["festvox-ru"]))
@click.pass_obj
def data_prepare(place: Place, corpus: str) -> None:
    """Fetch CORPUS and lay it out for training."""
    with display.Terminal(place.console) as terminal:
        click.echo(data.prepare_festvox_ru(place.workdir, terminal.progress))
