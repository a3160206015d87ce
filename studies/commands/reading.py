"""The verb that shows how a text is read, step by step, before anything is trained or spoken."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from model.data.preflight import CorpusSettings
from model.speech.text import LETTERS, PHONEME_INPUT, FrontEnd
from smart_tuner.lazy import LazyModule
from studies.commands.place import FORMATS, Place
from studies.commands.voice import TakesText
from studies.report.outputs import UserPath
from studies.report.summary import formatted

if TYPE_CHECKING:
    from studies.report import voices
else:
    voices = LazyModule("studies.report.voices")


@click.command(cls=TakesText)
@click.argument("text")
@click.option("--language", type=click.Choice(["en", "ru"]), help="Default: en.")
@click.option("--phonemes", is_flag=True, help="Down to the phonemes, by espeak-ng.")
@click.option("--lexicon", type=UserPath(), help="Your own readings: lines of a word, a tab and its reading.")
@click.option("--study", help="As the best voice of this study reads it, with what it was trained with.")
@click.option("--trial", type=click.IntRange(min=0), help="As the voice of another trial of --study.")
@FORMATS
@click.pass_obj
def read(
    place: Place,
    text: str,
    language: str | None,
    phonemes: bool,
    lexicon: Path | None,
    study: str | None,
    trial: int | None,
    form: str,
) -> None:
    """How TEXT is read, step by step: in words, with stress, as phonemes."""
    if study is None and trial is not None:
        raise click.UsageError("--trial is of a study: name it with --study.")
    if study is not None and (language or phonemes or lexicon):
        raise click.UsageError("--study has its own language, input and lexicon: leave the others out.")
    front_end = _of_voice(place, study, trial) if study else _of(language or "en", phonemes, lexicon)
    steps = [{"step": step, "by": by, "text": read} for step, by, read in front_end.steps(text)]
    click.echo(formatted(steps, form))
    if dropped := front_end.dropped(text):
        click.echo(f"Invisible characters that are dropped: {sum(dropped.values())}", err=True)
    for told in front_end.otherwise():
        click.echo(told, err=True)


def _of(language: str, phonemes: bool, lexicon: Path | None) -> FrontEnd:
    settings = CorpusSettings(
        language, PHONEME_INPUT if phonemes else LETTERS, lexicon=None if lexicon is None else str(lexicon)
    )
    return settings.front_end(Path())


def _of_voice(place: Place, name: str, trial: int | None) -> FrontEnd:
    study = place.study(name, looking=True)[0]
    return voices.voice_of(study, trial, place.folder(name), "cpu", place.store())[1].front_end
