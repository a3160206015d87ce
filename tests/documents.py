"""The pages that people read: README.md, docs/*.md and the others beside them."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")) + sorted(ROOT.glob("examples/**/*.md"))
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def text_of_all() -> str:
    return "\n".join(page.read_text("utf-8") for page in PAGES)


def blocks(text: str, language: str | None = None) -> list[str]:
    """The blocks of code in a page, without the fences; only those in one language, if it is given."""
    return [code for kind, code in FENCE.findall(text) if language is None or kind == language]


def inline(text: str) -> list[str]:
    """What stands in backticks within a page's sentences and tables."""
    return re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
