"""Russian as it is spoken: numbers in their case and gender, dates, money and abbreviations in words.

ru-normalizr, which comes with the extra "russian", reads most of it; rules of our own read what it does not.
"""

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from importlib.metadata import version
from threading import Lock

from num2words import num2words

from model.extras import NotInstalled
from model.speech.stress import ACUTE, RUSSIAN_LETTERS, STRESS

PACKAGE = "ru-normalizr"

_LETTERS = RUSSIAN_LETTERS + RUSSIAN_LETTERS.upper()
_SIGNS = "№%‰°§$€₽£¥&@#/\\=*~±×÷−<>²³½⅓¼¾_"  # that are read, or stay and so are refused
# What the package is given: it drops some other characters, and joins or parts words in other letters.
_READABLE = re.compile(
    rf"(?:[\s0-9A-Za-z{_LETTERS}!\"'(),\-.:;?«»„“”‟’‘ʼ‐‑‒–—…+{ACUTE}{re.escape(_SIGNS)}])+"
)
_MIXED = re.compile(rf"\b(?=\w*[A-Za-z])(?=\w*[{_LETTERS}])[A-Za-z{_LETTERS}]+\b")  # which look-alikes make
_ALIKE = re.compile(r"(?<!°)\b(?!X{1,3}\b)[ACEOPXYKMTHBaceopxykmthb]+\b")  # looks Russian, and is no number
_PLAIN = re.compile(
    rf"(?:[{RUSSIAN_LETTERS}{STRESS}{ACUTE}\s!\"'(),\-:;?«»—–…]|[А-ЯЁ](?![А-ЯЁ])|\.(?=\s*$))*"
)
_HAND = re.compile(rf"[{_LETTERS}{STRESS}{ACUTE}]*[{STRESS}{ACUTE}][{_LETTERS}{STRESS}{ACUTE}]*[{_LETTERS}]?")
_WORD = re.compile(rf"[{_LETTERS}{STRESS}{ACUTE}]+")
_MONTHS = "января|февраля|марта|апреля|мая|июня|июля|августа|сентября|октября|ноября|декабря"
_ROMANS = ((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))
_NAMES_OF_LETTERS = dict(
    zip(
        "abcdefghijklmnopqrstuvwxyz",
        [
            "а",
            "бэ",
            "цэ",
            "дэ",
            "е",
            "эф",
            "гэ",
            "аш",
            "и",
            "йот",
            "ка",
            "эль",
            "эм",
            "эн",
            "о",
            "пэ",
            "ку",
            "эр",
            "эс",
            "тэ",
            "у",
            "вэ",
            "вэ",
            "икс",
            "игрек",
            "зет",
        ],
        strict=True,
    )
)
_SOUNDS = {  # of Latin letters in names, the longest first
    "sch": "ш",
    "shch": "щ",
    "sh": "ш",
    "ch": "ч",
    "zh": "ж",
    "kh": "х",
    "ts": "ц",
    "ya": "я",
    "yu": "ю",
    "yo": "ё",
    "ye": "е",
    "th": "т",
    "ph": "ф",
    "ck": "к",
    "oo": "у",
    "ee": "и",
    "x": "кс",
    "q": "к",
    **dict(zip("abcdefghijklmnoprstuvwyz", "абкдефгхижклмнопрстуввиз", strict=True)),
}
_KNOWN_LATIN = {
    "www": "вэ вэ вэ",
    "com": "ком",
    "mail": "мэйл",
    "gmail": "джимэйл",
    "google": "гугл",
    "youtube": "ютуб",
    "telegram": "телеграм",
    "linux": "линукс",
    "windows": "виндоус",
    "example": "экзампл",
    "facebook": "фейсбук",
    "whatsapp": "ватсап",
    "wikipedia": "википедия",
    "apple": "эппл",
    "yahoo": "яху",
    "twitter": "твиттер",
    "microsoft": "майкрософт",
    "vk": "вэ ка",
    "news": "ньюс",
    "net": "нет",
    "python": "пайтон",
}
_IN_ADDRESSES = {
    ".": "точка",
    "@": "собака",
    "/": "слэш",
    "-": "дефис",
    ":": "двоеточие",
    "_": "подчёркивание",
}
_ENDINGS = "ru|com|org|net|su|info|io|dev|edu|gov|de|fr|uk|kz|by|ua|me|tv|online|site"
_ABBREVIATIONS = {
    r"в т\.\s?ч\.": "в том числе",
    r"и пр\.(?=\s[а-яё]|,)": "и прочее",
    r"напр\.": "например",
    r"проф\.": "профессор",
    r"акад\.": "академик",
    r"тов\.": "товарищ",
    r"гр\.(?=\s?[А-ЯЁ])": "гражданин",
    r"им\.(?=\s?[А-ЯЁ])": "имени",
    r"корп\.(?=\s?[0-9])": "корпус",
    r"тел\.(?=\s?[+(0-9])": "телефон",
}
_GRAMS = re.compile(
    r"((?:пять|шесть|семь|восемь|девять|дцать|десят|сорок|сто|девяносто|двести|триста|четыреста|сот|тысячи?"
    r"|ноль)"
    r"ь? (?:кило|милли)?грамм)(?![а-яё])"
)

