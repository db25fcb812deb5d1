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
    "F0 the words": [
        "_core.open_requests",
        "_core.effects",
        "_core.outcomes",
        "_log",
        "_core.records",
        "_observing.stacks",
        "errors",
    ],
    "F0 what the end makes of whom; producers and their hands": ["_core.member", "_core.verdicts"],
    "F0 what users need": ["policies"],
    "F1 how far a request is towards that; who has which instrument": [
        "_core.instruments",
        "_core.policy_state",
    ],
    "F1 the ledger's records; equal keys": ["_core.request", "_delivery.ordering_keys"],
    "F1 the sums over what has ended": ["_core.sums"],
    "F1 what a fact does to a request; time": ["_time.clock", "_core.ledger"],
    "F2 what a thread parks on; what a request came to": [
        "_delivery.mailbox",
        "_core.report",
        "_core.statistics",
    ],
    "F2 several readers; what hooks receive": ["_delivery.keyed_mailbox", "events"],
    "F2 observers called in isolation; who is registered": [
        "_observing.observers",
        "_delivery.registry",
    ],
    "F3 threads with a life cycle; who waits in a circle": [
        "_observing.deadlocks",
        "_participants.participant",
    ],
    "F3 the caller's view": ["_engine.handle"],
    "F4 what the ledger answers, carried out; sends that are not plain": [
        "_engine.gather",
        "_engine.options",
    ],
    "F4 what has ended, and who has died; who streams": ["_engine.streams", "_engine.sweep"],
    "F4 requests that take the careful way": ["_engine.turns"],
    "F4 producers with several hands": ["_engine.hands"],
    "F4 the desk, where callers and threads meet": ["_engine.engine"],
    "F4 what the dispatcher's own thread does": ["_engine.control"],
    "F4 the facade": ["dispatcher"],
    "F5 the daily names": ["__init__"],
    "F6 tools": [
        "testing.scripts",
        "views.timeline",
        "_time.virtual_parker",
        "example_rig",
        "hooks",
    ],
    "F6 time that a test moves": ["_time.virtual_clock"],
    "F6 what tests claim": ["testing.assertions"],
    "F6 what is checked after a test": ["testing.leaks"],
    "F6 all for tests": ["testing"],
    "F7 fixtures over that": ["pytest_plugin"],
}
"""From the ground up. A landing within a floor has an entry of its own: down is always down."""

ONLY_IN = {
    "time": {"_time.clock", "_time.virtual_clock", "example_rig"},
    "threading": {
        *(
            "testing.leaks",
            "_time.clock",
            "_time.virtual_clock",
            "_time.virtual_parker",
            "_participants.participant",
        ),
        *("dispatcher", "example_rig"),
    },
    "_thread": {"_time.clock", "_engine.engine"},
    "asyncio": {"_engine.handle"},
}
"""Who may import what makes a module depend on real time, real threads or an event loop."""

LATE = {
    "__init__": {
        "_time.clock",
        "_core.outcomes",
        "_engine.handle",
        "_core.report",
        "_core.statistics",
        "_participants.participant",
        "dispatcher",
        "errors",
        "policies",
    },
    "_engine.handle": {"asyncio"},
    "pytest_plugin": {"testing.leaks", "dispatcher", "errors", "testing"},
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
    found = []
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[-1] != "__init__" or len(parts) == 1 or parts[0] == "testing":
            found.append(".".join(parts).replace(".__init__", ""))
    return sorted(found)


def source(module: str) -> str:
    """The text of one of them."""
    path = PACKAGE.joinpath(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return path.read_text(encoding="utf-8")


MODULES = set(modules())


def imports(module: str) -> Iterator[Import]:
    """Everything that *module* imports, wherever in its source."""
    tree = ast.parse(source(module))
    at_the_top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        within = id(node) not in at_the_top
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name.split(".")[0], node.lineno, within, False)
            continue
        package = (PACKAGE.joinpath(*module.split("."))).is_dir()
        stem = module.split(".") if package else module.split(".")[:-1]
        if not node.level:
            base = (node.module or "").split(".")
            if base[0] != NAME:
                yield Import(base[0], node.lineno, within, False)
                continue
            base = base[1:]
        else:
            base = [*stem[: len(stem) - node.level + 1], *filter(None, [node.module])]
        name = ".".join(base)
        for each in (
            [name] if name in MODULES else [f"{name}.{a.name}".lstrip(".") for a in node.names]
        ):
            yield Import(each if each in MODULES else "__init__", node.lineno, within, True)


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
