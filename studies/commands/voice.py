"""Verbs for a trial's voice: let it speak, or copy it into a folder of its own."""

import re
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click
import optuna

from smart_tuner.lazy import LazyModule
from smart_tuner.store.attributes import AUTO
from studies.commands.place import Place
from studies.report import history, outputs
from studies.report import summary as report
from studies.report.outputs import PICTURES, SOUNDS, OutputFile, UserPath
from studies.run.study import stored_spec

if TYPE_CHECKING:
    from model.speech.voice import Speech, Voice
    from objectives import ear
    from studies.report import voices
    from studies.run import libraries, training
else:
    ear = LazyModule("objectives.ear")
    libraries = LazyModule("studies.run.libraries")
    training, voices = LazyModule("studies.run.training"), LazyModule("studies.report.voices")

OPTION = re.compile(r"-[A-Za-z]|--[A-Za-z][\w-]*(=.*)?|-o\S+", re.DOTALL)


class TakesText(click.Command):
    """A command whose text may begin with a dash: what has not the form of an option is none."""

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        with_value = {name for p in self.params if not getattr(p, "is_flag", True) for name in p.opts}
        options, others, rest = list[str](), list[str](), iter(arguments)
        for word in rest:
            if word == "--":
                others += rest
            elif OPTION.fullmatch(word):
                options += [word, *islice(rest, int(word in with_value))]
            else:
                others.append(word)
        return super().parse_args(context, [*options, "--", *others])


def _heard(place: Place, name: str, trial: int | None) -> optuna.Study:
    """The study whose voice is wanted; where the best has none, it is said which is taken in its place."""
    study = place.study(name, looking=True)[0]
    if trial is None and (note := report.untrained(study)) and history.best_trial(study):
        click.echo(note, err=True)
    return study


@click.command(cls=TakesText)
@click.argument("name")
@click.argument("text")
@click.option("--trial", type=click.IntRange(min=0), help="Default: the best one.")
@click.option(
    "-o",
    "--output",
    type=OutputFile(SOUNDS),
    default="out.wav",
    show_default=True,
    help=f"A file that ends with {', '.join(SOUNDS)}; - is stdout, as WAV.",
)
@click.option("--picture", type=OutputFile(PICTURES, allow_dash=False), help="The alignment, as PNG.")
@click.option("--check", is_flag=True, help="Listen to it; what is not understood is spoken again.")
@click.option(
    "--device",
    default=AUTO,
    show_default=True,
    help="A torch device, such as cpu; auto: a GPU if there is one.",
)
@click.pass_obj
def speak(
    place: Place,
    name: str,
    text: str,
    trial: int | None,
    output: Path,
    picture: Path | None,
    check: bool,
    device: str,
) -> None:
    """Let a voice of study NAME say TEXT."""
    device = training.usable_device(device)
    study = _heard(place, name, trial)
    libraries.choose(place.workdir)
    number, voice = voices.voice_of(study, trial, place.folder(name), device, place.store())
    speech, told = _listened(voice, study, text, device) if check else (voice.speak(text), None)
    outputs.write(output, voices.encoded(voice, speech, output.suffix.lower() or ".wav"))
    if picture is not None:
        voices.draw(voice, speech, text, picture, f"{text}\n{name}, trial {number}")
    to_stdout = output == outputs.STDOUT
    for written in (None if to_stdout else output, picture):
        if written is not None:
            click.echo(written, err=to_stdout)
    click.echo(f"Sound: {voice.sounds_by}.", err=True)
    if told:
        click.echo(told, err=True)
    if words := voice.front_end.in_words(text):
        click.echo(f"Spoken by rule: {words}", err=True)
    for otherwise in voice.front_end.otherwise():
        click.echo(otherwise, err=True)
    if voice.front_end.espeak:
        click.echo(f"Phonemes, by espeak-ng: {voice.front_end.read(text)}", err=True)
    if speech.stop == "limit":
        click.echo("The voice did not find its end and was cut at the step limit.", err=True)


def _listened(voice: "Voice", study: optuna.Study, text: str, device: str) -> tuple["Speech", str]:
    """The reading that is understood best, and what to say of it. Raises EarError."""
    recognizer = ear.recognizer_of(stored_spec(study).ear.recognizer)
    if recognizer is None:
        raise click.UsageError('--check needs a recognizer, and the study says [ear] recognizer = "none".')
    hears = ear.Ear(recognizer, voice.front_end.name, device)
    reading, readings = voices.checked(voice, text, hears)
    heard, wrong = reading.heard, reading.misreading
    lines = [f"Understood: {100 * (1 - heard.cer):.0f} of 100 letters: {heard.texts[0]}"]
    lines += [f"Words that were lost: {', '.join(wrong.lost)}"] if wrong.lost else []
    lines += [f"Words that were said twice: {', '.join(wrong.repeated)}"] if wrong.repeated else []
    lines += [f"It is the best of {readings} readings."] if readings > 1 else []
    return reading.speech, "\n".join(lines)


@click.command()
@click.argument("name")
@click.option("--trial", type=click.IntRange(min=0), help="Default: the best one.")
@click.option("-o", "--output", type=UserPath(), required=True, help="A new folder.")
@click.pass_obj
def export(place: Place, name: str, trial: int | None, output: Path) -> None:
    """Copy a trial's voice (weights, symbols, settings, scores) into a folder of its own."""
    click.echo(voices.export(_heard(place, name, trial), trial, place.folder(name), output, place.store()))