Match = re.Match[str]
_ONE_AT_A_TIME = Lock()


def installed() -> str:
    """The package with its version, as a front end keeps it. Raises NotInstalled."""
    _normalizer()
    return f"{PACKAGE} {version(PACKAGE)}"


def spoken(text: str) -> str:
    """The text with what is written short in words. Stress marks by hand stay on their words.

    Characters that nothing is known of stay as they are, and so does a word of both alphabets, or of Latin
    letters that all look Russian: it is hardly what was meant. Raises NotInstalled.
    """
    if _PLAIN.fullmatch(text):
        return text
    for pattern, said in _FOREIGN:
        text = pattern.sub(said, text)
    held = [*_MIXED.finditer(text), *_ALIKE.finditer(text)]
    places = sorted({place for word in held for place in range(*word.span())})
    masked = list(text)
    for place in places:
        masked[place] = "\ue000"  # nothing that is read
    parts, last = list[str](), 0
    for part in _READABLE.finditer("".join(masked)):
        parts += [text[last : part.start()], _read(part.group())]
        last = part.end()
    return "".join([*parts, text[last:]])


def _read(text: str) -> str:
    """A part that is all readable, with the space around it."""
    if not text.strip() or _PLAIN.fullmatch(text):
        return text
    before = text[: len(text) - len(text.lstrip())]
    after = text[len(text.rstrip()) :]
    return before + _with_marks(text.strip()) + after


def _with_marks(text: str) -> str:
    """The package knows no words with marks: they are taken off, and put on again where the word is found."""
    marked = [word.group() for word in _HAND.finditer(text) if _bare(word.group())]
    if not marked:
        return _by_rules(text)
    said = _by_rules(_HAND.sub(lambda word: _bare(word.group()) or word.group(), text))
    words, found = [w.group() for w in _WORD.finditer(text)], [w.group() for w in _WORD.finditer(said)]
    wanted = {_key(word) for word in marked}
    if any(Counter(map(_key, words))[word] != Counter(map(_key, found))[word] for word in wanted):
        pieces = re.split(f"({_HAND.pattern})", text)
        return "".join(piece if n % 2 else _read(piece) for n, piece in enumerate(pieces))
    written = {key: iter([word for word in words if _key(word) == key]) for key in wanted}
    return _WORD.sub(lambda word: next(written.get(_key(word.group()), iter([word.group()]))), said)


def _bare(word: str) -> str:
    return word.replace(STRESS, "").replace(ACUTE, "")


def _key(word: str) -> str:
    return _bare(word).lower()


def _by_rules(text: str) -> str:
    for pattern, said in _RULES:
        text = pattern.sub(said, text)
    return _GRAMS.sub(r"\1ов", _by_package(text))


def _by_package(text: str) -> str:
    normalizer = _normalizer()
    with _ONE_AT_A_TIME:
        return normalizer(text)


@lru_cache(1)
def _normalizer() -> Callable[[str], str]:
    try:
        from ru_normalizr import NormalizeOptions, Normalizer
    except ImportError as error:
        raise NotInstalled(PACKAGE, "russian") from error
    return Normalizer(
        NormalizeOptions.safe(
            enable_latinization=True,
            enable_letter_abbreviation_expansion=True,
            enable_math_normalization=True,
        )
    ).normalize


def _address(address: Match) -> str:
    """Without its scheme; letters that no vowel makes a word of are spelled."""
    written = re.sub(r"^https?://", "", address.group().lower())
    return " ".join(
        _IN_ADDRESSES.get(part) or _latin(part) for part in re.findall("[a-z]+|[0-9]+|.", written)
    )


