"""The page that says which fault is tried where must say the truth."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "reliability.md").read_text("utf-8")
ROWS = (*range(1, 13), *range(14, 29), *range(30, 38), *range(40, 45), 51, 52)


def named():
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)


def defined_in(path):
    """Functions, also those of classes; and what is a test because its name is a class's."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    targets = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    return functions | {target.id for target in targets if isinstance(target, ast.Name)}


def test_every_test_of_the_page_exists():
    assert len(named()) > 40
    missing = [f"{path}::{name}" for path, name in named() if name not in defined_in(path)]
    assert missing == []


def test_every_test_of_faults_is_on_the_page():
    here = {
        (str(path.relative_to(ROOT)), name)
        for path in Path(__file__).parent.glob("test_*.py")
        for name in defined_in(path.relative_to(ROOT))
        if name.startswith("test_") and path.name != "test_table.py"
    }
    assert here - set(named()) == set()


def test_every_row_is_on_the_page():
    matrix = PAGE.partition("## What is tried")[2]
    assert [int(number) for number in re.findall(r"^\| (\d+) \|", matrix, re.M)] == list(ROWS)
