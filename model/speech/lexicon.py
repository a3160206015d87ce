"""A user's own dictionary of readings: a file of lines `word TAB reading`."""

import re
import unicodedata
from pathlib import Path

from model.speech.stress import ACUTE, STRESS

LEXICON = "lexicon.tsv"  # beside metadata.csv, where the study names no other

Lexicon = tuple[tuple[str, str], ...]  # words in small letters with their readings, in the order of words


class LexiconError(ValueError):
    """A lexicon that cannot be used: what, why and what to do, a line each."""


def read_lexicon(path: Path) -> Lexicon:
    """The lexicon in a file (UTF-8); blank lines and those that begin with # say nothing.

    Raises LexiconError.
    """
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LexiconError(
            f"Cannot read the lexicon {path}.\n{error}\nWrite it as UTF-8, or take `lexicon` out of [corpus]."
        ) from error
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        word, _, reading = unicodedata.normalize("NFC", line.lower()).partition("\t")
        word, reading = word.strip(), _with_plus(reading.strip())
        if why := _fault(word, reading, found):
            raise LexiconError(
                f"Cannot use the lexicon {path}.\nLine {number}: {why}.\n"
                f"Write a word, a tab and its reading, in Russian with {STRESS} before the stressed vowel."
            )
        found[word] = reading
    return tuple(sorted(found.items()))


def _fault(word: str, reading: str, found: dict[str, str]) -> str | None:
    if not reading:
        return "there is no tab with a reading after it"
    if not re.fullmatch(r"\w+(?:['-]\w+)*", word):
        return f"{word!r} is not one word"
    if found.get(word, reading) != reading:
        return f"{word!r} has two readings"
    return None


def _with_plus(reading: str) -> str:
    return re.sub(rf"\{STRESS}?(\w){ACUTE}", rf"{STRESS}\1", reading)
