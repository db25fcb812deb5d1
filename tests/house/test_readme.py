"""What people read is true: the README's code runs, and so do the examples in docstrings."""

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
from typing import Iterator, List, Tuple

import pytest
from projects import plugin
from rig import all_over

import ate_dispatcher.example_rig

__all__ = ["plugin"]

pytest_plugins = ["pytester"]

README = Path(__file__).resolve().parents[2] / "README.md"
CORE = ("dispatcher", "testing")
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


def blocks(language: str) -> Iterator[Tuple[int, str]]:
    """The README's fenced blocks of one language, each with the line it begins in."""
    text = README.read_text(encoding="utf-8")
    for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        yield text.count("\n", 0, match.start()) + 1, match.group(1)


def promised(block: str) -> List[str]:
    """What the comments behind its prints say that they print."""
    return re.findall(r"^\s*print\(.*\)  # (.*)$", block, re.MULTILINE)


def is_subsequence(wanted: List[str], lines: List[str]) -> bool:
    """Whether *lines* has all that is *wanted*, in that order."""
    rest = iter(lines)
    return all(line in rest for line in wanted)


@pytest.mark.checkout
def test_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """All Python of the README, pasted in order into one session, prints what it says it prints.

    And leaves no thread behind.
    """
    monkeypatch.setattr(sys, "displayhook", lambda value: None)
    before = set(threading.enumerate())
    session = Session({"__name__": "__main__"})
    checked = 0
    for line, block in blocks("python"):
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                session.paste(block)
        except BaseException as error:
            raise AssertionError(f"README.md, block in line {line}: {error!r}") from error
        wanted = promised(block)
        assert is_subsequence(wanted, printed.getvalue().splitlines()), (
            f"README.md, block in line {line}: promises {wanted}, prints {printed.getvalue()!r}"
        )
        checked += len(wanted)
    assert checked > 10
    all_over(but=before)


@pytest.mark.checkout
def test_tests_of_the_chapter_on_testing_pass(pytester: pytest.Pytester, plugin: None) -> None:
    """They are tests of their own, and short ones; and quick, although they tell of minutes."""
    found = [
        block for _, block in blocks("python") if re.search(r"^def test_", block, re.MULTILINE)
    ]
    assert len(found) == 4
    text = "import time\nfrom ate_dispatcher import Producer\n\n" + "\n".join(found)
    tests = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert all((node.end_lineno or 0) - node.lineno < 20 for node in tests)
    pytester.makepyfile(text)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--durations=0", "-vv")
    result.assert_outcomes(passed=sum(node.name.startswith("test_") for node in tests))
    times = re.findall(r"^([0-9.]+)s call ", result.stdout.str(), re.MULTILINE)
    assert sum(map(float, times)) < 2


@pytest.mark.checkout
def test_every_print_says_what() -> None:
    """Nobody has to guess what an example prints."""
    for line, block in blocks("python"):
        prints = re.findall(r"^\s*print\(", block, re.MULTILINE)
        assert len(prints) == len(promised(block)), f"README.md, block in line {line}"


@pytest.mark.checkout
def test_two_commands() -> None:
    """The README begins with the two commands; .ci/run finds the second one by its mark."""
    text = README.read_text(encoding="utf-8")
    run, test = f"```sh\n{RUN}\n```\n", f"<!-- test-command -->\n```sh\n{TEST}\n```\n"
    assert 0 < text.index(run) < text.index(test) < text.index("\n## ")
    assert text.count("<!-- test-command -->") == 1


@pytest.mark.checkout
def test_benchmark_marks() -> None:
    """The figures have their place, and the command that makes them stands beside it."""
    text = README.read_text(encoding="utf-8")
    place = text.index("<!-- benchmark -->"), text.index("<!-- /benchmark -->")
    assert text.index("\n## Speed") < place[0] < place[1]
    assert "\npython tests/benchmarks/compare.py\n" in text[place[1] :]


@pytest.mark.checkout
def test_links() -> None:
    """Every link leads to a heading of the README or to a file of the checkout."""
    text = README.read_text(encoding="utf-8")
    headings = re.findall(r"^##+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        else:
            assert (README.parent / target).exists(), target


@pytest.mark.checkout
def test_nothing_forgotten() -> None:
    """Every verdict, every completion and every event has its place in the README."""
    text = README.read_text(encoding="utf-8")
    events = importlib.import_module("ate_dispatcher.events")
    words = [*ate_dispatcher.Verdict.__members__, *ate_dispatcher.Completion.__members__]
    words += [getattr(events, name).name for name in events.__all__ if name != "Event"]
    assert [word for word in words if f"`{word}`" not in text] == []


@pytest.mark.checkout
@pytest.mark.parametrize(
    "name", sorted(path.stem for path in Path(ate_dispatcher.__file__).parent.glob("*.py"))
)
def test_docstrings(name: str) -> None:
    """The examples in the docstrings of a module work."""
    module = importlib.import_module(f"ate_dispatcher.{name}".replace(".__init__", ""))
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0 or name not in CORE
