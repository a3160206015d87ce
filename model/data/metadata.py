"""What metadata.csv and wavs/ are like: lines, and in what they differ from LJSpeech's layout.

Nothing is mended here: what differs is named, so that a person can mend it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from string import whitespace

METADATA, WAVES = "metadata.csv", "wavs"
SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas"}
SOUNDS = frozenset(
    [".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".wma"]
)
HEADERS = frozenset(  # of a first column
    ["id", "file", "filename", "file_name", "file_id", "name", "path", "wav", "wavs", "wav_file", "audio"]
) | frozenset(
    ["audio_file", "audio_path", "utterance", "utterance_id", "utt_id", "clip", "clip_id", "файл", "имя"]
)
CYRILLIC = ("cp1251", "koi8-r", "cp866")  # of one byte a letter
COMMON_LETTERS = frozenset("оеаинтсрвл")  # over half of the letters of any Russian text
LEAST_COMMON_SHARE = 0.4

NUMBER = re.compile(r"[-+]?\d+([.,:]\d+)*(e[-+]?\d+)?( ?(s|ms|%))?", re.IGNORECASE)
PLAIN_ID = re.compile(r"(?![.\s])[^/\\]+(?<!\s)")
LONGEST_FILE_NAME = 255  # bytes
MENDS = {
    "header row": "Remove this line: there is no header.",
    "empty last column": "The last column is spoken. Remove the | at the ends of lines: "
    f"sed 's/|[[:space:]]*$//' {METADATA} > new.csv",
    "quoted id": "Write ids, and texts, without quotes around them: "
    r"""sed -E "s/^\"([^\"|]*\|.*)\"[[:space:]]*\$/\1/; s/^[\"'[:space:]]+//; """
    r"""s/^([^|]*[^|\"'[:space:]])[\"'[:space:]]+\|/\1|/; s/\|\"(.*)\"[[:space:]]*\$/|\1/" """
    f"{METADATA} > new.csv",
    "space around id": "Write no space around the id: "
    rf"sed -E 's/^[[:space:]]+//; s/[[:space:]]+\|/|/' {METADATA} > new.csv",
    "bad line ends": rf"Write LF at the ends of lines: tr '\r' '\n' < {METADATA} > new.csv",
}

Lines = list[tuple[int, bytes]]  # by number, from 1; blank ones are left out


def read_lines(content: bytes) -> tuple[Lines, str | None, bool]:
    """The lines as UTF-8 without a byte order mark; which UTF-16 they were, or None; whether CR ends them."""
    utf16 = _utf16(content)
    if utf16:
        content = content.decode(utf16, "replace").encode("utf-8", "replace")
    content = content.removeprefix(b"\xef\xbb\xbf")
    has_cr_only = b"\r" in content.strip() and b"\n" not in content
    numbered = enumerate(content.split(b"\r" if has_cr_only else b"\n"), 1)  # splitlines knows rarer ones
    lines = [(number, line.removesuffix(b"\r")) for number, line in numbered if line.strip()]
    return lines, utf16, has_cr_only


def _utf16(content: bytes) -> str | None:
    """Which UTF-16 it is, if it is; without a mark it shows by the high bytes of Latin and Cyrillic."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    start = content[:4096]
    for first, name in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        high = start[first::2]
        if len(start) > 8 and 0 in high and high.count(0) + high.count(4) > 0.8 * len(high):
            return name
    return None


def key(name: str) -> str:
    """The name in one case and Unicode form: equal for names that some file systems cannot tell apart."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


class BadRow(ValueError):
    """A row that is left out: a short and stable reason, its values, and what to do about all such rows."""

    def __init__(self, reason: str, detail: str, mend: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail, self.mend = reason, detail, mend or MENDS.get(reason, "")


class Recordings:
    """The sound files of a folder, by id, whatever their ending."""

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, list[str]] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SOUNDS:
                self._files.setdefault(key(path.stem), []).append(path.name)

    def of(self, name: str) -> list[str]:
        """File names of an id."""
        return self._files.get(key(name), [])

    def others(self, names: Iterable[str]) -> list[str]:
        """File names of no such id."""
        known = {key(name) for name in names}
        return [file for stem, files in self._files.items() if stem not in known for file in files]

    def bare(self, name: str) -> str:
        """The id that a quoted one or a file name stands for; what stands for none is left as it is."""
        if self.of(name) or ".." in name:
            return name
        path = PurePath(name.strip(whitespace).strip("\"'").strip(whitespace))
        for found in (path.name, path.stem if path.suffix.lower() in SOUNDS else path.name):
            if self.of(found):
                return found
        return name


