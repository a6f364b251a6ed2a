"""The structure in docs/architecture.md: which parts import which, no import circles, short signatures."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from Testing.shared_data import CHECKOUT

LIBRARY = CHECKOUT / "ThickToThinSRLib"
# Files at the library's top level by the floor they stand on; folders are wings of that name.
GROUND = {"errors", "__init__"}
FOUNDATION = {
    "volume", "arrays", "intensity", "interpolation", "acquisition", "consistency", "monitor", "settings",
}  # fmt: skip
# What each wing may import besides itself, the foundation and the ground.
ALLOWED = {
    "phantom": set(),
    "networks": set(),
    "io": set(),
    "inspection": set(),
    "segmentation": set(),
    "trust": set(),
    "evaluation": {"io"},
    "weights": {"io", "networks"},
    "inference": {"networks", "weights"},
    "methods": {"inference", "inspection", "networks", "weights"},
    "enhance": {"inference", "inspection", "io", "methods", "trust"},
    "worker": {"io"},
    "batch": {"io", "worker"},
    "cli": {
        "batch",
        "enhance",
        "evaluation",
        "inference",
        "inspection",
        "io",
        "methods",
        "phantom",
        "trust",
        "weights",
        "worker",
    },
    "__main__": {"cli"},
}
MOST_PARAMETERS = 7


def modules() -> dict[str, Path]:
    """Dotted names within the library, and their files."""
    files = sorted(LIBRARY.rglob("*.py"))
    return {".".join(path.relative_to(LIBRARY).with_suffix("").parts): path for path in files}


@cache
def imports(name: str) -> frozenset[str]:
    """Modules of the library that a module imports, wherever in the file; typing alone does not count."""
    path, imported = modules()[name], set()
    package = name.split(".")[:-1]
    for node in _run_time_nodes(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = package[: len(package) - (node.level - 1)]
        elif (node.module or "").split(".")[0] == LIBRARY.name:
            base, node.module = [], ".".join(node.module.split(".")[1:])
        else:
            continue
        target = ".".join([*base, *filter(None, [node.module])])
        for alias in node.names:
            inner = f"{target}.{alias.name}".strip(".")
            imported.add(next(n for n in (inner, target, f"{target}.__init__".strip(".")) if n in modules()))
    return frozenset(imported)


def _run_time_nodes(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _run_time_nodes(node)


def wing(name: str) -> str:
    return name.split(".")[0]


def test_the_top_level_stays_small():
    assert len([path for path in LIBRARY.iterdir() if path.is_file()]) <= 12


def test_a_wheel_holds_every_part():
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    listed = ast.literal_eval(re.search(r"^packages = (\[.*?\])", text, re.MULTILINE | re.DOTALL)[1])
    folders = {path.parent.relative_to(CHECKOUT) for path in LIBRARY.rglob("*.py")}
    assert {".".join(folder.parts) for folder in folders} == {
        name for name in listed if ".Resources" not in name
    }


@pytest.mark.parametrize("name", modules())
def test_arrows_run_one_way_between_the_wings(name):
    own = wing(name)
    for target in imports(name):
        other = wing(target)
        if other == own or other in GROUND:
            continue
        if own in GROUND:
            pytest.fail(f"{name} stands on the ground and imports {target}")
        if own in FOUNDATION:
            assert other in FOUNDATION, f"{name} belongs to the foundation and imports {target}"
        else:
            assert other in ALLOWED[own] | FOUNDATION, (
                f"{name} imports {target}: no arrow from {own} to {other}"
            )


def test_there_is_no_circle_of_imports():
    open_, done = [], set()

    def visit(name: str) -> None:
        assert name not in open_, f"a circle: {' -> '.join([*open_[open_.index(name) :], name])}"
        if name in done:
            return
        open_.append(name)
        for target in sorted(imports(name)):
            visit(target)
        done.add(open_.pop())

    for name in modules():
        visit(name)


def test_wings_have_no_circle_either():
    for own, targets in ALLOWED.items():
        assert all(own not in ALLOWED.get(target, ()) for target in targets)


def functions():
    """Every function of library and training with the number of its parameters."""
    for folder in (LIBRARY, CHECKOUT / "training"):
        for path in sorted(folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef):
                    names = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                    count = len([argument for argument in names if argument.arg not in ("self", "cls")])
                    yield path, node.name, count + bool(node.args.vararg)


def test_no_function_takes_more_than_seven_parameters():
    """But for the networks: their constructors' arguments are the papers' and the checkpoints' own."""
    for path, name, count in functions():
        network = path.parent == LIBRARY / "networks" and name in ("__init__", "window_for")
        assert count <= MOST_PARAMETERS or network, f"{path.relative_to(CHECKOUT)}: {name} takes {count}"


@pytest.mark.parametrize(
    "code",
    [
        "from ThickToThinSRLib.cli.arguments import build_parser; build_parser()",
        "import ThickToThinSRLib.worker.process, ThickToThinSRLib.worker.watch",
    ],
)
def test_help_and_the_other_side_of_a_worker_load_nothing_heavy(code):
    heavy = ["torch", "SimpleITK", "scipy", "pydicom", "matplotlib", "skimage", "numpy"]
    check = f"import sys; {code}; sys.exit(str([name for name in {heavy} if name in sys.modules] or ''))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, cwd=CHECKOUT)
    assert (done.returncode, done.stderr.strip()) in ((0, ""), (1, "")), done.stderr
