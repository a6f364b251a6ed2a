"""The pages tell what is there: links, pictures, commands, imports, the repository's address."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from Testing.shared_data import CHECKOUT
from ThickToThinSRLib.cli.arguments import build_parser

ADDRESS = "github.com/ThickToThinSR/SlicerThickToThinSR"
PAGES = sorted(
    [
        *CHECKOUT.glob("*.md"),
        *(CHECKOUT / "docs").rglob("*.md"),
        *(CHECKOUT / "Resources").rglob("*.md"),
        *(CHECKOUT / "training").rglob("*.md"),
    ]
)
IDS = [str(page.relative_to(CHECKOUT)) for page in PAGES]
each_page = pytest.mark.parametrize("page", PAGES, ids=IDS)


def fenced(text: str, language: str) -> list[str]:
    """Code blocks of a page; those without a language are commands."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> list[list[str]]:
    """Every command line of a page, in words: those of code blocks, and those in backticks."""
    unindented = [line[4:] for line in text.splitlines() if line.startswith("    ")]
    lines = [*unindented, *(line for block in fenced(text, "") for line in block.splitlines())]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)
    lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
    starts = ("thicktothin ", "python -m ", ".venv/bin/thicktothin ")
    commands = [line for line in lines if line.startswith(starts) and "..." not in line]
    return [shlex.split(line, comments=True) for line in commands]


def headings(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def options_of(parser: argparse.ArgumentParser) -> dict[str, set[str]]:
    """Options of each command of the command line."""
    subparsers = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return {name: set(sub._option_string_actions) for name, sub in subparsers.choices.items()}


def test_the_readme_takes_half_a_minute():
    assert len((CHECKOUT / "README.md").read_text().split()) <= 700


@each_page
def test_links_and_pictures_exist(page):
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text())
    missing = []
    for link in links:
        path, _, anchor = link.partition("#")
        if path.startswith(("http:", "https:", "mailto:")):
            continue
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in headings(target)):
            missing.append(link)
    assert missing == []


@each_page
def test_commands_exist_with_their_options(page):
    known = options_of(build_parser())
    for words in commands(page.read_text()):
        if words[0].endswith("thicktothin"):
            if words[1] in ("--help", "--version"):
                continue
            assert words[1] in known, f"no command {words[1]!r}: {' '.join(words)}"
            options = {word.split("=")[0] for word in words if word.startswith("--")}
            assert options <= known[words[1]], " ".join(words)
        elif words[2].split(".")[0] in ("training", "Testing", "ThickToThinSRLib"):
            assert importlib.util.find_spec(words[2]) is not None, f"no module {words[2]}"


@each_page
def test_what_examples_import_exists(page):
    for block in fenced(page.read_text(), "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("ThickToThinSRLib"):
                module = importlib.import_module(node.module)
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@each_page
def test_code_blocks_are_closed(page):
    assert page.read_text().count("\n```") % 2 == 0


def test_commands_are_found_in_blocks_and_in_sentences():
    text = "Run `python -m\nTesting.benchmarks.quality THIN`:\n\n```\nthicktothin models   # a list\n```\n"
    assert commands(text) == [
        ["thicktothin", "models"],
        ["python", "-m", "Testing.benchmarks.quality", "THIN"],
    ]


def test_every_page_of_the_documentation_begins_with_what_it_answers():
    docs = CHECKOUT / "docs"
    pages = [page for page in docs.rglob("*.md") if "training" not in str(page.relative_to(docs))]
    for page in pages:
        title, _, rest = page.read_text().partition("\n")
        assert title.startswith("# ")
        assert rest.strip().startswith("This page answers:"), page


def tracked_texts() -> dict[str, str]:
    """Texts of the repository by path."""
    done = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    texts = {}
    for name in done.stdout.split("\n"):
        path = CHECKOUT / name
        if name and path.is_file() and path.suffix not in (".png", ".nrrd", ".npz", ".safetensors", ".xz"):
            texts[name] = path.read_text()
    return texts


def test_the_repositorys_address_is_the_same_everywhere():
    pattern = r"github(?:usercontent)?\.com/ThickToThinSR/(\w+)"
    named = {name: set(re.findall(pattern, text)) for name, text in tracked_texts().items()}
    assert set().union(*named.values()) == {"SlicerThickToThinSR"}
    for name in ("CMakeLists.txt", "ThickToThinSR.json", "CITATION.cff", "ThickToThinSR/ThickToThinSR.py"):
        assert named[name] == {"SlicerThickToThinSR"}, name
    assert ADDRESS in (CHECKOUT / "CHANGELOG.md").read_text()


def test_the_version_is_the_same_everywhere():
    from ThickToThinSRLib import __version__

    assert f"\nversion: {__version__}\n" in (CHECKOUT / "CITATION.cff").read_text()
    assert f"## [{__version__}]" in (CHECKOUT / "CHANGELOG.md").read_text()


def test_pages_spell_optimizer_in_one_way():
    british = "optimi" + "ser"
    assert [name for name, page in zip(IDS, PAGES, strict=True) if british in page.read_text().lower()] == []
