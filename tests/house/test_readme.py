"""What people read is true: the code of README and guide runs, and so do examples in docstrings."""

from __future__ import annotations

import ast
import code
import contextlib
import doctest
import importlib
import io
import re
import sys
import threading
from pathlib import Path
from types import CodeType
from typing import Any, Iterator, List, NamedTuple, Optional, Set

import pytest
from projects import plugin
from rig import all_over

import ate_dispatcher.example_rig
from ate_dispatcher import guide

__all__ = ["plugin"]

pytest_plugins = ["pytester"]

README = Path(__file__).resolve().parents[2] / "README.md"
PAGES = [pytest.param("README", marks=pytest.mark.checkout), *guide.CHAPTERS]
"""The README and the chapters, which are there where the package is."""

LARGEST = 12_000
"""Bytes that the README may have."""

PACKAGE = Path(ate_dispatcher.__file__).parent
EXAMPLES = [
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]
"""Modules with examples in their docstrings."""
"""The modules whose docstrings must have examples; others may."""

RUN = (
    "python3 -m venv .venv && .venv/bin/pip install ."
    " && .venv/bin/python -m ate_dispatcher.example_rig --ttl 250"
)
TEST = "python3 -m venv .venv && .venv/bin/pip install '.[test]' && .venv/bin/pytest"


class Session(code.InteractiveConsole):
    """Somebody who pastes line by line; an error that they would see is raised here."""

    def runcode(self, code: CodeType) -> None:
        exec(code, self.locals)  # type: ignore[arg-type]

    def showsyntaxerror(self, filename: object = None, **_: object) -> None:
        """Raise what the console would print; it is being handled."""
        raise

    def paste(self, block: str) -> None:
        """Type a block and end it with the empty line that most fences leave away."""
        more = False
        for line in [*block.splitlines(), ""]:
            more = self.push(line)
        assert not more, "the block ends in the middle of a statement"


class Block(NamedTuple):
    """A fenced block: what is in it, where it begins, and the mark in the line above it.

    *picture* is the block of plain text that follows, with nothing between but a sentence that
    ends in a colon, or nothing at all.
    """

    line: int
    code: str
    mark: str
    picture: Optional[str]


def text_of(page: str) -> str:
    """What the README, or a chapter, says."""
    return README.read_text(encoding="utf-8") if page == "README" else guide.text(page)


def blocks(page: str) -> Iterator[Block]:
    """The blocks of Python on one page."""
    text = text_of(page)
    for match in re.finditer(
        r"^(?:<!-- ([\w-]+) -->\n)?```python\n(.*?)^```$"
        r"(?=(?:\n\n(?:[^\n]+\n)*[^\n]+:)?\n\n```text\n(.*?)^```$)?",
        text,
        re.DOTALL | re.MULTILINE,
    ):
        line = text.count("\n", 0, match.start(2))
        yield Block(line, match.group(2), match.group(1) or "", match.group(3))


def promised(block: str) -> List[str]:
    """What the comments behind its prints say that they print."""
    return re.findall(r"^\s*print\(.*\)  # (.*)$", block, re.MULTILINE)


def pictured(block: Block) -> bool:
    """Whether it ends with a print that says nothing, as the picture of it follows."""
    last = block.code.rstrip().split("\n")[-1]
    return block.picture is not None and "print(" in last and not promised(last)


def is_subsequence(wanted: List[str], lines: List[str]) -> bool:
    """Whether *lines* has all that is *wanted*, in that order."""
    rest = iter(lines)
    return all(line in rest for line in wanted)


def shape(picture: str) -> str:
    """A report or a table without its numbers, which differ, and what they push aside."""
    return " ".join(re.sub(r"\d+\.\d+", "0.0", picture).split())


def prose(page: str) -> str:
    """A page without its blocks."""
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def anchors(page: str) -> Set[str]:
    """What a link may point at."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_session(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All Python of a page, pasted in order into one session, prints what it says it prints.

    And leaves no thread behind.
    """
    monkeypatch.setattr(sys, "displayhook", lambda value: None)
    before = set(threading.enumerate())
    session = Session({"__name__": "__main__"})
    checked = 0
    for block in blocks(page):
        where = f"{page}, block in line {block.line}"
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                session.paste(block.code)
        except BaseException as error:
            raise AssertionError(f"{where}: {error!r}") from error
        wanted, found = promised(block.code), printed.getvalue()
        assert is_subsequence(wanted, found.splitlines()), (
            f"{where}: promises {wanted}, prints {found!r}"
        )
        if pictured(block):
            assert shape(found).endswith(shape(block.picture or "")), f"{where} prints {found}"
        checked += len(wanted) + pictured(block)
    assert checked or page in ("testing", "reference")
    session.locals.clear()
    all_over(but=before)


@pytest.mark.parametrize("page", PAGES)
def test_every_print_says_what(page: str) -> None:
    """Nobody has to guess what an example prints."""
    for block in blocks(page):
        prints = re.findall(r"^\s*print\(", block.code, re.MULTILINE)
        assert len(prints) == len(promised(block.code)) + pictured(block), f"{page}:{block.line}"


