"""Turn written English or Russian into symbol ids, refusing whatever would be lost.

A front end reads letters, or the phonemes that espeak-ng makes of them. Version 1 knows numbers as they are
counted. Version 2 puts a text into the words that are spoken, and marks the stress of Russian ones, as far as
the front end was made to; a voice keeps what it was trained with.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache
from string import ascii_lowercase
from threading import Lock
from types import MappingProxyType

from num2words import num2words

from model.extras import NotInstalled
from model.speech import english, russian, stress
from model.speech.espeak import VOICES, EspeakError, EspeakVoice
from model.speech.lexicon import Lexicon
from model.speech.stress import ACUTE, RUSSIAN_LETTERS, RUSSIAN_VOWELS, STRESS

PADDING = "_"
END = "~"
PUNCTUATION = " !\"'(),-.:;?"
PHONEMES = "abdefhijklmnoprstuvwxyzæçðŋɐɑɔɕəɚɛɜɡɪɬɭɵɹɾʃʉʊʌʑʒʔθᵻ"  # that espeak-ng gives for both languages
MARKS = "ˈˌːʲ\u0329"  # of stress, length, palatal and syllabic consonants
LETTERS, PHONEME_INPUT = "letters", "phonemes"  # what a front end reads

# A checkpoint is only read by its own rules: when they change, a version is added, and the old rules stay.
VERSIONS = {"en": (1, 2), "ru": (1, 2)}
INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # which version 2 drops
ENGLISH_RULES = "rules 2"  # what puts English texts into words
VARIANTS = {
    **dict.fromkeys("«»„“”‟", '"'),
    **dict.fromkeys("’‘ʼ", "'"),
    **dict.fromkeys("‐‑‒–—―", "-"),
    "…": "...",
}

# Digits that are not surely one number (007, 1.2.3, 5th, over 15 digits) stay digits, and so are refused.
# Thousands are grouped by commas in English, by spaces in Russian.
_NUMBER = (
    r"(?<!\w)(?P<whole>[1-9][0-9]{0,2}(?:GROUP[0-9]{3}){1,4}|0|[1-9][0-9]{0,14})"
    r"(?:[.,](?P<fraction>[0-9]{1,6}))?(?!\w)(?![.,][0-9])"
)
_NUMBERS = {
    "en": re.compile(_NUMBER.replace("GROUP", ",")),
    "ru": re.compile(_NUMBER.replace("GROUP", "[ \u00a0\u202f]")),
}
# Letters that look like one of the other alphabet, in small or as capitals; texts are met in small letters.
_LATIN, _CYRILLIC = "aceopxykmthb\u00eb", "асеорхукмтнвё"
LOOK_ALIKES = {
    "en": dict(zip(_CYRILLIC + "іјѕ", _LATIN + "ijs", strict=True)),
    "ru": dict(zip(_LATIN, _CYRILLIC, strict=True)),
}
REMOVE, WRITE_OUT = "remove", "write out"
GIVEN = re.compile(r"(\[\[[^\[\]\ue000]*\]\])")  # phonemes by hand, such as [[həlˈoʊ]]
_HELD = "\ue000"  # in the place of those, for private use, while the rest is normalised
_WORDS = re.compile(r"[\w+]+(?:['\- ][\w+]+)*")  # between punctuation
RUSSIAN_VOWEL_PHONEMES = re.compile("[aeiouyɑɔɛɪɵʉʌ]")
_STRESSED = dict(zip(RUSSIAN_VOWELS, "ɑeɵiouyɛuɑ", strict=True))
_UNSTRESSED = {"ɑ": "ʌ", "o": "ʌ", "e": "i", "ɛ": "i", "ɵ": "i"}
_LEXICAL = re.compile(r"\w+(?:['-]\w+)*")  # as lexicons write words
_ACUTE_VOWEL = re.compile(rf"\+?([{RUSSIAN_VOWELS}]){ACUTE}")
_STRAY_STRESS = re.compile(rf"\S*(?:\+(?![{RUSSIAN_VOWELS}])|{ACUTE})\S*")


class TextError(ValueError):
    """Text that cannot be encoded; `characters` counts the unknown ones, if those are the reason."""

    def __init__(self, message: str, characters: Mapping[str, int] = MappingProxyType({})) -> None:
        super().__init__(message)
        self.characters = dict(characters)


@dataclass(frozen=True)
class FrontEnd:
    """The ordered symbols of one language; the index of a symbol is its id, 0 pads.

    One rebuilt from a checkpoint encodes with the checkpoint's symbols. Raises TextError for a
    name or version whose rules this code does not have.

    Args:
        espeak: the version of espeak-ng whose phonemes are the symbols; empty: letters are.
        words: what puts texts into the words that are spoken, with its version; empty: numbers are counted.
        stress: what marks the stress of Russian words, with its version; empty: only hand and lexicon do.
        lexicon: the user's own readings of words, all of them.
    """

    name: str
    version: int
    symbols: tuple[str, ...]
    espeak: str = ""
    words: str = ""
    stress: str = ""
    lexicon: Lexicon = ()

    def __post_init__(self) -> None:
        if self.version not in VERSIONS.get(self.name, ()):
            known = ", ".join(f"{name} {version}" for name in VERSIONS for version in VERSIONS[name])
            raise TextError(f"front end {self.name!r} version {self.version} is unknown; known: {known}")
        single = all(len(symbol) == 1 for symbol in self.symbols)
        if not single or len(set(self.symbols)) < len(self.symbols):
            raise TextError(f"symbols of a front end are distinct single characters, not {self.symbols}")
        if self.symbols[:1] != (PADDING,) or END not in self.symbols:
            raise TextError(
                f"the first symbol must be {PADDING!r}, and {END!r} among the rest: {self.symbols}"
            )

    def normalise(self, text: str) -> str:
        """Text as it is spoken: NFC, numbers as words, lower case, plain punctuation, stress before vowels.

        Unknown characters are kept, and phonemes that were given by hand. Stress is that of marks by hand.
        Raises TextError for a stress mark that belongs to no vowel, and where what the front end reads with
        is not installed.
        """
        if self.espeak and (given := GIVEN.findall(text)):
            held, each = self.normalise(GIVEN.sub(_HELD, text)), iter(given)
            return re.sub(_HELD, lambda found: next(each, found.group()), held)
        plain = self._plain(text)
        if self.name == "ru" and (stray := _STRAY_STRESS.search(plain)):
            raise TextError(
                f"stress mark without its vowel in {stray.group()!r}: "
                f"write {STRESS!r} before a vowel ({RUSSIAN_VOWELS}) or U+0301 after it"
            )
        return plain

    def encode(self, text: str) -> list[int]:
        """Ids of the normalised text and of the end symbol; raises TextError rather than drop anything."""
        if unknown := self.unknown(text):
            raise TextError(self._unknown_message(text, unknown), unknown)
        read = self.read(text)
        if not any(character.isalpha() and character not in MARKS for character in read):
            raise TextError(f"the text is empty: {text!r} has no letters or numbers to speak")
        ids = {symbol: index for index, symbol in enumerate(self.symbols)}
        if strange := Counter(symbol for symbol in read if symbol not in ids):
            raise TextError(
                f"{text!r} is read {read!r}, where {', '.join(strange)} is no phoneme of this front end; "
                f"it knows {''.join(self.symbols[2:])!r}: give other phonemes by hand, as in [[həlˈoʊ]]",
                strange,
            )
        return [ids[character] for character in read + END]

    def read(self, text: str) -> str:
        """The symbols of a text without unknown characters: normalised letters with stress, or phonemes.

        Phonemes may be given by hand, between [[ and ]]. Raises TextError where espeak-ng is not installed.
        """
        normalised = self.stressed(self.normalise(text))
        if not self.espeak:
            return normalised
        parts = (
            part[2:-2] if GIVEN.fullmatch(part) else _WORDS.sub(self._in_phonemes, part)
            for part in GIVEN.split(normalised)
        )
        return " ".join("".join(parts).split())

    def stressed(self, normalised: str) -> str:
        """A normalised text with the stress of its words, as the front end knows it. Raises TextError."""
        if self.name != "ru" or not (self.stress or self.lexicon):
            return normalised
        lexicon = dict(self.lexicon)
        try:
            parts = (
                part if GIVEN.fullmatch(part) else stress.marked(part, lexicon, bool(self.stress))
                for part in GIVEN.split(normalised)
            )
            return "".join(parts)
        except NotInstalled as error:
            raise TextError(f"Stress cannot be marked: {error}") from error

    def steps(self, text: str) -> list[tuple[str, str, str]]:
        """Each step of reading a text: its name, what does it, and what comes of it. Raises TextError."""
        self.encode(text)
        words = self.normalise(text)
        found = [("written", "", text), ("in words", self.words or "counting", words)]
        marks = [self.stress] if self.stress else []
        marks += ["lexicon"] if self.lexicon else []
        if marks and self.name == "ru":
            found.append(("with stress", ", ".join(marks), self.stressed(words)))
        if self.espeak:
            found.append(("phonemes", f"espeak-ng {self.espeak}", self.read(text)))
        return found

    def dropped(self, text: str) -> dict[str, int]:
        """Invisible characters that are passed over, counted."""
        return dict(Counter(c for c in text if c in INVISIBLE)) if self.version > 1 else {}

    def otherwise(self) -> list[str]:
        """What reads for this front end here in another version than it was trained with, in words."""
        here = front_end_of(
            self.name,
            PHONEME_INPUT if self.espeak else LETTERS,
            in_words=bool(self.words),
            with_stress=bool(self.stress),
        )
        pairs = [(self.words, here.words), (self.stress, here.stress)]
        return [f"trained with {ours}, read with {theirs}" for ours, theirs in pairs if ours != theirs]

    def unknown(self, text: str) -> dict[str, int]:
        """Characters of the text that have no symbol, counted, in the order of their first appearance."""
        if self.espeak:
            return self._written.unknown(GIVEN.sub(" ", text))
        known = set(self.symbols) - {PADDING, END} | ({ACUTE} if self.name == "ru" else set())
        return dict(Counter(character for character in self._plain(text) if character not in known))

    def mends(self, text: str) -> dict[str, str]:
        """What to do about each unknown character: REMOVE, the letter that it looks like, or WRITE_OUT."""
        if self.espeak:
            return self._written.mends(GIVEN.sub(" ", text))
        mends = {c: REMOVE if _is_invisible(c) else WRITE_OUT for c in self.unknown(text)}
        alike = LOOK_ALIKES[self.name]
        words = [word for word in re.findall(r"\w+", self._plain(text)) if not mends.keys().isdisjoint(word)]
        has_foreign_words = any(
            c.isalpha() and c not in alike for word in words for c in mends.keys() & set(word)
        )
        for word in words:
            foreign = mends.keys() & set(word)
            is_mixed = any(letter in self.symbols for letter in word)
            if foreign <= alike.keys() and (is_mixed or not has_foreign_words):
                mends |= {letter: alike[letter] for letter in foreign if alike[letter] in self.symbols}
        return mends

    def in_words(self, text: str) -> str | None:
        """The normalised text, if rules put some of it into other words than are written.

        Version 1 knows numbers, and no grammar: in Russian every number is in the nominative and masculine,
        as in counting, and a year is no ordinal.
        """
        if self.words:
            normalised = self.normalise(text)
            return normalised if _heard_words(normalised) != _heard_words(text) else None
        has_numbers = _NUMBERS[self.name].search(unicodedata.normalize("NFC", text))
        return self.normalise(text) if has_numbers else None

    def spoken(self) -> frozenset[int]:
        """Ids of letters or phonemes: what is heard, unlike spaces, punctuation, marks, end and padding."""
        return frozenset(
            index for index, symbol in enumerate(self.symbols) if symbol.isalpha() and symbol not in MARKS
        )

    @property
    def _written(self) -> "FrontEnd":
        """The front end of the letters that become phonemes."""
        return replace(self, symbols=FRONT_ENDS[self.name].symbols, espeak="")

    def _in_phonemes(self, words: re.Match[str]) -> str:
        """Words without punctuation; espeak-ng knows nothing of stress marks in Russian."""
        written = words.group().split()
        found = _phonemes(self.name, words.group().replace(STRESS, "")).split()
        if STRESS not in words.group() or self.name != "ru":
            return " ".join(found)
        if len(found) != len(written):
            found = [_phonemes(self.name, word.replace(STRESS, "")) for word in written]
        if self.version > 1:
            return " ".join(map(self._with_all_stress, written, found))
        return " ".join(map(_with_stress, written, found))

    def _with_all_stress(self, word: str, phonemes: str) -> str:
        """A compound has a stress in each part."""
        if word.count(STRESS) < 2:
            return _with_stress(word, phonemes)
        parts = word.split("-")
        return "".join(_with_stress(p, _phonemes(self.name, p.replace(STRESS, ""))) for p in parts)

    def _spoken(self, text: str) -> str:
        """The text in the words that are spoken, with marks by hand; version 1 knows numbers only."""
        if self.version == 1:
            return text
        text = unicodedata.normalize("NFC", text.translate(dict.fromkeys(map(ord, INVISIBLE))))
        if self.lexicon:
            lexicon, ours = dict(self.lexicon), RUSSIAN_LETTERS if self.name == "ru" else ""
            text = _LEXICAL.sub(lambda word: _foreign(word.group(), lexicon, ours), text)
        try:
            return _in_words(self.name, text) if self.words else text
        except NotInstalled as error:
            raise TextError(f"The text cannot be put into words: {error}") from error

    def _plain(self, text: str) -> str:
        text = self._spoken(unicodedata.normalize("NFC", text))
        text = _NUMBERS[self.name].sub(self._number_in_words, text).lower()
        # A variant is only replaced by what this front end knows: an error names what was written.
        text = text.translate(
            {ord(variant): plain for variant, plain in VARIANTS.items() if plain[0] in self.symbols}
        )
        if self.name == "ru":
            text = _ACUTE_VOWEL.sub(rf"{STRESS}\1", text)
        return " ".join(text.split())

    def _number_in_words(self, number: re.Match[str]) -> str:
        whole, fraction = re.sub("[^0-9]", "", number["whole"]), number["fraction"]
        if fraction is None:
            return str(num2words(int(whole), lang=self.name))
        if self.name == "en":  # digit by digit, since num2words drops the last zeros of 2.50
            return " ".join([num2words(int(whole)), "point", *(num2words(int(digit)) for digit in fraction)])
        return str(num2words(Decimal(f"{whole}.{fraction}"), lang=self.name))

    def _unknown_message(self, text: str, unknown: Mapping[str, int]) -> str:
        named = ", ".join(
            f"{character!r} (U+{ord(character):04X} {unicodedata.name(character, 'unnamed')}) {count} x"
            for character, count in unknown.items()
        )
        written = FRONT_ENDS[self.name].symbols if self.espeak else self.symbols
        known = "".join(symbol for symbol in written if symbol not in (PADDING, END))
        mends = advice(self.mends(text), "choose the front end of the text's language")
        return f"front end {self.name!r} has no symbol for {named} in {text!r}; it knows {known!r}: {mends}"


def _is_invisible(character: str) -> bool:
    """Formats and controls, such as a zero-width space, a soft hyphen or an inner byte order mark."""
    return unicodedata.category(character) in ("Cf", "Cc") or "VARIATION SELECTOR" in unicodedata.name(
        character, ""
    )


def advice(mends: Mapping[str, str], otherwise: str) -> str:
    """What to do about characters, as `FrontEnd.mends` has it, in words."""
    invisible = [f"U+{ord(c):04X} ({unicodedata.name(c, 'unnamed')})" for c in mends if mends[c] == REMOVE]
    alike = [
        f"{c!r} (U+{ord(c):04X}) looks like {like!r} (U+{ord(like):04X})"
        for c, like in mends.items()
        if len(like) == 1
    ]
    parts = [f"remove {', '.join(invisible)}"] if invisible else []
    parts += [f"write the right letters: {', '.join(alike)}"] if alike else []
    if WRITE_OUT in mends.values():
        parts.append(f"write {'the others' if parts else 'these'} out in words, or {otherwise}")
    return "; ".join(parts)


FRONT_ENDS = {
    "en": FrontEnd("en", 1, (PADDING, END, *PUNCTUATION, *ascii_lowercase)),
    "ru": FrontEnd("ru", 1, (PADDING, END, *PUNCTUATION, STRESS, *RUSSIAN_LETTERS)),
}


def front_end_of(
    language: str, read: str, in_words: bool = False, with_stress: bool = False, lexicon: Lexicon = ()
) -> FrontEnd:
    """The front end of a language: of version 1, unless it is to do more than that knows.

    Raises TextError where something that it reads with is not installed, or the lexicon has readings that the
    language has no letters for.

    Args:
        read: LETTERS or PHONEME_INPUT.
        in_words: whether texts are put into the words that are spoken.
        with_stress: whether the stress of Russian words is marked.
    """
    found = FRONT_ENDS[language]
    if in_words or with_stress or lexicon:
        try:
            words = (russian.installed() if language == "ru" else ENGLISH_RULES) if in_words else ""
            marks = stress.installed() if with_stress and language == "ru" else ""
        except NotInstalled as error:
            raise TextError(
                f"The texts cannot be read: {error}\n"
                "Or do without, in [corpus] of the study file: normalise = false, stress = false"
            ) from error
        found = FrontEnd(language, VERSIONS[language][-1], found.symbols, "", words, marks, lexicon)
    for word, reading in lexicon:
        plain = replace(found, words="", stress="", lexicon=())
        if unknown := plain.unknown(reading):
            raise TextError(plain._unknown_message(f"{word}\t{reading}", unknown))
        plain.normalise(reading)
    if read == LETTERS:
        return found
    symbols = (PADDING, END, *PUNCTUATION, *MARKS, *PHONEMES)
    return replace(found, symbols=symbols, espeak=_espeak(language).version)


@lru_cache(1 << 16)  # a corpus is read more than once
def _in_words(language: str, text: str) -> str:
    return russian.spoken(text) if language == "ru" else english.spoken(text)


def _foreign(word: str, lexicon: Mapping[str, str], ours: str) -> str:
    """The reading of a word that no rule for the language's own letters (`ours`) will meet."""
    small = word.lower()
    is_ours = bool(ours) and all(c in ours or not c.isalpha() for c in small)
    return word if is_ours else lexicon.get(small, word)


