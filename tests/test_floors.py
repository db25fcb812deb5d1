"""The package is built in floors: whoever stands on one imports only from those below it."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Set

import pytest

import ate_dispatcher

PACKAGE = Path(ate_dispatcher.__file__).resolve().parent
NAME = PACKAGE.name

FLOORS = {
    "F0 the words": ["_alarms", "_codes", "_completion", "_log", "_messages", "_stacks", "errors"],
    "F0 what the end makes of whom; producers and their hands": ["_member", "_verdicts"],
    "F0 what users need": ["policies"],
    "F1 how far a request is towards that; who has which instrument": ["_instruments", "_need"],
    "F1 the ledger's records; equal keys": ["_entry", "_keys"],
    "F1 the sums over what has ended": ["_sums"],
    "F1 what a fact does to a request; time": ["_clock", "_ledger"],
    "F2 what a thread parks on; what a request came to": ["_mailbox", "_report", "_statistics"],
    "F2 several readers; what hooks receive": ["_rack", "events"],
    "F2 observers called in isolation; who is registered": ["_hooks", "_registry"],
    "F3 threads with a life cycle; who waits in a circle": ["_circles", "_workers"],
    "F3 the caller's view": ["_handle"],
    "F4 what the ledger answers, carried out; sends that are not plain": ["_effects", "_options"],
    "F4 what has ended, and who has died; who streams": ["_streams", "_sweeper"],
    "F4 requests that take the careful way": ["_turns"],
    "F4 producers with several hands": ["_hands"],
    "F4 the desk, where callers and threads meet": ["_desk"],
    "F4 what the dispatcher's own thread does": ["_keeper"],
    "F4 the facade": ["dispatcher"],
    "F5 the daily names": ["__init__"],
    "F6 tools": ["_scripts", "_timeline", "_virtual_thread", "example_rig", "hooks"],
    "F6 time that a test moves": ["_virtual_clock"],
    "F6 what tests claim": ["_assertions"],
    "F6 what is checked after a test": ["_checkup"],
    "F6 all for tests": ["testing"],
    "F7 fixtures over that": ["pytest_plugin"],
}
"""From the ground up. A landing within a floor has an entry of its own: down is always down."""

ONLY_IN = {
    "time": {"_clock", "_virtual_clock", "example_rig"},
    "threading": {
        *("_checkup", "_clock", "_virtual_clock", "_virtual_thread", "_workers"),
        *("dispatcher", "example_rig"),
    },
    "_thread": {"_clock", "_desk"},
    "asyncio": {"_handle"},
}
"""Who may import what makes a module depend on real time, real threads or an event loop."""

LATE = {
    "__init__": {
        "_clock",
        "_completion",
        "_handle",
        "_report",
        "_statistics",
        "_workers",
        "dispatcher",
        "errors",
        "policies",
    },
    "_handle": {"asyncio"},
    "pytest_plugin": {"_checkup", "dispatcher", "errors", "testing"},
}
"""What is imported when it is first needed: the names by whoever asks for one, so that the pytest
plugin costs nothing where it is not used, and an event loop's machinery where there is a loop."""

THIRD_PARTIES = {"typing_extensions", "pytest"}

# About 300. Only code counts: no blank lines, comments or docstrings.
LONGEST = 330


class Import(NamedTuple):
    """One imported module: one of *ours* by its bare name, else by that of its top level."""

    module: str
    line: int
    within: bool
    ours: bool


def modules() -> List[str]:
    """The package's modules by their bare names."""
    return sorted(path.stem for path in PACKAGE.glob("*.py"))


def source(module: str) -> str:
    """The text of one of them."""
    return (PACKAGE / f"{module}.py").read_text(encoding="utf-8")


def imports(module: str) -> Iterator[Import]:
    """Everything that *module* imports, wherever in its source."""
    tree = ast.parse(source(module))
    at_the_top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        within = id(node) not in at_the_top
        if isinstance(node, ast.Import):
            found = [alias.name.split(".") for alias in node.names]
        elif not node.level:
            found = [(node.module or "").split(".")]
        elif node.module:
            found = [[NAME, *node.module.split(".")]]
        else:
            found = [[NAME, alias.name] for alias in node.names]
        for parts in found:
            ours = parts[0] == NAME
            name = (parts[1] if len(parts) > 1 else "__init__") if ours else parts[0]
            yield Import(name, node.lineno, within, ours)


def floor_of() -> Dict[str, int]:
    """How high each module stands."""
    return {each: height for height, floor in enumerate(FLOORS.values()) for each in floor}


def code_lines(text: str) -> int:
    """How many lines hold code: no blank ones, comments and docstrings, those of names included."""
    strings: Set[int] = set()
    for node in ast.walk(ast.parse(text)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            strings.update(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in strings
        for number, line in enumerate(text.splitlines(), start=1)
    )


def test_the_table_is_complete() -> None:
    """Every module stands on exactly one floor."""
    assert sorted(each for floor in FLOORS.values() for each in floor) == modules()


def test_imports_go_down() -> None:
    """No module imports from its own floor or from above."""
    floors = floor_of()
    wrong = [
        f"{module}.py:{each.line} imports {each.module}"
        for module in modules()
        for each in imports(module)
        if each.ours and not floors.get(each.module, len(floors)) < floors[module]
    ]
    assert wrong == []


def test_imports_stand_at_the_top() -> None:
    """No import hides in a function, a condition or a class, but those in the table."""
    hidden = [
        f"{module}.py:{each.line} imports {each.module}"
        for module in modules()
        for each in imports(module)
        if each.within and each.module not in LATE.get(module, ())
    ]
    assert hidden == []


@pytest.mark.parametrize("imported", sorted(ONLY_IN))
def test_only_in(imported: str) -> None:
    """Time, threads and event loops come in by the doors that the table names."""
    users = {name for name in modules() for each in imports(name) if each.module == imported}
    assert users <= ONLY_IN[imported]


@pytest.mark.skipif(sys.version_info < (3, 10), reason="knows no sys.stdlib_module_names")
def test_third_parties() -> None:
    """Beside the standard library there is one dependency."""
    standard: Set[str] = set(getattr(sys, "stdlib_module_names", ()))
    foreign = {
        each.module
        for module in modules()
        for each in imports(module)
        if not each.ours and each.module not in standard
    }
    assert foreign <= THIRD_PARTIES


@pytest.mark.parametrize("module", modules())
def test_says_what_it_is(module: str) -> None:
    """A module's docstring begins with one sentence on one line."""
    docstring = ast.get_docstring(ast.parse(source(module))) or ""
    lines = [*docstring.splitlines(), "", ""]
    assert lines[0].endswith(".")
    assert lines[1] == ""
    assert not any(end in lines[0] for end in (". ", "! ", "? "))


@pytest.mark.parametrize("module", modules())
def test_is_short(module: str) -> None:
    """A module fits into a head."""
    assert code_lines(source(module)) <= LONGEST