def _latin(word: str) -> str:
    if word in _KNOWN_LATIN or not word.isalpha():
        return _KNOWN_LATIN.get(word, word)
    if not re.search("[aeiouy]", word):
        return " ".join(_NAMES_OF_LETTERS[letter] for letter in word)
    return re.sub(
        "|".join(sorted(_SOUNDS, key=len, reverse=True)), lambda sound: _SOUNDS[sound.group()], word
    )


def _century(century: Match) -> str:
    """As the package knows centuries: in Roman numerals."""
    number, said = int(century["number"]), ""
    for value, letters in _ROMANS:
        said += letters * (number // value)
        number %= value
    return said + century["rest"]


def _day(day: Match) -> str:
    """The day that it is, in the nominative."""
    return f"{day['today']} {num2words(int(day['day']), lang='ru', to='ordinal', gender='n')} {day['month']}"


def _lacking(number: Match) -> str:
    """The genitive; what ends in one is left, since it has a gender."""
    value = int(number["number"])
    if value % 10 == 1 and value % 100 != 11:
        return number.group()
    return f"{number['lacks']} {num2words(value, lang='ru', case='g')}"


def _anniversary(number: Match) -> str:
    said = _by_package(f"{number['number']}-летний")
    return said.removesuffix("летний") + number["word"]


def _rubles(sum_: Match) -> str:
    """The nominative: the package has it in the genitive after "цена"."""
    amount = f"{sum_['rubles']}.{sum_['kopecks']}"
    return str(num2words(amount, lang="ru", to="currency", currency="RUB", separator=""))


def _rule(pattern: str, said: Callable[[Match], str]) -> tuple[re.Pattern[str], Callable[[Match], str]]:
    return re.compile(pattern), said


def _constant(words: str) -> Callable[[Match], str]:
    return lambda found: words


_FOREIGN = [
    _rule(r"(?a:[\w.+-]+@[\w-]+(?:\.[\w-]+)+)", _address),
    _rule(r"(?a:\bhttps?://[\w-]+(?:\.[\w-]+)+(?:[/:][\w/.-]*\w)?)", _address),
    _rule(rf"(?a:\b(?:[a-zA-Z][\w-]*\.)+(?:{_ENDINGS})\b(?:/[\w/.-]*\w)?)", _address),
    _rule(rf"(?ai:\b(?:{'|'.join(_KNOWN_LATIN)})\b)", lambda m: _KNOWN_LATIN[m.group().lower()]),
]
_RULES = [
    *(_rule(rf"(?<!\w){short}", _constant(words)) for short, words in _ABBREVIATIONS.items()),
    _rule(r"(?<![\w.,])(?P<number>[1-9]|[12][0-9])(?P<rest>\sв\.\s(?:до\s)?н\.\s?э\.)", _century),
    _rule(
        r"(?i)\b(?P<today>сегодня|завтра|вчера|послезавтра|позавчера)\s(?P<day>[1-9]|[12][0-9]|3[01])\s"
        rf"(?P<month>{_MONTHS})\b",
        _day,
    ),
    _rule(r"(?i)\b(?P<lacks>не хват(?:ает|ило|ит|ало))\s(?P<number>[1-9][0-9]{0,5})(?=\s[а-яё])", _lacking),
    _rule(r"(?<![\w.,-])(?P<number>[1-9][0-9]{0,3})-(?P<word>лети[еяюй][мх]?)\b", _anniversary),
    _rule(
        r"(?<![\w.,])(?P<rubles>[0-9]+)[.,](?P<kopecks>[0-9]{2})\s?(?:₽|руб\.|руб\b|р\.)",
        _rubles,
    ),
    _rule(
        r"(?i)(?<!\w)на стр\.\s?(?P<page>[0-9]{1,4})\b",
        lambda m: f"на странице {num2words(int(m['page']), lang='ru')}",
    ),
    _rule(r"(?<![\w.,])(?P<number>[0-9]+)²(?!\w)", lambda m: f"{m['number']} в квадрате"),
    _rule(r"(?<![\w.,])(?P<number>[0-9]+)³(?!\w)", lambda m: f"{m['number']} в кубе"),
    _rule(
        r"(?<![\w.,:/+-])(?<!\d\s)0[0-9]+(?![\w.,:/-])",
        lambda m: " ".join(str(num2words(int(digit), lang="ru")) for digit in m.group()),
    ),
]
