"""What Optuna keeps to itself is touched in one file, so that a new version of it is looked through there."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PACKAGES = ("smart_tuner", "objectives", "studies", "dashboards")  # model/ knows no Optuna
ONE = ROOT / "smart_tuner" / "store" / "optuna_private.py"
FILES = [ROOT / "run_study.py", *(file for name in PACKAGES for file in sorted((ROOT / name).rglob("*.py")))]


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def private(tree):
    """Attributes of others, and names and modules of Optuna, that begin with an underscore."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and is_private(node.attr):
            owner = node.value.id if isinstance(node.value, ast.Name) else ""
            if owner not in ("self", "cls"):
                yield ast.unparse(node)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("optuna"):
            yield from filter(is_private, [*node.module.split("."), *(name.name for name in node.names)])
        if isinstance(node, ast.Import):
            yield from (n.name for n in node.names if "optuna" in n.name and "._" in n.name)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_touches_what_is_private(path):
    if path != ONE:
        assert list(private(ast.parse(path.read_text("utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    [
        "study._storage",
        "self.study._study_id",
        "from optuna.storages._rdb import models",
        "import optuna.storages._rdb.models",
        "from optuna.trial import _trial",
        "optuna.storages._cached_storage",
    ],
)
def test_every_way_of_touching_it_is_seen(code):
    assert list(private(ast.parse(code)))