@pytest.mark.parametrize("page", [PAGES[0], "testing"])
def test_tests_pass_or_show_what_is_printed(
    page: str, pytester: pytest.Pytester, plugin: None
) -> None:
    """The tests of a page are tests, short ones and quick, although they tell of minutes.

    Those that are marked fail, with the picture that follows them.
    """
    test = re.compile(r"^ *def test_", re.MULTILINE)
    found = [block for block in blocks(page) if test.search(block.code)]
    failing = [block for block in found if block.mark == "fails"]
    passing = [block for block in found if block.mark != "fails"]
    assert len(failing) == 1
    for name, each in (("test_rig", failing), ("test_passing", passing)):
        text = "\n".join(block.code for block in each)
        tests = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        assert all((node.end_lineno or 0) - node.lineno < 20 for node in tests)
        pytester.makepyfile(**{name: text})
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--durations=0", "-vv")
    passed = sum(len(test.findall(each.code)) for each in passing)
    result.assert_outcomes(passed=passed, failed=1)
    assert (failing[0].picture or "no picture") in result.stdout.str() + "\n"
    times = re.findall(r"^([0-9.]+)s call ", result.stdout.str(), re.MULTILINE)
    assert sum(map(float, times)) < 2


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    """Every link leads to a heading that is there, or to a file of the checkout."""
    for target in re.findall(r"\]\(([^)]+)\)", prose(page)):
        file, _, anchor = target.partition("#")
        if page == "README" and not file.startswith("ate_dispatcher/guide/"):
            other = page
            assert not file or (README.parent / file).is_file(), target
        else:
            other = page if not file else file.replace("ate_dispatcher/guide/", "")
            other = re.sub(r"\.md$", "", other)
            assert other in (page, *guide.CHAPTERS), target
            assert page == "README" or "/" not in file, target
        assert not anchor or anchor in anchors(other), target


@pytest.mark.checkout
def test_readme_leads_to_every_chapter() -> None:
    """And the guide names them in the order of the README."""
    linked = re.findall(r"\(ate_dispatcher/guide/([^)#]+)\.md", text_of("README"))
    assert set(linked) == set(guide.CHAPTERS)


@pytest.mark.checkout
def test_readme_is_short() -> None:
    """It is read in one go; what it begins with is as short as it says."""
    assert len(README.read_bytes()) <= LARGEST
    first = next(blocks("README"))
    lines = [line for line in first.code.splitlines() if line and "import" not in line]
    assert len(lines) <= 8


@pytest.mark.checkout
def test_two_commands() -> None:
    """The README has the two commands; .ci/run finds the second one by its mark."""
    text = text_of("README")
    run, test = f"```sh\n{RUN}\n```\n", f"<!-- test-command -->\n```sh\n{TEST}\n```\n"
    assert text.index("\n## Install") < text.index(run) < text.index(test)
    assert text.count("<!-- test-command -->") == 1


@pytest.mark.checkout
def test_benchmark_marks() -> None:
    """The figures have their place, and the command that makes them stands beside it."""
    text = text_of("README")
    place = text.index("<!-- benchmark -->"), text.index("<!-- /benchmark -->")
    assert text.index("\n## Speed") < place[0] < place[1]
    assert "`python tests/benchmarks/compare.py`" in text[place[1] :]


def test_reference_forgets_nothing() -> None:
    """Every verdict, every event, every field and every option has its place in the reference."""
    text = guide.text("reference")
    events = importlib.import_module("ate_dispatcher.events")
    errors = importlib.import_module("ate_dispatcher.errors")
    words: List[str] = []
    for enum in (ate_dispatcher.Verdict, ate_dispatcher.Completion, ate_dispatcher.Standing):
        words += enum.__members__
    words += [getattr(events, name).name for name in events.__all__ if name != "Event"]
    words += errors.__all__
    for kind in (
        *(ate_dispatcher.Report, ate_dispatcher.MemberReport, ate_dispatcher.Statistics),
        *(ate_dispatcher.Reply, ate_dispatcher.Handle, ate_dispatcher.CurrentRequest),
    ):
        words += fields_of(kind)
    words += keywords_of(ate_dispatcher.Dispatcher.options)
    words += keywords_of(ate_dispatcher.Dispatcher.stop)
    words += keywords_of(ate_dispatcher.Dispatcher.__init__)
    words += keywords_of(ate_dispatcher.Producer.__init__)
    assert [word for word in words if not re.search(rf"`{re.escape(word)}\b", text)] == []


def fields_of(kind: type) -> List[str]:
    """What a class of ours offers beside what all objects have."""
    if kind is ate_dispatcher.Handle:
        # It knows what of it is the ledger's.
        names: Any = object.__new__(kind).__dir__()
    else:
        names = {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}
    return sorted(name for name in names if not name.startswith("_"))


def keywords_of(function: Any) -> List[str]:
    """The names of its parameters that are given by name alone."""
    names: List[str] = list(function.__kwdefaults__)
    return names


@pytest.mark.checkout
@pytest.mark.parametrize("name", EXAMPLES)
def test_docstrings(name: str) -> None:
    """The examples in the docstrings of a module work."""
    module = importlib.import_module(f"ate_dispatcher.{name}".replace(".__init__", ""))
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0
