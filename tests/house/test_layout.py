"""Each folder of tests knows as much of the package as its name says, and no more."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Iterator, List

import pytest

TESTS = Path(__file__).resolve().parents[1]
INSIDERS = ("inside", "seams", "counting")
"""The helpers that know the package's inside; nothing else has to."""

MAY_IMPORT = {
    "contract": (),
    "core": ("_core",),
    "time": ("_core", "_time"),
    "delivery": ("_core", "_time", "_delivery"),
    "observing": ("_core", "_time", "_delivery", "_observing"),
    "engine": ("_core", "_time", "_delivery", "_observing", "_engine"),
    "links": ("_core", "_time"),
    "interop": (),
    "testing": (),
    "helpers": (),
}
"""The private wings of the package that the tests in a folder may import from."""

THEIRS = {
    *("_thread", "_trace_hook", "_DummyThread", "_MainThread", "_log_destroy_pending"),
    "_current_frames",
    *("_repr_html_", "_repr_pretty_"),
}
"""Private names of the standard library, and of notebooks, that a test has a use for."""


def files(folder: str) -> List[Path]:
    """The modules of one folder, but those that know the inside."""
    return [path for path in (TESTS / folder).glob("*.py") if path.stem not in INSIDERS]


def imports(path: Path) -> Iterator[str]:
    """Everything that a module imports, with the names out of it: ``a.b.c``."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", sorted(MAY_IMPORT))
def test_imports_of_private_modules(folder: str) -> None:
    """Those of the wing that is tested, and of the ones below it."""
    assert files(folder)
    wrong = [
        f"{path.name} imports {name}"
        for path in files(folder)
        for name in imports(path)
        for first in name.split(".")[1:2]
        if name.startswith("ate_dispatcher._") and first not in MAY_IMPORT[folder]
    ]
    assert wrong == []


def test_the_contract_is_a_black_box() -> None:
    """No helper that knows the inside, no underscored attribute of somebody else."""
    wrong = [
        f"{path.name} imports {name}"
        for path in files("contract")
        for name in imports(path)
        if name.split(".")[0] in INSIDERS
    ]
    for path in files("contract"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                own = isinstance(node.value, ast.Name) and node.value.id == "self"
                if not own and not node.attr.startswith("__") and node.attr not in THEIRS:
                    wrong.append(f"{path.name}:{node.lineno} looks at {node.attr}")
    assert wrong == []


def test_private_attributes_of_the_package_stand_in_one_file() -> None:
    """They begin with one prefix, and whoever moves one finds who knows it there.

    The explorer of interleavings, which plays the package's own threads, has another.
    """
    knows = [
        path.name
        for path in TESTS.rglob("*.py")
        if "._ate" + "_" in path.read_text(encoding="utf-8") and "benchmarks" not in path.parts
    ]
    assert sorted(knows) == ["adapter.py", "inside.py"]


def test_each_name_is_given_once() -> None:
    """A test module is found by its bare name, a helper too."""
    names = [path.stem for path in TESTS.rglob("*.py") if path.name != "__init__.py"]
    assert sorted(set(names)) == sorted(names)
