"""Text for Telegram: foreign text is made safe, and long text is cut at the ends of lines.

Telegram counts a message in UTF-16 units, after its HTML was read
(core.telegram.org/bots/api, "Formatting options").
"""

import html
import re
from urllib.parse import unquote

LONGEST_TEXT, LONGEST_CAPTION = 4096, 1024  # UTF-16 units
LONGEST_LINE = 300  # characters
PIECE = 8  # characters of a secret that stand in no other text by chance
TOKEN = re.compile(r"<(/?)(b|i|code)>|&(?:amp|lt|gt|quot|#x27);|\n|.", re.DOTALL)
UNSENDABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def escaped(text: object) -> str:
    """Any text, to stand between tags; what no message can hold becomes U+FFFD."""
    return html.escape(UNSENDABLE.sub("\ufffd", str(text)))


def line(text: str) -> str:
    """Foreign words in one short line, with nothing in them that steers a terminal."""
    shown = " ".join(text.split())[:LONGEST_LINE]
    return "".join(c if c.isprintable() else "\ufffd" for c in shown)


def without(secret: str, text: str) -> str:
    """The text, unless it repeats the secret or a piece of it, plainly or as addresses and HTML escape it."""
    seen = "".join(text.split()).casefold()
    for _ in range(3):
        seen = unquote(html.unescape(seen)).casefold()
    pieces = (secret[n : n + PIECE].casefold() for n in range(max(1, len(secret) - PIECE + 1)))
    return "(left out: it repeats a secret)" if any(piece in seen for piece in pieces) else text


def bold(text: object) -> str:
    return f"<b>{escaped(text)}</b>"


def plain(markup: str) -> str:
    """The text that a reader sees, without tags."""
    return html.unescape(re.sub(r"</?(?:b|i|code)>", "", markup))


def units(text: str) -> int:
    """UTF-16 units of what a reader sees."""
    return len(text) + sum(character > "\uffff" for character in text)


def split(markup: str, most: int = LONGEST_TEXT) -> list[str]:
    """Parts of at most `most` units, cut at line ends where there are any, each with its tags closed.

    The line end at a cut is left out, and so are parts that show nothing.
    """
    parts, rest = [], [(match.group(), match) for match in TOKEN.finditer(markup)]
    opened: list[str] = []
    while rest:
        count = _fitting(rest, most)
        if count < len(rest):
            ends = [n for n in range(count + 1) if rest[n][0] == "\n"]
            count = ends[-1] if ends else count
        before = "".join(f"<{tag}>" for tag in opened)
        for _, match in rest[:count]:
            _follow(opened, match)
        after = "".join(f"</{tag}>" for tag in reversed(opened))
        parts.append(before + "".join(token for token, _ in rest[:count]) + after)
        rest = rest[count:]
        if rest and rest[0][0] == "\n":
            rest = rest[1:]
    return [part for part in parts if plain(part).strip()]


def _fitting(tokens: list[tuple[str, re.Match[str]]], most: int) -> int:
    """How many of the first tokens fit into `most` units."""
    used = 0
    for count, (token, match) in enumerate(tokens):
        used += 0 if match.group(2) else units(html.unescape(token))
        if used > most:
            return count
    return len(tokens)


def _follow(opened: list[str], match: re.Match[str]) -> None:
    tag = match.group(2)
    if tag and match.group(1):
        opened.remove(tag)
    elif tag:
        opened.append(tag)


def lines(*rows: str | None) -> str:
    """The rows that are not empty, one below the other."""
    return "\n".join(row for row in rows if row)