@dataclass(frozen=True)
class Layout:
    """What a whole file is like, beyond its single lines."""

    encoding: str | None  # the best guess, where it is not UTF-8
    separator: str | None  # what stands between columns, where that is not |
    has_cr_only: bool  # at the ends of lines
    speakers: Counter[str]  # names or numbers in a column where text should be, with their rows
    speaker_column: int | None  # the second or third, from 0
    has_numbers: bool  # in that column, and not those of speakers

    @classmethod
    def of(cls, lines: Lines, utf16: str | None, has_cr_only: bool, recordings: Recordings) -> "Layout":
        texts = [line.decode("utf-8", "replace") for _, line in lines]
        rows = [row for row in (text.split("|") for text in texts) if len(row) == 3]
        column = _speaker_column(rows)
        cells = [row[column].strip() for row in rows] if column else []
        speakers = Counter(cell for cell in cells if cell)
        encoding, separator = utf16 or _single_byte(lines), _separator(texts, recordings)
        return cls(encoding, separator, has_cr_only, speakers, column, _are_measured(speakers))

    def id_of(self, content: bytes, recordings: Recordings) -> str:
        """The recording that a line means, though it may not write it as it should."""
        line = content.decode("utf-8", "replace")
        return recordings.bare(line.split("|" if "|" in line else self.separator or "|")[0])

    def row(self, content: bytes, recordings: Recordings, first: bool) -> tuple[str, str]:
        """Id and text of a line; nothing is unquoted. Raises BadRow."""
        line, meant = content.decode("utf-8", "replace"), self.id_of(content, recordings)
        if first and not recordings.of(meant) and key(meant.strip(' "')) in HEADERS:
            raise BadRow("header row", f"{printable(line)!r} is no clip")
        self._refuse_other_encoding(content)
        name, *texts = line.split("|")
        if not texts and self.separator and recordings.of(meant):
            self._refuse_separator(self.separator)
        if len(texts) not in (1, 2):
            detail = f"{1 + len(texts)} columns, wanted id|text or id|raw|normalised"
            raise BadRow("bad metadata line", detail)
        if self.speaker_column and len(texts) == 2:
            self._refuse_column(self.speaker_column, printable(texts[self.speaker_column - 1]))
        if len(texts) == 2 and texts[0].strip() and not texts[1].strip():
            raise BadRow("empty last column", f"{printable(line)!r} ends with |")
        if name != meant:
            raise _other_id(name, meant)
        fits = len(f"{name}.wav".encode()) <= LONGEST_FILE_NAME
        if not (fits and name.isprintable() and PLAIN_ID.fullmatch(name)):
            raise BadRow("bad id", f"{printable(name)!r} is no plain file name")
        return name, texts[-1]

    def _refuse_other_encoding(self, content: bytes) -> None:
        mend = f"Save it as UTF-8: iconv -f {self.encoding} -t UTF-8 {METADATA} > new.csv"
        if self.encoding and self.encoding.startswith("UTF-16"):
            raise BadRow("bad encoding", f"{self.encoding}, wanted UTF-8", mend)
        if self.has_cr_only:
            raise BadRow("bad line ends", "CR alone, wanted LF")
        try:
            content.decode("utf-8")
        except UnicodeDecodeError as error:
            byte, place = content[error.start], error.start + 1
            detail = f"byte {place} (0x{byte:02X}) is not UTF-8, but perhaps {self.encoding}"
            raise BadRow("bad encoding", detail, mend) from error

    def _refuse_separator(self, separator: str) -> None:
        change = f"sed 's/{separator}/|/'" if separator != "\t" else r"tr '\t' '|' <"
        mend = f"Write | between the columns: {change} {METADATA} > new.csv"
        raise BadRow("wrong separator", f"{SEPARATORS[separator]} between the columns, wanted |", mend)

    def _refuse_column(self, column: int, cell: str) -> None:
        mend = self._column_mend(column)
        if self.has_numbers:
            raise BadRow("number column", f"column {column + 1} holds numbers, {cell!r}, wanted text", mend)
        raise BadRow("speaker column", f"column {column + 1} is a speaker, {cell!r}", mend)

    def _column_mend(self, column: int) -> str:
        cut = f"cut -d'|' -f1,{4 - column}"
        if len(self.speakers) == 1 or self.has_numbers:
            return f"Remove that column: {cut} {METADATA} > new.csv"
        [(name, count)] = self.speakers.most_common(1)
        told = f"{len(self.speakers)} speakers: keep one, without that column; most rows, {count}, are of"
        if not re.fullmatch(r"[\w-]+", name):
            return f"{told} {printable(name)!r}."
        rows = f"grep '|[[:space:]]*{name}[[:space:]]*{'$' if column == 2 else '|'}' {METADATA}"
        return f"{told} {name}: {rows} | {cut} > new.csv"


