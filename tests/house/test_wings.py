"""The package is built in wings: each imports only from those above it in one table."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Optional, Set, Tuple

import pytest

import ate_dispatcher

PACKAGE = Path(ate_dispatcher.__file__).resolve().parent
NAME = PACKAGE.name

WINGS = {
    "words": ["errors", "policies", "_log", "_arguments"],
    "core": ["_core"],
    "time": ["_time"],
    "delivery": ["_delivery"],
    "observing": ["_observing", "events"],
    "engine": ["_engine"],
    "participants": ["_participants", "dispatcher"],
    "tops": [
        *("hooks", "views", "testing", "pytest_plugin", "links"),
        *("example_rig", "guide", "__init__"),
    ],
}
"""In their order: whatever stands in one of them, folders with all that is in them, imports from
the wings above and from its own. The tops are no wing of one piece, see `BETWEEN_TOPS`."""

BETWEEN_TOPS = {
    "testing": {"views.timeline", "links.transport"},
    "pytest_plugin": {"testing"},
    # What a user would write, who has the daily names from there.
    "example_rig": {"__init__"},
}
"""What a top imports of another, and nothing else."""

ONLY = {"hooks": {"events", "_core"}, "views": {"events", "_core"}}
"""Tops that see no more than users do: events and the core, and the words."""

ONLY_IN = {
    "time": {"_time", "example_rig"},
    "threading": {
        *("_time", "_participants", "_engine.process", "dispatcher", "testing"),
        *("links", "example_rig"),
    },
    "_thread": {"_time", "_engine.process"},
    "asyncio": {
        *("_engine.coroutine_parker", "_engine.coroutines", "_engine.hearing"),
        *("_engine.waiting", "_participants.event_loop"),
        *("_time.running_loop", "_time.virtual_loop"),
        *("links.nats_client", "links.nats_thread"),
    },
    "nats": {"links.nats_client"},
}
"""Who may import what makes a module depend on real time, real threads or an event loop."""

LATE = {
    "__init__": {
        *("_core.delivery_report", "_core.outcomes", "_core.report", "_core.statistics"),
        *("_delivery.overflow", "_delivery.patterns", "_engine.delivery", "_engine.handle"),
        *(
            "_participants.connection",
            "_participants.current_request",
            "_participants.subscription",
            "_time.clock",
        ),
        *("dispatcher", "errors", "policies"),
    },
    "_core.tables": {"rich"},
    "_delivery.registry": {"difflib"},
    "_participants.admission": {"difflib"},
    "_engine.process": {"concurrent"},
    "_engine.waiting": {"asyncio"},
    "_participants.listener": {"_participants.event_loop"},
    "_participants.participant": {"_participants.event_loop"},
    "_participants.producer": {"_participants.event_loop"},
    "_time.running_loop": {"asyncio"},
    "links.nats_arrivals": {"links.nats_client"},
    "links.nats_thread": {"links.nats_client"},
    "pytest_plugin": {
        *("testing.leaks", "dispatcher", "errors", "testing", "_participants.producer"),
    },
}
"""What is imported when it is first needed: the names by whoever asks for one, so that the pytest
plugin costs nothing where it is not used, and an event loop's machinery where there is a loop."""

THIRD_PARTIES = {
    "typing_extensions": set(WINGS),
    "pytest": {"tops"},
    "rich": {"core"},
    "nats": {"tops"},
}
"""What is not of the standard library, and the wings that may import it."""

ANY_ENGINE = {"_engine.serve.serve"}
"""The function in which a local variable called engine may be Any: the hot loop has one that is
sometimes none, and to ask each time which would cost."""

# Only code counts: no blank lines, comments or docstrings.
LONGEST_MODULE, LONGEST_CLASS, LONGEST_FUNCTION = 300, 250, 60

LONG = {
    "_engine.serve.serve": "the hot loop: what nearly every request needs, without a call",
    "_engine.scatter.send": "the hot path of callers, likewise",
}
"""What may be longer, and why."""


class Import(NamedTuple):
    """One imported module: one of *ours* by its bare name, else by that of its top level."""

    module: str
    line: int
    within: bool
    ours: bool


