"""What people install: the package's files, its metadata, and what stands around it, agree."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

import ate_dispatcher

if sys.version_info >= (3, 11):
    import tomllib
else:
    # pytest itself depends on it where the standard library has none.
    import tomli as tomllib

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = Path(ate_dispatcher.__file__).resolve().parent
VERSION = ate_dispatcher.__version__
TEST_COMMAND_MARK = "<!-- test-command -->"


def public_modules() -> List[str]:
    """The package and what users may import of it, by listing its folder."""
    found = [path.stem for path in PACKAGE.glob("*.py")]
    found += [path.parent.name for path in PACKAGE.glob("*/__init__.py")]
    public = sorted(name for name in found if not name.startswith("_"))
    return ["ate_dispatcher", *(f"ate_dispatcher.{name}" for name in public)]


def text(name: str) -> str:
    """What a file of the checkout holds."""
    return (CHECKOUT / name).read_text(encoding="utf-8")


def project() -> Dict[str, Any]:
    """The [project] table of pyproject.toml, with [build-system] beside it."""
    whole = tomllib.loads(text("pyproject.toml"))
    return {**whole["project"], "build-system": whole["build-system"]}


def recipe() -> Dict[str, List[str]]:
    """The recipe as ``{"requirements.run": [...]}``.

    It reads the little YAML the recipe keeps to: nested keys, values on one line, lists of those.
    """
    found: Dict[str, List[str]] = {}
    path: List[Tuple[int, str]] = []
    for line in text("conda-recipe/meta.yaml").splitlines():
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        while path and path[-1][0] >= indent:
            path.pop()
        if not entry.startswith("- "):
            key, _, entry = entry.partition(":")
            path.append((indent, key))
        value = entry.strip()
        if value:
            where = ".".join(key for _, key in path)
            found.setdefault(where, []).append(re.sub(r"^- ", "", value).strip('"'))
    return found


def packed(requirements: List[str]) -> List[str]:
    """Requirements without spaces: conda writes ``a >=1`` where pip writes ``a>=1``."""
    return sorted(requirement.replace(" ", "") for requirement in requirements)


def repository_files() -> Iterator[Path]:
    """What is, or could be, committed: by git's word, else by a walk over what is not hidden."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if listed.returncode == 0:
        names = listed.stdout.decode("utf-8").split("\0")
        yield from (CHECKOUT / name for name in names if (CHECKOUT / name).is_file())
        return
    for path in CHECKOUT.rglob("*"):
        parts = path.relative_to(CHECKOUT).parts
        hidden = [part for part in parts if part.startswith(".") and part != ".ci"]
        if path.is_file() and not hidden and "__pycache__" not in parts:
            yield path


# -- the package itself, installed or not


def test_version_is_one() -> None:
    """The version as text and the version as a tuple of ints are the same."""
    assert ".".join(map(str, ate_dispatcher.VERSION_STR)) == VERSION
    assert all(type(part) is int for part in ate_dispatcher.VERSION_STR)


def test_all_is_true() -> None:
    """Every name that a public module promises in `__all__` exists, once."""
    assert ate_dispatcher.__all__
    for name in public_modules():
        module = importlib.import_module(name)
        promised = list(getattr(module, "__all__", ()))
        assert len(set(promised)) == len(promised), name
        assert [each for each in promised if not hasattr(module, each)] == [], name


def test_typed() -> None:
    """Type checkers find the marker that says that our annotations are meant."""
    assert (PACKAGE / "py.typed").is_file()


def test_oldest_grammar() -> None:
    """Every module of the package can be parsed by Python 3.8."""
    modules = sorted(PACKAGE.rglob("*.py"))
    assert modules
    for path in modules:
        ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 8))


def test_installed_metadata() -> None:
    """pip knows the version that is imported, and installs typing-extensions alone with it.

    Fails when the package is not installed; ``pip install -e '.[test]'`` is enough.
    """
    installed = metadata.distribution("ate-dispatcher")
    assert installed.version == VERSION
    required = [each for each in installed.requires or [] if "extra ==" not in each]
    assert [re.split(r"[^\w-]", each)[0] for each in required] == ["typing-extensions"]


def test_nothing_else_is_installed() -> None:
    """The distribution brings the one package and its metadata: no tests, no other folder."""
    files = metadata.files("ate-dispatcher") or []
    # "..": a script, which lies beside the library folder.
    folders = {path.parts[0] for path in files if len(path.parts) > 1} - {".."}
    assert folders - {"ate_dispatcher"} == {f"ate_dispatcher-{VERSION}.dist-info"}


