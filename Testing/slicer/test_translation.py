"""Every text that the user sees can be translated, and nothing else is offered to translators."""

from __future__ import annotations

import ast
import re
import sys
import xml.etree.ElementTree as ElementTree

from .test_panel import SOURCES, UI

# In the .ui file: not for the user, and the panel does not work if they are translated.
CODE_WORDS = ("nodeTypes", "SlicerParameterName", "styleSheet")


def calls(*names: str) -> list[tuple[str, ast.Call]]:
    """The calls of these functions, by file and line."""
    return [
        (f"{path.name}:{node.lineno}", node)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names
    ]


def test_every_text_that_the_user_sees_can_be_translated():
    """Texts of errors, labels, tooltips and questions go through ``tr``, as a whole, not built of pieces."""
    bare = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            shown = []
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("UserError", "Cancelled"):
                shown = node.args[:1]
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in (
                "errorDisplay",
                "confirmOkCancelDisplay",
                "setHorizontalHeaderLabels",
                "setToolTip",
            ):
                shown = [part for value in node.args[:1] for part in getattr(value, "elts", [value])]
            elif isinstance(node, ast.Assign) and getattr(node.targets[0], "attr", "") in ("text", "toolTip"):
                shown = [node.value, *getattr(node.value, "values", [])]
            bare += [f"{path.name}:{value.lineno}" for value in shown if _has_words(value)]
    assert bare == []


def _has_words(value: ast.AST) -> bool:
    """Whether a literal holds words of its own, and not only values and signs between them."""
    if isinstance(value, ast.JoinedStr):
        return any(_has_words(part) for part in value.values)
    return isinstance(value, ast.Constant) and bool(re.search("[A-Za-z]{2}", str(value.value)))


def test_tools_find_every_translated_text():
    """They read the source: the text must be written out in the call."""
    found = calls("_", "translate")
    assert len(found) > 100
    assert [place for place, call in found if not isinstance(call.args[-1], ast.Constant)] == []


def test_words_of_the_code_are_not_offered_to_translators():
    """They are marked ``notr="true"``, as Designer does if "translatable" is off, and nothing else is."""
    wrong = [
        (entry.get("name"), "".join(value.itertext()).strip())
        for entry in ElementTree.parse(UI).iter("property")
        for value in (*entry.findall("string"), *entry.findall("stringlist"))
        if (entry.get("name") in CODE_WORDS) != (value.get("notr") == "true")
    ]
    assert wrong == []


def test_the_lines_about_methods_are_those_of_the_library(module, monkeypatch):
    texts = sys.modules["ThickToThinSRSlicer.method_texts"]
    methods = sys.modules["ThickToThinSRLib.methods.registry"].METHODS
    assert {name: texts.description(name) for name in methods} == {
        name: method.description for name, method in methods.items()
    }
    assert all(texts.purpose(name) for name in methods)
    monkeypatch.setattr(texts, "_", str.upper)
    for name in methods:
        assert texts.description(name) == methods[name].description.upper(), f"no line of its own: {name}"


def test_a_translation_reaches_list_and_line_of_the_methods(slicer, panel, monkeypatch):
    monkeypatch.setattr(sys.modules["ThickToThinSRSlicer.method_texts"], "_", str.upper)
    panel._parameterNode.method = "tvsrn"
    assert panel.ui.methodInfoLabel.text.startswith("TVSRN, TRANSFORMER OF THE RPLHR-CT PAPER")