def _heard_words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFC", text.translate(dict.fromkeys(map(ord, INVISIBLE))))
    return re.findall(r"\w+", plain.replace(STRESS, "").replace(ACUTE, "").lower())


def _phonemes(language: str, words: str) -> str:
    espeak = _espeak(language)
    with _ONE_AT_A_TIME:
        return espeak.phonemes(words)


@lru_cache
def _espeak(language: str) -> EspeakVoice:
    try:
        return EspeakVoice(VOICES[language])
    except EspeakError as error:
        raise TextError(f"Phonemes cannot be read: {error}") from error


_ONE_AT_A_TIME = Lock()  # espeak-ng is not made for threads


def _with_stress(word: str, phonemes: str) -> str:
    """A Russian word's phonemes with the stress where the word has its mark, if it is known which vowel is
    which; a vowel that loses its stress is reduced."""
    before, mark, rest = word.partition(STRESS)
    plain = phonemes.replace("ˈ", "").replace("ˌ", "")
    vowels = [vowel.start() for vowel in RUSSIAN_VOWEL_PHONEMES.finditer(plain)]
    if not mark or len(vowels) != sum(letter in RUSSIAN_VOWELS for letter in word):
        return phonemes
    wanted = vowels[sum(letter in RUSSIAN_VOWELS for letter in before)]
    unstressed = len(RUSSIAN_VOWEL_PHONEMES.findall(phonemes.partition("ˈ")[0]))
    found = list(plain)
    if "ˈ" in phonemes and unstressed < len(vowels) and vowels[unstressed] != wanted:
        found[vowels[unstressed]] = _UNSTRESSED.get(plain[vowels[unstressed]], plain[vowels[unstressed]])
        found[wanted] = _STRESSED[rest[0]]
    return "".join(found[:wanted]) + "ˈ" + "".join(found[wanted:])
