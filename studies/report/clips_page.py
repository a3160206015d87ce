"""The clips that a corpus was made of, as a page to listen through: hear, mend, drop, save the texts."""

from collections.abc import Iterator, Sequence
from typing import Any

from rapidfuzz.distance import Levenshtein

from model.data.metadata import METADATA, WAVES
from studies.report.single_page import TEMPLATES
from studies.run.recordings import LEFT_OUT, Row


def page(rows: Sequence[Row], name: str, drafts: bool) -> str:
    """Its text, for a folder of that name. Args: drafts: the texts are what was heard, and no script."""
    clips = [{**_shown(row), "differences": list(_differences(row))} for row in rows if row.id]
    clips.sort(key=lambda clip: -clip["errors"])
    return TEMPLATES.get_template("clips_page.html").render(
        name=name,
        drafts=drafts,
        clips=clips,
        others=[row for row in rows if not row.id],
        metadata=METADATA,
    )


def _shown(row: Row) -> dict[str, Any]:
    folder = LEFT_OUT if row.left_out else WAVES
    return {
        "id": row.id,
        "sound": f"{folder}/{row.id}.wav",
        "text": row.text,
        "errors": row.errors or 0.0,
        "left_out": row.left_out,
        "place": f"{row.recording}, {row.start} to {row.end} s",
    }


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
