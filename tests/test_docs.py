"""What the pages say is true: their links, paths, commands, flags, variables, keys and modules are there."""

import ast
import re
import shlex
import tomllib
from inspect import isclass
from textwrap import dedent

import click
import pytest
from documents import PAGES, ROOT, blocks, inline, text_of_all

from run_study import EXIT_CODES, cli
from smart_tuner.store.storage import granted
from studies.file import sections, spec
from studies.file.table import Table

ROOMS = ("model", "smart_tuner", "objectives", "studies", "dashboards", "benchmarks", "tests")
TOP = {*ROOMS, "docs", "examples"}
FOREIGN = {"--array", "--signal", "--requeue", "--output", "--error", "--open-mode", "--export=ALL"}
FOREIGN |= {"--dry-run", "--earlier"}  # those above are of sbatch
SOURCES = [path for top in ROOMS for path in sorted((ROOT / top).rglob("*.py"))] + [ROOT / "run_study.py"]


def name_of(page):
    return str(page.relative_to(ROOT))


def commands(group=cli, *names):
    """Every command line's first words, and the command."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield (*names, name), command


COMMANDS = dict(commands())


def flags(command):
    return {flag for p in command.params for flag in (*p.opts, *p.secondary_opts) if flag.startswith("-")}


ALL_FLAGS = set().union(*map(flags, COMMANDS.values()), flags(cli), {"--help", "-h"})


def called(words):
    """The command that a command line calls: its first words, and the command; None where it calls none."""
    own = flags(cli)
    while words and words[0] in own:
        words = words[2:]
    for length in (2, 1):
        if tuple(words[:length]) in COMMANDS:
            return COMMANDS[tuple(words[:length])]
    return None


def command_lines(text):
    """What is typed after run_study.py, in blocks and in sentences; what follows two blanks explains it."""
    code = [
        *(line for block in blocks(text) for line in block.replace("\\\n", " ").splitlines()),
        *inline(text),
    ]
    for line in code:
        if found := re.match(r"\s*(?:\$ )?(?:\.venv/bin/python )?run_study\.py (-*\w.*)", line):
            yield re.split(r" {2,}(?!--)| #|; | \|", found[1])[0]


def anchors(page):
    """As GitHub makes them of headings."""
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 180


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name_of(page)}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_path_of_the_tree_that_is_named_is_there(page):
    """A path with capitals, such as studies/NAME, is one of a workdir."""
    for code in inline(page.read_text("utf-8")):
        path, _, test = code.partition("::")
        if path.split("/")[0] in TOP and re.fullmatch(r"[\w.-]+(/[\w.-]+)+/?", path):
            assert (ROOT / path).exists() or re.search("[A-Z]{2}", path), f"{name_of(page)}: {path}"
            assert not test or test in (ROOT / path).read_text("utf-8"), f"{name_of(page)}: {code}"


def test_every_module_that_is_called_is_there():
    for module in re.findall(r"python -m ((?:benchmarks|smart_tuner|tests)[\w.]*)", text_of_all()):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").exists(), module


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_is_one_that_the_program_takes(page):
    for line in command_lines(page.read_text("utf-8")):
        if line.startswith("COMMAND"):
            continue
        words = [word for word in shlex.split(line.replace("…", "")) if word]
        command = called(words)
        assert command is not None, f"{name_of(page)}: run_study.py {line}"
        given = {word.partition("=")[0] for word in words if re.match(r"--?[a-zA-Z]", word)}
        assert given <= flags(command) | flags(cli) | {"--help"}, f"{name_of(page)}: run_study.py {line}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_flag_that_a_sentence_names_is_one_of_the_program(page):
    for code in inline(page.read_text("utf-8")):
        words = code.split()
        if words[0].startswith("--"):
            assert words[0] in ALL_FLAGS | FOREIGN, f"{name_of(page)}: {code}"
        elif (command := called(words)) and len(words) > 1:
            given = {word for word in words if word.startswith("--")}
            assert given <= flags(command), f"{name_of(page)}: {code}"


def test_every_command_and_every_variable_is_described():
    text = (ROOT / "docs" / "commands.md").read_text("utf-8")
    for names in COMMANDS:
        assert f"`run_study.py {' '.join(names)}" in text, names
    for command in (cli, *COMMANDS.values()):
        for variable in {p.envvar for p in command.params if p.envvar}:
            assert f"`{variable}`" in text, variable


def test_every_variable_that_is_described_is_read():
    table = (ROOT / "docs" / "commands.md").read_text("utf-8").partition("## Environment variables")[2]
    code = "\n".join(path.read_text("utf-8") for path in SOURCES)
    for row in re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)[2:]:
        for variable in re.findall(r"`(\w+)`", row):
            assert variable in code, variable


def test_the_statements_for_an_administrator_are_those_that_the_program_gives():
    [shown] = blocks(text_of_all(), "sql")
    given = [line.strip() for line in granted("role").splitlines()]
    assert shown.splitlines() == given[: len(shown.splitlines())]


def test_every_exit_code_is_described():
    table = (ROOT / "docs" / "commands.md").read_text("utf-8").partition("## Exit codes")[2]
    described = {
        int(code) for row in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in row.split(",")
    }
    assert {0, 1, 2, 3, 129, 130, 143, *EXIT_CODES.values()} == described


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_study_files_in_pages_are_sound(page):
    for block in blocks(page.read_text("utf-8"), "toml"):
        data = tomllib.loads(dedent(block))
        if "name" in data:
            spec.Spec.parse(data, name_of(page))


def test_every_key_of_a_study_file_is_described():
    text = text_of_all()
    tables = [t for t in vars(sections).values() if isclass(t) and issubclass(t, Table)]
    for table in (spec.Spec, *tables):
        for name, field in table.model_fields.items():
            key = field.alias or name
            assert re.search(rf"`{key}`|^\s*\[{key}|`\[{key}|^\s*{key} =", text, re.MULTILINE), key


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_code_is_not_wider_than_a_screen(page):
    for block in blocks(page.read_text("utf-8")):
        for line in block.splitlines():
            assert len(line) <= 120, f"{name_of(page)}: {line}"


def test_the_program_names_pages_that_are_there():
    for path in SOURCES:
        for page in re.findall(r"\bdocs/[\w-]+\.md\b", path.read_text("utf-8")):
            assert (ROOT / page).exists(), f"{name_of(path)}: {page}"


def test_no_docstring_leaves_out_what_it_speaks_of():
    """Such as "Of the newest one", which does not say what is meant."""
    found = [
        f"{name_of(path)}: {getattr(node, 'name', '')}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and re.match(r"Of\b", ast.get_docstring(node) or "")
    ]
    assert found == []
