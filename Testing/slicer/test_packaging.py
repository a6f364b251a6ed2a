"""CMake lists every file, and the installed files work with nothing else on the path."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.shared_data import CHECKOUT

LIBRARY, MODULE = CHECKOUT / "ThickToThinSRLib", CHECKOUT / "ThickToThinSR"
# A stand-in for the part of Slicer's CMake that the extension uses; it installs to the same folders.
SLICER_CONFIG = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/use.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/empty.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/empty.cmake)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer/qt-scripted-modules)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/Slicer/qt-scripted-modules)
"""
USE_FILE = """
foreach(name HOMEPAGE CONTRIBUTORS DESCRIPTION ICONURL SCREENSHOTURLS DEPENDS)
  if(NOT EXTENSION_${name})
    message(FATAL_ERROR "EXTENSION_${name} is not set")
  endif()
endforeach()
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS;WITH_SUBDIR" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(MY_UNPARSED_ARGUMENTS OR NOT MY_NAME)
    message(FATAL_ERROR "bad arguments: ${ARGN}")
  endif()
  set(subfolder "")
  if(MY_WITH_SUBDIR)
    get_filename_component(subfolder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
  endif()
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${file})
      message(FATAL_ERROR "no such file: ${file}")
    endif()
    get_filename_component(folder ${file} DIRECTORY)
    install(FILES ${file} DESTINATION ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}/${subfolder}/${folder})
    file(
      COPY ${file}
      DESTINATION ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${subfolder}/${folder})
  endforeach()
endmacro()
function(slicer_add_python_unittest)
endfunction()
"""


