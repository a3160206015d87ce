"""Files that a user asks for: refused before any work, or written where asked and nowhere else."""

import os
import sys
from collections.abc import Collection
from pathlib import Path

import click

SOUNDS = {  # endings, and libsndfile's names of the format
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
}
PICTURES = (".png",)
PAGES = (".html", ".htm")
TEXTS = (".md", ".txt")
MANIFESTS = (".yaml", ".yml")
STDOUT = Path("-")


class UserPath(click.Path):
    """A path in which ~ is the user's home, also where no shell expands it, as after --home=."""

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        return Path(os.fsdecode(super().convert(os.path.expanduser(value), param, ctx)))


class OutputFile(UserPath):
    """A file whose ending says its format; its folder is made. "-" is stdout, where that is allowed."""

    def __init__(self, endings: Collection[str], allow_dash: bool = True) -> None:
        super().__init__(dir_okay=False, writable=True, allow_dash=allow_dash)
        self.endings = endings

    def convert(
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        path = super().convert(value, param, ctx)
        if self.allow_dash and path == STDOUT:
            return path
        if path.suffix.lower() not in self.endings:
            others = " (or - for stdout)" if self.allow_dash else ""
            self.fail(
                f'The ending of "{path}" says no format: give {_either(self.endings)}{others}.', param, ctx
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            self.fail(f'There can be no folder "{path.parent}": {error.strerror}.', param, ctx)
        if not path.exists() and not os.access(path.parent, os.W_OK):
            self.fail(f'"{path.parent}" is not writable.', param, ctx)
        return path


def _either(words: Collection[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def write(path: Path, content: bytes) -> None:
    """Write to a file or to stdout. Raises OSError."""
    if path == STDOUT:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
    else:
        path.write_bytes(content)
