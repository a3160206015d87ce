"""Corpora that the project can make or fetch by itself."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

from model.data.staging import being_made

__all__ = ["CorpusError", "Recipe", "build_once"]

Recipe = Mapping[str, str | int | float]
RECIPE_FILE = "recipe.json"


class CorpusError(ValueError):
    """A corpus that cannot be made or fetched here."""


def build_once(folder: Path, recipe: Recipe, build: Callable[[Path], Recipe]) -> Path:
    """Let `build` fill an empty folder beside `folder`, then rename it, so that only whole corpora exist.

    recipe.json holds the recipe and what `build` returns of its outcome. A folder made by the same
    recipe is returned at once. Raises CorpusError for one that holds anything else.
    """
    if _is_complete(folder, recipe):
        return folder
    with being_made(folder) as part:
        whole = {**recipe, **build(part)}
        (part / RECIPE_FILE).write_text(json.dumps(whole, ensure_ascii=False, indent=2) + "\n", "utf-8")
        if not _is_complete(folder, recipe):  # another process may have been faster
            part.rename(folder)
    return folder


def _is_complete(folder: Path, recipe: Recipe) -> bool:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    try:
        made_by = json.loads((folder / RECIPE_FILE).read_text("utf-8"))
    except (OSError, ValueError):
        made_by = None
    if isinstance(made_by, dict) and made_by.items() >= recipe.items():
        return True
    raise CorpusError(
        f"{folder} already holds something else: its {RECIPE_FILE} says {made_by}, wanted is {dict(recipe)}; "
        "choose another folder, or remove this one yourself"
    )