def _other_id(name: str, meant: str) -> BadRow:
    """Why the name is not the id that it means, with a mend for this way of writing it."""
    detail, written = f"{name!r}, wanted {meant!r}", name.strip(whitespace)
    if written != written.strip("\"'"):
        return BadRow("quoted id", detail)
    if written == meant:
        return BadRow("space around id", detail)
    ending = PurePath(written).name.removeprefix(meant)
    without = rf"; s/^([^|]*)\{ending}[[:space:]]*\|/\1|/" if ending else ""
    change = rf"sed -E 's#^[^|]*/([^|/]*\|)#\1#{without}' {METADATA} > new.csv"
    return BadRow("file name as id", detail, f"Write the bare id, without folder and ending: {change}")


def printable(text: str, longest: int = 80) -> str:
    """The first `longest` characters on one line, without any that steers a terminal."""
    return "".join(c if c.isprintable() else f"<U+{ord(c):04X}>" for c in text[:longest])


def named(character: str) -> str:
    """A character with its code, which tells look-alikes apart."""
    return f"{printable(character)!r} (U+{ord(character):04X})"


def _speaker_column(rows: Sequence[list[str]]) -> int | None:
    """The column of three that holds speakers or numbers: few values or numbers, beside texts that differ."""
    cells = [(row[1].strip(), row[2].strip()) for row in rows]
    filled = [pair for pair in cells if all(pair)]
    if len(filled) < 2 or 2 * len(filled) <= len(rows):
        return None
    if 2 * sum(_letters(last) in _letters(middle) for middle, last in filled) > len(filled):
        return None  # the same text once more, and short ones, such as single words
    if 2 * sum(_is_number(last) and not _is_number(middle) for middle, last in filled) > len(filled):
        return 2
    middle, last = zip(*filled, strict=True)
    if 2 * len(set(last)) <= len(set(middle)):
        return 2
    if len(set(middle)) >= 2 and 4 * len(set(middle)) <= len(set(last)):
        return 1
    return None


def _are_measured(cells: Counter[str]) -> bool:
    """Whether they are durations or the like: numbers with fractions, or hardly any twice."""
    numbers = {cell: count for cell, count in cells.items() if _is_number(cell)}
    whole = sum(count for cell, count in numbers.items() if cell.isdecimal())
    most = cells.total() / 2
    return sum(numbers.values()) > most and (whole <= most or len(numbers) > most)


def _is_number(cell: str) -> bool:
    return NUMBER.fullmatch(cell) is not None


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())


def _separator(texts: Sequence[str], recordings: Recordings) -> str | None:
    """What divides the ids of recordings from the rest, in most of the lines, where | does not."""
    undivided = [text for text in texts if "|" not in text]
    for separator in SEPARATORS:
        divided = (text.partition(separator) for text in undivided)
        if 2 * sum(bool(rest and recordings.of(recordings.bare(i))) for i, _, rest in divided) > len(texts):
            return separator
    return None


def _single_byte(lines: Lines) -> str | None:
    """The encoding of lines that are not UTF-8; None if there are none."""
    foreign = b"".join(line for _, line in lines if not _is_utf8(line))
    if not foreign:
        return None
    shares = {name: _common_share(foreign.decode(name, "replace")) for name in CYRILLIC}
    best = max(CYRILLIC, key=shares.__getitem__)
    return best if shares[best] >= LEAST_COMMON_SHARE else "cp1252"


def _common_share(text: str) -> float:
    """How many of the characters beyond ASCII are Russian's commonest letters."""
    beyond = re.sub(r"[\x00-\x7f]", "", text)
    return sum(letter in COMMON_LETTERS for letter in beyond) / max(1, len(beyond))


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