# -- what stands around it


@pytest.mark.checkout
def test_pyproject_version() -> None:
    """pyproject.toml names the version that the package has."""
    assert project()["version"] == VERSION


@pytest.mark.checkout
def test_recipe_identity() -> None:
    """The recipe builds the project of pyproject.toml in its version, for all platforms at once."""
    assert recipe()["package.name"] == [project()["name"]]
    assert recipe()["package.version"] == [VERSION]
    assert recipe()["build.noarch"] == ["python"]
    assert recipe()["about.license"] == [project()["license"]]


@pytest.mark.checkout
def test_recipe_requirements() -> None:
    """The recipe asks for the same Python, libraries and build backend as pyproject.toml.

    Where a library has no wheel is no matter of conda's.
    """
    python = "python" + project()["requires-python"]
    assert packed(recipe()["requirements.run"]) == packed([python, *project()["dependencies"]])
    backend = project()["build-system"]["requires"]
    assert packed(recipe()["requirements.host"]) == packed([python, "pip", *backend])
    assert packed(recipe()["requirements.run_constrained"]) == packed(
        [each.partition(";")[0] for each in project()["optional-dependencies"]["nats"]]
    )
    extra = project()["optional-dependencies"]["test"]
    assert set(packed(recipe()["test.requires"])) <= set(packed(extra))


@pytest.mark.checkout
def test_recipe_imports() -> None:
    """The recipe's own test imports every public module and starts the example rig."""
    assert sorted(recipe()["test.imports"]) == public_modules()
    assert "python -m ate_dispatcher.example_rig --help" in recipe()["test.commands"]


@pytest.mark.checkout
def test_changelog() -> None:
    """The changelog has a section for the current version."""
    assert re.search(rf"^## \[?{re.escape(VERSION)}\]?(\s|$)", text("CHANGELOG.md"), re.MULTILINE)


@pytest.mark.checkout
def test_readme_installs() -> None:
    """What the README tells people to install is this project, with extras that exist."""
    asked = re.findall(r"pip install(?: -\S+)* ['\"]?([^\s'\"`&|]+)", text("README.md"))
    assert asked
    for each in asked:
        match = re.fullmatch(r"(?:\.|ate-dispatcher)(?:\[([\w,-]+)\])?(?:[=<>~].*)?", each)
        assert match, each
        extras = set((match.group(1) or "").split(",")) - {""}
        assert extras <= set(project()["optional-dependencies"]), each


@pytest.mark.checkout
def test_readme_test_command() -> None:
    """The README's test command, which .ci/run executes, installs the checkout into a new venv."""
    after = text("README.md").split(TEST_COMMAND_MARK)
    assert len(after) == 2
    block = re.match(r"\s*```\w*\n(.*?)\n```", after[1], re.DOTALL)
    assert block
    for step in ("-m venv .venv", ".venv/bin/pip install '.[test]'", ".venv/bin/pytest"):
        assert step in block.group(1)


@pytest.mark.checkout
def test_no_machine_paths() -> None:
    """No file of the repository names a path of somebody's machine."""
    personal = re.compile(r"(?<![\w.~-])/(?:home|Users|root|opt|work)/\w|[A-Za-z]:\\Users\\")
    found = [
        f"{path.relative_to(CHECKOUT)}:{number}"
        for path in repository_files()
        for number, line in enumerate(
            path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1
        )
        if personal.search(line)
    ]
    assert found == []


def test_the_daily_names_are_those_that_types_see() -> None:
    """They are imported when asked for; type checkers read another list, which says the same."""
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    seen = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    versions = {"VERSION_STR", "__version__"}
    assert set(seen) == set(ate_dispatcher.__all__) - versions
    for name, home in seen.items():
        module = importlib.import_module(f"ate_dispatcher.{home}")
        assert getattr(ate_dispatcher, name) is getattr(module, name)
    assert set(dir(ate_dispatcher)) >= {*seen, *versions}
    with pytest.raises(AttributeError, match="has no attribute 'Dispatchr'"):
        ate_dispatcher.Dispatchr  # type: ignore[attr-defined]  # noqa: B018


def test_importing_the_package_imports_no_thread_and_no_event_loop() -> None:
    """It costs what its own few lines cost, until somebody asks for a name."""
    code = """
import sys
import ate_dispatcher
assert ate_dispatcher.__version__
print(sorted(name for name in sys.modules if name.startswith("ate_dispatcher")))
from ate_dispatcher import Dispatcher
print("ate_dispatcher.dispatcher" in sys.modules, "asyncio" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['ate_dispatcher']\nTrue False\n"