def listed(folder: Path, *variables: str) -> set[str]:
    text = (folder / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", folder.name)
    files = set()
    for variable in variables:
        files |= set(re.search(rf"set\({variable}\s(.*?)\)", text, re.DOTALL).group(1).split())
    return files


def present(folder: Path) -> set[str]:
    """Files that belong to the package, relative to `folder`."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {
        path.as_posix() for path in files if "__pycache__" not in path.parts and path.name != "CMakeLists.txt"
    }


def test_every_file_of_the_library_is_listed():
    assert listed(LIBRARY, "LIBRARY_PYTHON_SCRIPTS") == present(LIBRARY)


def test_every_file_of_the_module_is_listed():
    assert listed(MODULE, "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES") == present(MODULE)


def test_the_module_folder_holds_no_script_but_the_module():
    assert [path.name for path in MODULE.glob("*.py")] == ["ThickToThinSR.py"]


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Slicer's folders of scripted modules: in the build tree, and as `cmake --install` leaves it."""
    if shutil.which("cmake") is None or shutil.which("cc") is None:
        pytest.skip("cmake or a compiler is missing")
    folder = tmp_path_factory.mktemp("package")
    stub, build, tree = (folder / name for name in ("slicer", "build", "tree"))
    stub.mkdir()
    for name, text in (("SlicerConfig", SLICER_CONFIG), ("use", USE_FILE), ("empty", "")):
        (stub / f"{name}.cmake").write_text(text)
    for command in (
        ["cmake", "-S", CHECKOUT, "-B", build, f"-DSlicer_DIR={stub}", "-DBUILD_TESTING=ON"],
        ["cmake", "--install", build, "--prefix", tree],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    return [folder / "lib" / "Slicer" / "qt-scripted-modules" for folder in (build, tree)]


@pytest.fixture(scope="module")
def installed(packages):
    return packages[1]


def run_installed(installed: Path, program: str, *arguments: str) -> str:
    """Run a program that can import the installed tree and the packages, but not the checkout."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(installed)!r}); {program}", *arguments],
        cwd=installed.anchor,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_installed_tree_holds_module_library_and_resources(installed):
    expected = {f"ThickToThinSRLib/{name}" for name in present(LIBRARY)} | present(MODULE)
    for folder in ("Models", "SampleData"):
        expected |= {f"Resources/{folder}/{name}" for name in present(CHECKOUT / "Resources" / folder)}
    assert present(installed) == expected


def test_the_build_tree_holds_the_same_for_the_tests_that_run_there(packages):
    built, installed = packages
    assert present(built) == present(installed)


def test_the_installed_library_finds_the_bundled_weights(installed):
    program = "from ThickToThinSRLib.weights.bundled import resources_folder; print(resources_folder())"
    assert run_installed(installed, program) == str(installed / "Resources")


def test_the_installed_library_enhances_a_volume(installed, tmp_path):
    program = (
        "import numpy, pathlib; from ThickToThinSRLib.io.volume_files import write_volume, read_volume;"
        "from ThickToThinSRLib.volume import Volume;"
        "from ThickToThinSRLib.worker.process import WorkerProcess, run;"
        "folder = pathlib.Path(sys.argv[1]); source, target = folder / 'a.nrrd', folder / 'b.nrrd';"
        "write_volume(Volume(numpy.zeros((4, 5, 6), 'int16') - 500, (1, 1, 5)), source);"
        "run(WorkerProcess(sys.executable, ['enhance', str(source), str(target)], folder));"
        "print(read_volume(target).voxels.shape)"
    )
    assert run_installed(installed, program, str(tmp_path)) == "(16, 5, 6)"


def test_extension_and_module_have_icons_of_the_right_size():
    for path in (CHECKOUT / "Resources" / "ThickToThinSR.png", MODULE / "Resources/Icons/ThickToThinSR.png"):
        header = path.read_bytes()[:24]
        assert header.startswith(b"\x89PNG")
        assert [int.from_bytes(header[start : start + 4], "big") for start in (16, 20)] == [128, 128]


def test_the_extension_names_only_files_that_exist():
    """Icon, screenshots and tutorial; Testing/unit/test_documents.py checks the links of the pages."""
    home = "https://raw.githubusercontent.com/ThickToThinSR/SlicerThickToThinSR/main/"
    named = re.findall(re.escape(home) + r"([^\s\"]+)", (CHECKOUT / "CMakeLists.txt").read_text())
    assert len(named) >= 3
    source = (MODULE / "ThickToThinSR.py").read_text()
    assert 'DOCUMENTS = "https://github.com/ThickToThinSR/SlicerThickToThinSR/blob/main/"' in source
    named += re.findall(r'= DOCUMENTS \+ "([^"]+)"', source)
    assert "docs/slicer/tutorial.md" in named
    assert [name for name in named if not (CHECKOUT / name).is_file()] == []


def test_the_index_entry_holds_what_the_index_asks_for():
    entry = json.loads((CHECKOUT / "ThickToThinSR.json").read_text())
    assert {"$schema", "category", "scm_url"} <= set(entry)
    assert entry["$schema"].endswith("schema-v1.0.2.json#")
    assert entry["scm_url"].rsplit("/", 1)[1].startswith("Slicer")
    assert set(entry) <= {"$schema", "category", "scm_url", "scm_revision", "build_dependencies", "tier"}
    text = (CHECKOUT / "CMakeLists.txt").read_text()
    assert f'EXTENSION_HOMEPAGE "{entry["scm_url"]}"' in text
    assert f'EXTENSION_DEPENDS "{" ".join(entry["build_dependencies"])}"' in text
    assert f'"qSlicerAbstractCoreModule", "{entry["category"]}"' in (MODULE / "ThickToThinSR.py").read_text()


def test_at_start_the_module_imports_nothing_that_slicer_may_lack(tmp_path):
    """Allowed are Python's library, Slicer, VTK, Qt, NumPy, SciPy and SimpleITK; torch only in the worker."""
    program = (
        "import pathlib, sys;"
        "from Testing.slicer import host; host.install(pathlib.Path(sys.argv[1]));"
        "before = set(sys.modules); sys.path.insert(0, sys.argv[2]); import ThickToThinSR, slicer;"
        "print(' '.join(sorted({name.split('.')[0] for name in set(sys.modules) - before})));"
        "slicer.app.layoutManager().dismantle()"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path), str(MODULE)],
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    packages = set(done.stdout.split()) & set(importlib.metadata.packages_distributions())
    own = {"ThickToThinSR", "ThickToThinSRSlicer", "ThickToThinSRLib"}
    in_every_slicer = {"slicer", "vtk", "vtkmodules", "numpy", "scipy", "SimpleITK"}
    assert packages - own - in_every_slicer == set()


def test_pictures_of_the_pages_are_small():
    pictures = list((CHECKOUT / "Resources" / "Screenshots").iterdir())
    assert sum(path.stat().st_size for path in pictures) < 1e6