def modules() -> List[str]:
    """The package's modules by their bare names; a folder's ``__init__`` has the folder's."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if len(parts) > 1 and parts[-1] == "__init__":
            parts = parts[:-1]
        found.append(".".join(parts))
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
                ours = alias.name.split(".")[0] == NAME
                yield Import(
                    "__init__" if ours else alias.name.split(".")[0], node.lineno, within, ours
                )
            continue
        base = whence(module, node)
        if base is None:
            yield Import((node.module or "").split(".")[0], node.lineno, within, False)
            continue
        for alias in node.names:
            # Either a module of that name, or a name out of the module.
            each = ".".join([*base, alias.name])
            each = each if each in MODULES else ".".join(base) or "__init__"
            assert each in MODULES, f"{module}.py:{node.lineno}"
            yield Import(each, node.lineno, within, True)


def whence(module: str, node: ast.ImportFrom) -> Optional[List[str]]:
    """The place in the package that is imported from; None if it is none of ours."""
    named = [] if node.module is None else node.module.split(".")
    if not node.level:
        return named[1:] if named[0] == NAME else None
    is_folder = PACKAGE.joinpath(*module.split(".")).is_dir()
    stem = module.split(".") if is_folder else module.split(".")[:-1]
    return [*stem[: len(stem) - node.level + 1], *named]


def is_in(module: str, places: Set[str]) -> bool:
    """Whether it is one of *places*, or stands in one."""
    parts = module.split(".")
    return any(".".join(parts[:length]) in places for length in range(1, len(parts) + 1))


def wing_of(module: str) -> str:
    """Where it stands."""
    (wing,) = [wing for wing, places in WINGS.items() if is_in(module, set(places))]
    return wing


def lines_of(text: str) -> Set[int]:
    """The numbers of lines that hold code: no blank ones, comments or docstrings, those of names
    included.
    """
    strings: Set[int] = set()
    for node in ast.walk(ast.parse(text)):
        value = node.value if isinstance(node, ast.Expr) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            strings.update(range(value.lineno, (value.end_lineno or value.lineno) + 1))
    return {
        number
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#") and number not in strings
    }


class Definition(NamedTuple):
    """A class or a function, by its qualified name, and how many lines of code it has."""

    name: str
    node: ast.AST
    length: int


def definitions(module: str) -> Iterator[Definition]:
    """All of one module, also those that stand in others."""
    text = source(module)
    code = lines_of(text)

    def inside(node: ast.AST, name: str) -> Iterator[Definition]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                first = min([child.lineno, *(each.lineno for each in child.decorator_list)])
                lines = code.intersection(range(first, (child.end_lineno or first) + 1))
                qualified = f"{name}.{child.name}"
                yield Definition(qualified, child, len(lines))
                yield from inside(child, qualified)
            else:
                yield from inside(child, name)

    return inside(ast.parse(text), module)


# -- where everything stands -----------------------------------------------------------------------


def test_every_module_stands_in_one_wing() -> None:
    """And every wing that is named has something in it."""
    assert {wing_of(module) for module in modules()} == set(WINGS)
    places = {place for places in WINGS.values() for place in places}
    assert {place for place in places if any(is_in(m, {place}) for m in MODULES)} == places


def test_imports_come_from_above() -> None:
    """No module imports from a wing that stands below its own."""
    order = list(WINGS)
    wrong = [
        f"{module}.py:{each.line} imports {each.module}"
        for module in modules()
        for each in imports(module)
        if each.ours and order.index(wing_of(each.module)) > order.index(wing_of(module))
    ]
    assert wrong == []


def test_no_top_stands_on_another() -> None:
    """But on those in the table."""
    wrong = []
    for module in modules():
        if wing_of(module) != "tops":
            continue
        top = module.split(".")[0]
        wrong += [
            f"{module}.py:{each.line} imports {each.module}"
            for each in imports(module)
            if each.ours and wing_of(each.module) == "tops"
            if each.module.split(".")[0] != top
            if not is_in(each.module, BETWEEN_TOPS.get(top, set()))
        ]
    assert wrong == []


@pytest.mark.parametrize("top", sorted(ONLY))
def test_some_tops_see_no_more_than_users(top: str) -> None:
    """What they need beyond that, others need too."""
    seen = {*ONLY[top], *WINGS["words"], top}
    wrong = [
        f"{module}.py:{each.line} imports {each.module}"
        for module in modules()
        if is_in(module, {top})
        for each in imports(module)
        if each.ours and not is_in(each.module, seen)
    ]
    assert wrong == []


def test_nothing_goes_round_in_circles() -> None:
    """Inside of no wing, nor anywhere else: what a module imports can do without it."""
    above: Dict[str, Set[str]] = {}
    for module in modules():
        late = LATE.get(module, set())
        above[module] = {
            each.module
            for each in imports(module)
            if each.ours and not (each.within and each.module in late)
        }
        # To import a module is to import the folders that it stands in.
        parts = module.split(".")
        for one in list(above[module]):
            folders = one.split(".")[:-1]
            if folders and folders != parts[: len(folders)]:
                above[module].add(".".join(folders))
        above[module].discard(module)
    while above:
        free = {module for module, needed in above.items() if not needed & above.keys()}
        assert free, {module: sorted(needed & above.keys()) for module, needed in above.items()}
        for module in free:
            del above[module]


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
    assert users
    assert [name for name in sorted(users) if not is_in(name, ONLY_IN[imported])] == []


@pytest.mark.skipif(sys.version_info < (3, 10), reason="knows no sys.stdlib_module_names")
def test_third_parties() -> None:
    """Beside the standard library there is one dependency; the tops may have more."""
    standard: Set[str] = set(getattr(sys, "stdlib_module_names", ()))
    foreign = [
        f"{module}.py:{each.line} imports {each.module}"
        for module in modules()
        for each in imports(module)
        if not each.ours and each.module not in standard
        if wing_of(module) not in THIRD_PARTIES.get(each.module, set())
    ]
    assert foreign == []


# -- what is called an engine is one ---------------------------------------------------------------


def annotations(module: str) -> Iterator[Tuple[str, str, int]]:
    """What is called an engine and has a type: in which function, which type, on what line."""

    def inside(node: ast.AST, name: str) -> Iterator[Tuple[str, str, int]]:
        for child in ast.iter_child_nodes(node):
            within = name
            if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                within = f"{name}.{child.name}"
            if isinstance(child, ast.arg) and is_engine(child.arg):
                kind = "nothing" if child.annotation is None else ast.dump(child.annotation)
                yield name, kind, child.lineno
            elif isinstance(child, ast.AnnAssign) and is_engine(ast_name(child.target)):
                yield name, ast.dump(child.annotation), child.lineno
            yield from inside(child, within)

    return inside(ast.parse(source(module)), module)


def ast_name(target: ast.AST) -> str:
    """What is assigned to: a variable or an attribute."""
    return getattr(target, "attr", getattr(target, "id", ""))


def is_engine(name: str) -> bool:
    """Or a private one."""
    return name.lstrip("_") == "engine"


def test_an_engine_is_an_engine() -> None:
    """Outside the core, which does not know what that is: no parameter and no attribute that is
    called so takes anything.
    """
    found = [
        (where, kind, f"{module}.py:{line}")
        for module in modules()
        if wing_of(module) != "core"
        for where, kind, line in annotations(module)
    ]
    assert found
    wrong = [
        place
        for where, kind, place in found
        if ("'Any'" in kind or kind == "nothing") and where not in ANY_ENGINE
    ]
    assert wrong == []


# -- what a Python gets wrong ----------------------------------------------------------------------


def guarded(node: ast.AST) -> List[ast.AST]:
    """What of it stands under its own `except`, `finally` or `with`."""
    if isinstance(node, ast.Try):
        rest = [*node.handlers, *node.orelse] if node.finalbody else []
        return [*node.body, *rest]
    return [*node.body] if isinstance(node, (ast.With, ast.AsyncWith)) else []


def uncovered(node: ast.AST, within: bool = False) -> Iterator[int]:
    """The lines of loops with a condition inside a `try` or a `with` of the same function."""
    if isinstance(node, ast.While) and within and not isinstance(node.test, ast.Constant):
        yield node.lineno
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            inside = False
        else:
            inside = within or child in guarded(node)
        yield from uncovered(child, inside)


@pytest.mark.parametrize("module", modules())
def test_no_condition_ends_a_loop_in_a_try(module: str) -> None:
    """On 3.13 the jump back of such a loop is covered by no handler: what a signal handler raises
    there passes by `except` and `finally`, and with them by a lock that is to be left (P14).
    """
    assert list(uncovered(ast.parse(source(module)))) == []


def test_a_loop_in_a_try_is_seen() -> None:
    """As it is to be, and not where nothing has to be covered."""

    def lines(text: str) -> List[int]:
        return list(uncovered(ast.parse(text)))

    assert lines("try:\n while some: pass\nfinally:\n pass") == [2]
    assert lines("with it:\n if some:\n  while some: pass") == [3]
    assert lines("try:\n while True: break\nfinally:\n pass") == []
    assert lines("try:\n pass\nexcept:\n while some: pass\nfinally:\n pass") == [4]
    assert lines("try:\n pass\nexcept:\n while some: pass") == []
    assert lines("try:\n pass\nfinally:\n while some: pass") == []
    assert lines("try:\n def f():\n  while some: pass\nfinally:\n pass") == []
    assert lines("while some: pass") == []


# -- modules that fit into a head ------------------------------------------------------------------


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
    """A module fits into a head, and so does a class."""
    length = len(lines_of(source(module)))
    too_long = [f"all of it: {length}"] if length > LONGEST_MODULE else []
    too_long += [
        f"{each.name}: {each.length}"
        for each in definitions(module)
        if isinstance(each.node, ast.ClassDef)
        if each.length > LONGEST_CLASS and each.name not in LONG
    ]
    assert too_long == []


def test_functions_are_short() -> None:
    """But those in the list, for their reasons; who has become short leaves it."""
    long = {
        each.name: each.length
        for module in modules()
        for each in definitions(module)
        if each.length > LONGEST_CLASS
        or (each.length > LONGEST_FUNCTION and not isinstance(each.node, ast.ClassDef))
    }
    assert {name: length for name, length in long.items() if name not in LONG} == {}
    assert sorted(LONG) == sorted(long)
