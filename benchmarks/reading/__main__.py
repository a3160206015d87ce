"""How many lines are read rightly, by category, and with --labels how many words have their stress.

`--labels` is the voice's folder in Debian's package festvox-ru, with etc/ and lab/: they tell the stress.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from model.data.corpora.festvox_ru import VOWEL_PHONES, read_labels, read_prompts
from model.speech.espeak import VOICES, EspeakVoice
from model.speech.stress import RUSSIAN_VOWELS, STRESS
from model.speech.text import LETTERS, RUSSIAN_VOWEL_PHONEMES, FrontEnd, TextError, front_end_of
from studies.report.summary import rendered

LINES = {"ru": "russian.tsv", "en": "english.tsv"}
STRESSED = frozenset(phone for phone in VOWEL_PHONES if len(phone) == 2 and phone[0] == phone[1])
SAME = (  # said in both ways
    (r"\bодн\w+ (?=тысяч|миллион)", ""),
    (r"(?<=hundred) and (?=\w)|(?<=thousand) and (?=\w)|(?<=million) and (?=\w)", " "),
)

Counts = Counter[tuple[str, str]]


def plain(text: str) -> str:
    """Words alone: no case, punctuation, marks or ё, which is the stress's matter."""
    text = text.lower().replace("ё", "е").replace(STRESS, "")
    text = " ".join(re.sub(r"[^\w']+", " ", text).split())
    for pattern, one in SAME:
        text = re.sub(pattern, one, text)
    return text


def is_right(front_end: FrontEnd, text: str, readings: str) -> bool:
    """A text that is refused is not read."""
    try:
        front_end.encode(text)
    except TextError:
        return False
    for pattern, one in SAME[:1]:
        readings = re.sub(pattern, one, readings)
    return re.fullmatch(readings, plain(front_end.normalise(text))) is not None


def lines(language: str) -> Iterator[tuple[str, str, str, str]]:
    """Which half a line is of, its category, text and readings."""
    path = Path(__file__).parent / LINES[language]
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        category, text, readings = line.split("\t")
        yield ("seen" if number % 2 else "held out"), category, text, readings


def compared(language: str, wrong: Callable[[str], None]) -> str:
    sides = {"version 1": front_end_of(language, LETTERS), "version 2": front_end_of(language, LETTERS, True)}
    right, all_ = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    categories = {category: None for _, category, _, _ in lines(language)}
    for half, category, text, readings in lines(language):
        for group in (category, "all"):
            all_[half, group] += 1
        for side, front_end in sides.items():
            found = is_right(front_end, text, readings)
            for group in (category, "all"):
                right[side, half, group] += found
            if not found and side == "version 2":
                wrong(f"{half}, {category}: {text}\n  wanted {readings}\n  read   {_read(front_end, text)}")
    halves = ("seen", "held out")
    names = [language, *(f"{side}, {half}" for half in halves for side in sides)]
    rows = [
        [group, *(f"{right[side, half, group]} of {all_[half, group]}" for half in halves for side in sides)]
        for group in (*categories, "all")
    ]
    return rendered(names, rows)


def _read(front_end: FrontEnd, text: str) -> str:
    return plain(front_end.normalise(text))


def labelled(folder: Path) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Each text without marks, and its words of two or more syllables with the one that is stressed, from 0.

    Every vowel letter is one vowel phone; texts in which they are not as many are left out.
    """
    for name, text in read_prompts(folder / "etc" / "txt.done.data").items():
        phones = [p.name for p in read_labels(folder / "lab" / f"{name}.lab") if p.name in VOWEL_PHONES]
        bare = text.replace(STRESS, "")
        if len(phones) != sum(letter in RUSSIAN_VOWELS for letter in bare.lower()):
            continue
        spoken, words = iter(phones), []
        for word in re.findall(r"\w+", bare.lower()):
            vowels = [next(spoken) in STRESSED for letter in word if letter in RUSSIAN_VOWELS]
            words.append((word, vowels.index(True) if len(vowels) > 1 and sum(vowels) == 1 else -1))
        yield bare, words


def stresses(folder: Path) -> str:
    """A table of how many words have their stress where the labels have it."""
    espeak = EspeakVoice(VOICES["ru"])
    ours = front_end_of("ru", LETTERS, with_stress=True)
    right, words = Counter[str](), 0
    for text, wanted in labelled(folder):
        marked = re.findall(rf"[\w{STRESS}]+", ours.read(text))
        for mark, (word, place) in zip(marked, wanted, strict=True):
            if place < 0:
                continue
            words += 1
            right["silero-stress"] += mark.count(STRESS) == 1 and _vowels(mark.partition(STRESS)[0]) == place
            phonemes = espeak.phonemes(word)
            before = len(RUSSIAN_VOWEL_PHONEMES.findall(phonemes.partition("ˈ")[0]))
            right["espeak-ng"] += "ˈ" in phonemes and before == place
    rows = [[side, f"{count} of {words}", f"{count / words:.1%}"] for side, count in right.items()]
    return rendered(["stress", "words", "share"], rows)


def _vowels(letters: str) -> int:
    return sum(letter in RUSSIAN_VOWELS for letter in letters)


@click.command(help=__doc__)
@click.option("--labels", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--wrong", is_flag=True, help="Show what version 2 reads otherwise.")
def main(labels: Path | None, wrong: bool) -> None:
    for language in LINES:
        click.echo(compared(language, click.echo if wrong else lambda line: None))
    if labels is not None:
        click.echo(stresses(labels))


if __name__ == "__main__":
    main()
