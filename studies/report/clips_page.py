"""The clips that a corpus was made of, as a page to listen through: hear, mend, drop, save the texts."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein

from model.data.metadata import METADATA, WAVES
from studies.report.single_page import TEMPLATES
from studies.run.recordings import LEFT_OUT, Row

COLUMNS, HEIGHT = 300, 20


def page(rows: Sequence[Row], folder: Path, drafts: bool) -> str:
    """Its text, for the folder of the clips. Args: drafts: the texts are what was heard, and no script."""
    clips = [{**_shown(row, folder), "differences": list(_differences(row))} for row in rows if row.id]
    clips.sort(key=lambda clip: -clip["errors"])
    return TEMPLATES.get_template("clips_page.html").render(
        name=folder.name,
        drafts=drafts,
        clips=clips,
        others=[row for row in rows if not row.id],
        metadata=METADATA,
        size=(COLUMNS, 2 * HEIGHT),
    )


def _shown(row: Row, folder: Path) -> dict[str, Any]:
    sound = f"{LEFT_OUT if row.left_out else WAVES}/{row.id}.wav"
    return {
        "id": row.id,
        "sound": sound,
        "wave": outline(soundfile.read(folder / sound, dtype="float32")[0]),
        "text": row.text,
        "errors": row.errors or 0.0,
        "left_out": row.left_out,
        "place": f"{row.recording}, {row.start} to {row.end} s",
    }


def outline(wave: NDArray[np.float32]) -> str:
    """A wave (N,) as the path of an SVG picture, COLUMNS wide and 2 * HEIGHT high: its peaks, up and down."""
    parts = np.array_split(np.abs(wave), COLUMNS)
    heights = [round(HEIGHT * min(1.0, float(part.max(initial=0.0)))) for part in parts]
    return "".join(f"M{x} {HEIGHT - h}V{HEIGHT + h}" for x, h in enumerate(heights) if h)


def _differences(row: Row) -> Iterator[tuple[str, str]]:
    """Words of the text that were heard ("same"), that were not ("lost"), and others that were ("other")."""
    written, heard = row.text.split(), row.heard.split()
    plain = [["".join(filter(str.isalnum, word)).casefold() for word in words] for words in (written, heard)]
    for block in Levenshtein.opcodes(*plain):
        if block.tag == "equal":
            yield "same", " ".join(written[block.src_start : block.src_end])
            continue
        if block.src_end > block.src_start:
            yield "lost", " ".join(written[block.src_start : block.src_end])
        if block.dest_end > block.dest_start:
            yield "other", " ".join(heard[block.dest_start : block.dest_end])
