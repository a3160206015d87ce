"""English as it is spoken: numbers, dates, money, units and abbreviations in words, by rules of our own.

What no rule knows is left as it was written.
"""

import re
from collections.abc import Callable, Iterable

from num2words import num2words

_MONTHS = [
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October"),
    *("November", "December"),
]
_SHORT_MONTHS = {month[:3]: month for month in _MONTHS if month != "May"} | {"Sept": "September"}
_MONTH_NAMES = {  # but for verbs, which names of months are in small letters
    name.lower(): month
    for name, month in [*_SHORT_MONTHS.items(), *((month, month) for month in _MONTHS)]
    if name not in ("March", "May")
}
_BEFORE_NAMES = {
    "Dr": "Doctor",
    "Mr": "Mister",
    "Mrs": "Missus",
    "Ms": "Miz",
    "Prof": "Professor",
    "Gen": "General",
    "Capt": "Captain",
    "Col": "Colonel",
    "Lt": "Lieutenant",
    "Sgt": "Sergeant",
    "Rev": "Reverend",
    "Gov": "Governor",
    "Sen": "Senator",
    "Pres": "President",
    "Hon": "Honorable",
}
_AFTER_NAMES = {
    "St": "Street",
    "Ave": "Avenue",
    "Rd": "Road",
    "Blvd": "Boulevard",
    "Ln": "Lane",
    "Sq": "Square",
    "Jr": "Junior",
    "Sr": "Senior",
    "Inc": "Incorporated",
    "Ltd": "Limited",
    "Corp": "Corporation",
    "Co": "Company",
    "Mt": "Mountain",
}
_SAINTLY = {"St": "Saint", "Mt": "Mount"}  # before a name that none stands before
_LATIN_PHRASES = {
    r"e\.\s?g\.": "for example",
    r"i\.\s?e\.": "that is",
    r"vs\.": "versus",
    r"etc\.(?=\s+[a-z])": "et cetera",
    r"etc\.": "et cetera.",
    r"approx\.": "approximately",
    r"dept\.": "department",
    r"est\.": "established",
}
_UNITS = {  # one, many
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "km": ("kilometer", "kilometers"),
    "m/s": ("meter per second", "meters per second"),
    "mph": ("mile per hour", "miles per hour"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "m": ("meter", "meters"),
    "km²": ("square kilometer", "square kilometers"),
    "m²": ("square meter", "square meters"),
    "m³": ("cubic meter", "cubic meters"),
    "ft": ("foot", "feet"),
    "in.": ("inch", "inches"),
    "mi": ("mile", "miles"),
    "yd": ("yard", "yards"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "g": ("gram", "grams"),
    "lbs": ("pound", "pounds"),
    "lb": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"),
    "l": ("liter", "liters"),
    "L": ("liter", "liters"),
    "kB": ("kilobyte", "kilobytes"),
    "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "kW": ("kilowatt", "kilowatts"),
    "W": ("watt", "watts"),
    "V": ("volt", "volts"),
    "min": ("minute", "minutes"),
    "sec": ("second", "seconds"),
    "ms": ("millisecond", "milliseconds"),
    "hrs": ("hour", "hours"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
    "¢": ("cent", "cents"),
}
_MONEY = {  # one, many, one hundredth, hundredths
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "sen", "sen"),
}
_SCALES = {"k": "thousand", "K": "thousand", "m": "million", "M": "million", "bn": "billion", "B": "billion"}
_FRACTIONS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
_SIGNS = {
    "&": "and",
    "@": "at",
    "+": "plus",
    "=": "equals",
    "×": "times",
    "÷": "divided by",
    "±": "plus or minus",
}
_IN_ADDRESSES = {".": "dot", "@": "at", "/": "slash", "-": "dash", "_": "underscore", ":": "colon"}
_ENDINGS = "com|org|net|edu|gov|mil|info|io|dev|ai|app|uk|us|eu|de|fr|ru|ca|au|jp|co|tv|me"
_NUMBERED = "Chapter|Volume|Part|Book|Act|Scene|Section|Phase|Type|Appendix|World War|Article|Title|Level"
_CALLED_BY_DIGITS = "[Rr]oom|[Ff]light|[Rr]oute|[Hh]ighway|[Ii]nterstate"
_RULERS = (
    "Henry|Louis|Elizabeth|Charles|George|Edward|William|James|Richard|John|Paul|Pius|Nicholas|Peter"
    "|Catherine|Alexander|Philip|Frederick|Francis|Leo|Benedict|Gregory|Napoleon|Mary|Ivan|Otto|Urban|Innocent|Ferdinand"
    "|Gustav|Christian|Ramesses|Margaret|Robert|Felipe|Juan Carlos"
)
_TITLES = "King|Queen|Pope|Emperor|Empress|Tsar|Prince|Princess|Duke|Saint"
_ROMANS = {"I": 1, "V": 5, "X": 10}
_ROMAN = r"(?P<roman>(?=[IVX])X{0,3}(?:IX|IV|V?I{0,3}))"
_BEFORE_YEARS = (
    "[Ii]n|[Ss]ince|[Bb]y|[Oo]f|[Uu]ntil|[Tt]ill|[Bb]efore|[Aa]fter|[Dd]uring|[Ff]rom|[Tt]o|[Yy]ear|[Aa]round"
    "|[Cc]irca|[Ee]arly|[Ll]ate|[Mm]id|[Ss]pring|[Ss]ummer|[Aa]utumn|[Ff]all|[Ww]inter|" + "|".join(_MONTHS)
)
_COUNTED = (  # no noun in the plural follows
    r"(?!\s+(?!(?:was|is|has|his|its|this|as|does|across|unless)\b)(?:[a-z]+s|people|men|women|children)\b)"
)
_WORDS_IN_CAPITALS = re.compile(
    "AM|AND?|ANY|AR[ET]|A[ST]|ALL|B[EY]|BIG|BUT|CAN|DAY|DID|DO|END|FAR|FEW|FOR|GET|GOD?|GOT|HA[DS]|HER?|HI[MS]"
    "|HOW|I[FNS]|ITS?|LET|MAN|MAY|M[EY]|NEW|NO|NO[RTW]|O[FHNR]|OFF|OLD|ONE|OUR|OUT|RUN|SAY|SEE|SHE|SO|STOP|THE"
    "|TOO?|TWO|UP|USE|WAS|WAY|WE|WH[OY]|YES|YET|YOU"
)
_LONGEST_NUMBER = 15  # digits; longer ones are said digit by digit
_NUMBER = r"(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?"
_FREE = r"(?<![\w.,/:-])"  # nothing of a number before it
_END = r"(?![\w/]|[.,:][0-9])"
_SHORT = re.compile(r"[^A-Za-z\s!\"'(),\-:;?.]|[A-Za-z][A-Z]|\b[IVX]\b|\.(?=\s*\S)|[cx]\.")  # perhaps

Match = re.Match[str]


def spoken(text: str) -> str:
    """The text with what is written short in words; words keep their case. Nothing is dropped."""
    if not _SHORT.search(text):
        return text
    for pattern, said in _RULES:
        text = pattern.sub(said, text)
    return text


def _number(written: str) -> str:
    """A cardinal, with its decimals one by one; digits where it is too long to be one number."""
    whole, _, fraction = written.replace(",", "").partition(".")
    if len(whole) > _LONGEST_NUMBER or (len(whole) > 1 and whole.startswith("0")):
        said = _digits(whole)
    else:
        said = str(num2words(int(whole)))
    return f"{said} point {_digits(fraction, zero='zero')}" if fraction else said


def _digits(written: str, zero: str = "oh") -> str:
    return " ".join(zero if d == "0" else str(num2words(int(d))) for d in written if d.isdecimal())


def _ordinal(number: int | str) -> str:
    return str(num2words(int(number), to="ordinal"))


def _year(number: int | str) -> str:
    """Two and two digits; 2000 to 2009 are numbers."""
    number = int(number)
    century, rest = divmod(number, 100)
    if 2000 <= number < 2010 or number < 1000 or number % 1000 == 0:
        return str(num2words(number)).replace(" and ", " ")
    if rest == 0:
        return f"{num2words(century)} hundred"
    return f"{num2words(century)} {'oh ' if rest < 10 else ''}{num2words(rest)}"


def _years(decade: Match) -> str:
    """1980s, 1900s and '80s."""
    said = _year(decade["year"]) if len(decade["year"]) == 4 else str(num2words(int(decade["year"])))
    return f"{said[:-1]}ies" if said.endswith("y") else f"{said}s"


def _date(month: int | str, day: int | str, year: str | None) -> str:
    name = month if isinstance(month, str) else _MONTHS[month - 1]
    return f"{name} {_ordinal(day)}" + (f", {_year(year)}" if year else "")


def _numeric_date(date: Match) -> str:
    """American, month first, unless only the other order is a date."""
    first, second = int(date["first"]), int(date["second"])
    month, day = (first, second) if first <= 12 else (second, first)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return date.group()
    return _date(month, day, date["year"])


def _time(time: Match) -> str:
    hour, minute = str(num2words(int(time["hour"]))), time.groupdict().get("minute")
    half = f" {time['half'][0].lower()} m" if time["half"] else ""
    if minute in (None, "00"):
        return hour + (half or " o'clock")
    return f"{hour} {'oh ' if minute[0] == '0' else ''}{num2words(int(minute))}{half}"


def _money(sum_: Match) -> str:
    one, many, cent, cents = _MONEY[sum_["sign"]]
    amount, scale = sum_["amount"].replace(",", ""), sum_["scale"]
    if scale:
        return f"{_number(amount)} {_SCALES.get(scale, scale)} {many}"
    whole, _, fraction = amount.partition(".")
    if len(fraction) not in (0, 2):
        return f"{_number(amount)} {many}"
    parts = []
    if int(whole) or not int(fraction or 0):
        parts.append(f"{_number(whole)} {one if int(whole) == 1 else many}")
    if int(fraction or 0):
        parts.append(f"{num2words(int(fraction))} {cent if int(fraction) == 1 else cents}")
    return " and ".join(parts)


def _measured(measure: Match) -> str:
    one, many = _UNITS[measure["unit"]]
    return f"{_number(measure['number'])} {one if measure['number'] == '1' else many}"


def _fraction(fraction: Match) -> str:
    upper, lower = int(fraction["upper"]), int(fraction["lower"])
    if lower < 2 or lower > 100 or upper >= lower:
        return f"{num2words(upper)} slash {num2words(lower)}"
    one, many = _FRACTIONS.get(lower, (_ordinal(lower), f"{_ordinal(lower)}s"))
    said = f"{num2words(upper)} {one if upper == 1 else many}"
    return f"{num2words(int(fraction['whole']))} and {said}" if fraction["whole"] else said


def _roman(numeral: str) -> int:
    values = [_ROMANS[letter] for letter in numeral]
    pairs = zip(values, [*values[1:], 0], strict=True)
    return sum(-value if value < after else value for value, after in pairs)


def _acronym(found: Match) -> str:
    """Short ones and those without a vowel are spelled, longer ones are words."""
    letters, ending = found["letters"], found["plural"] or ""
    if letters == "OK":
        return "okay"
    if _WORDS_IN_CAPITALS.fullmatch(letters) or (len(letters) > 3 and re.search("[AEIOU]", letters)):
        return letters.lower() + ending
    if not re.search("[a-z]", found.string):  # all is in capitals, to be loud
        return letters
    return " ".join(letters.lower()) + (f"'{ending}" if ending else "")


def _address(address: Match) -> str:
    """Without its scheme; letters that no vowel makes a word of are spelled."""
    written = re.sub(r"^https?://", "", address.group())
    parts = re.findall(r"[A-Za-z]+|[0-9]+|.", written)
    said = (
        _IN_ADDRESSES.get(part)
        or (part if not part.isalpha() or re.search("[aeiouyAEIOUY]", part) else " ".join(part))
        for part in parts
    )
    return " ".join(said)


def _called(named: Match) -> str:
    """A room or flight of three digits: one oh one, three seventy."""
    digits = named["digits"]
    tail = str(num2words(int(digits[1:]))) if digits[1] != "0" else _digits(digits[1:])
    return f"{named['name']} {num2words(int(digits[0]))} {'hundred' if digits[1:] == '00' else tail}"


def _title(found: Match) -> str:
    """St. is a saint before a name that no other name stands before, and a street after one."""
    before, short, after = found["before"] or "", found["short"], found["after"]
    if after is None:
        return found.group()
    is_first = not before or before.strip() in ("In", "At", "The", "Visit", "On")
    if short in _SAINTLY and is_first:
        return f"{before}{_SAINTLY[short]}{after}"
    if short in _BEFORE_NAMES:
        return f"{before}{_BEFORE_NAMES[short]}{after}"
    return f"{before}{_AFTER_NAMES[short]}{after or '.'}"


def _any(words: Iterable[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


def _constant(words: str) -> Callable[[Match], str]:
    return lambda found: words


def _rule(pattern: str, said: Callable[[Match], str]) -> tuple[re.Pattern[str], Callable[[Match], str]]:
    return re.compile(pattern), said


_RULES = [
    _rule(r"(?<![\w.,])\.(?=[0-9])", _constant("0.")),
    _rule(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", _address),
    _rule(r"https?://[\w-]+(?:\.[\w-]+)+(?:[/:?][\w/.-]*\w)?", _address),
    _rule(rf"\b(?:[A-Za-z][\w-]*\.)+(?:{_ENDINGS})\b(?:/[\w/.-]*\w)?", _address),
    _rule(r"\bNos?\.\s?(?=[0-9])", lambda m: "number "),
    *(_rule(rf"(?<!\w){short}", _constant(said)) for short, said in _LATIN_PHRASES.items()),
    _rule(
        rf"(?i)(?<![A-Za-z])(?P<month>{_any(_MONTH_NAMES)})\b\.?[\s-]?(?=[0-9]{{1,4}}\b)",
        lambda m: f"{_MONTH_NAMES[m['month'].lower()]} ",
    ),
    _rule(
        rf"(?i)(?:(?<=[0-9]\s)|(?<=[0-9](?:st|nd|rd|th)\s))(?P<month>{_any(_MONTH_NAMES)})\b(?:\.(?=\s\S))?",
        lambda m: _MONTH_NAMES[m["month"].lower()],
    ),
    _rule(
        r"(?P<before>\b(?:[A-Z][a-z]+|[0-9]+(?:st|nd|rd|th))\s)?\b"
        rf"(?P<short>{_any(_BEFORE_NAMES | _AFTER_NAMES)})\.(?P<after>\s?(?=[A-Z])|\s(?=[a-z])|(?=\W*$))?",
        _title,
    ),
    _rule(rf"\b(?P<name>{_NUMBERED})\s{_ROMAN}\b", lambda m: f"{m['name']} {num2words(_roman(m['roman']))}"),
    _rule(
        rf"\b(?P<name>(?:(?:{_TITLES})\s[A-Z][a-z]+|{_RULERS}))\s{_ROMAN}(?<![^IVX]I)\b",
        lambda m: f"{m['name']} the {_ordinal(_roman(m['roman']))}",
    ),
    _rule(rf"\b{_ROMAN}(?<=[IVX][IVX])\b", lambda m: str(num2words(_roman(m["roman"])))),
    _rule(
        rf"{_FREE}(?P<year>[12][0-9]{{3}})(?P<mark>[/-])(?P<month>0[1-9]|1[0-2])(?P=mark)"
        r"(?P<day>0[1-9]|[12][0-9]|3[01])(?![\w/-])",
        lambda m: _date(int(m["month"]), m["day"], m["year"]),
    ),
    _rule(
        rf"{_FREE}(?P<first>[0-9]{{1,2}})/(?P<second>[0-9]{{1,2}})/(?P<year>[12][0-9]{{3}})(?![\w/])",
        _numeric_date,
    ),
    _rule(
        rf"\b(?P<month>{'|'.join(_MONTHS)})\s(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?\b(?![.:][0-9])"
        r"(?:,?[\s-](?P<year>[12][0-9]{3})\b)?",
        lambda m: _date(m["month"], m["day"], m["year"]),
    ),
    _rule(
        rf"{_FREE}(?P<the>\b[Tt]he\s)?(?P<day>[0-9]{{1,2}})(?:st|nd|rd|th)?\s(?:of\s)?"
        rf"(?P<month>{'|'.join(_MONTHS)})\b"
        r"(?:,?\s(?P<year>[12][0-9]{3})\b)?",
        lambda m: (
            f"{m['the'] or 'the '}{_ordinal(m['day'])} of {m['month']}"
            + (f", {_year(m['year'])}" if m["year"] else "")
        ),
    ),
    _rule(
        rf"{_FREE}(?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?:\s?(?P<half>[AaPp])\.?[Mm]\b"
        r"(?:\.(?=\s+[a-z]|\W*$))?)?(?![\w:]|\.[0-9])",
        _time,
    ),
    _rule(
        rf"{_FREE}(?P<hour>1[0-2]|[1-9])\s?(?P<half>[AaPp])\.?(?:[Mm]\b)(?:\.(?=\s+[a-z]|\W*$))?(?!\w)",
        _time,
    ),
    _rule(rf"(?<![\w.)])[-−](?=[{''.join(_MONEY)}]?[0-9])", lambda m: "minus "),
    _rule(
        rf"(?P<sign>[{''.join(_MONEY)}])\s?(?P<amount>{_NUMBER})(?:(?:\s(?=[a-z]))?(?P<scale>thousand|million|billion"
        rf"|trillion|{_any(_SCALES)})\b)?(?!\w|[.,][0-9])",
        _money,
    ),
    _rule(
        rf"{_FREE}(?P<number>{_NUMBER})\s?(?P<unit>{_any(_UNITS)})(?![\w²³/])",
        _measured,
    ),
    _rule(rf"{_FREE}(?P<number>[0-9]+)(?:st|nd|rd|th)\b", lambda m: _ordinal(m["number"])),
    _rule(r"(?<![\w'])(?:'(?=[0-9]{2}s))?(?P<year>[12][0-9]{2}0|[1-9]0)'?s\b", _years),
    _rule(r"(?<![\w/.,-])24/7(?![\w/])", lambda m: "twenty-four seven"),
    _rule(
        r"(?<![\w/.,-])(?:(?P<whole>[0-9]{1,3})\s)?(?P<upper>[0-9]{1,3})/(?P<lower>[0-9]{1,3})"
        r"(?![\w/]|[.,][0-9])",
        _fraction,
    ),
    _rule(
        r"(?<![\w.-])(?:\+?1[\s-])?(?:\([0-9]{3}\)\s?|[0-9]{3}-)?[0-9]{3}-[0-9]{4}(?![\w-])",
        lambda m: ", ".join(_digits(part) for part in re.findall("[0-9]+", m.group())),
    ),
    _rule(
        r"(?<![\w.,-])(?P<first>1[0-9]{3}|20[0-9]{2})\s?[-–]\s?(?P<last>1[0-9]{3}|20[0-9]{2})(?![\w-])",
        lambda m: f"{_year(m['first'])} to {_year(m['last'])}",
    ),
    _rule(
        rf"\b(?P<before>(?:{_BEFORE_YEARS})[\s,-]+|\()(?P<year>1[0-9]{{3}}|20[0-9]{{2}})(?![\w%]|[.,-][0-9])"
        + _COUNTED,
        lambda m: m["before"] + _year(m["year"]),
    ),
    _rule(rf"\b(?P<name>{_CALLED_BY_DIGITS})\s(?P<digits>[1-9][0-9]{{2}})\b(?![.,][0-9])", _called),
    _rule(
        rf"{_FREE}(?P<low>{_NUMBER})\s?[-–]\s?(?P<high>{_NUMBER})(?![\w-]|[.,][0-9])",
        lambda m: f"{_number(m['low'])} to {_number(m['high'])}",
    ),
    _rule(r"#\s?(?=[0-9])", lambda m: "number "),
    _rule(rf"(?<![\w.,]){_NUMBER}(?!\w|[.,][0-9])", lambda m: _number(m.group())),
    _rule(rf"\s?(?P<sign>[{''.join(_SIGNS)}])\s?", lambda m: f" {_SIGNS[m['sign']]} "),
    _rule(r"\bPh\.?D\b\.?", lambda m: "p h d"),
    _rule(r"\b(?:[A-Z]\.){2,}", lambda m: " ".join(m.group().replace(".", "").lower())),
    _rule(r"(?<![\w'])(?P<letters>[A-Z]{2,6})(?P<plural>s)?(?!\w)", _acronym),
]
