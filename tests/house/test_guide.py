"""The guide comes with the package, and a command prints it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ate_dispatcher
from ate_dispatcher import guide

PACKAGE = Path(ate_dispatcher.__file__).resolve().parent


def test_every_chapter_is_listed() -> None:
    """No file is forgotten, and none is missing."""
    assert {path.stem for path in (PACKAGE / "guide").glob("*.md")} == set(guide.CHAPTERS)


@pytest.mark.parametrize("chapter", guide.CHAPTERS)
def test_prints(chapter: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A chapter is printed as it is; in ASCII, for any console."""
    assert guide.main([chapter]) == 0
    printed = capsys.readouterr().out
    assert printed == guide.text(chapter)
    assert printed.isascii()
    assert printed.endswith("\n")
    assert printed.startswith("# ")


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a name: all chapters, one line each, that fits."""
    assert guide.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line, chapter in zip(lines, guide.CHAPTERS):
        assert re.fullmatch(rf"{re.escape(chapter)} +\S.*[.]", line)
        assert len(line) <= 100


def test_wrong_name(capsys: pytest.CaptureFixture[str]) -> None:
    """Status 2, and the names that would have been right."""
    with pytest.raises(SystemExit) as ended:
        guide.main(["testin"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert all(chapter in said for chapter in guide.CHAPTERS)
    with pytest.raises(ValueError, match=r"chapter must be one of first-rig, .*, not 'testin'"):
        guide.text("testin")


def test_command() -> None:
    """``python -m ate_dispatcher.guide`` is this."""
    done = subprocess.run(
        [sys.executable, "-m", "ate_dispatcher.guide", "testing"],
        cwd=str(PACKAGE.parent),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == guide.text("testing")


def test_from_a_zip_file(tmp_path: Path) -> None:
    """The package need not lie unpacked on a disk."""
    packed = tmp_path / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for name in ("__init__.py", "errors.py", "guide/__init__.py", "guide/__main__.py"):
            archive.write(PACKAGE / name, f"ate_dispatcher/{name}")
        for chapter in guide.CHAPTERS:
            archive.write(PACKAGE / f"guide/{chapter}.md", f"ate_dispatcher/guide/{chapter}.md")
    done = subprocess.run(
        [sys.executable, "-c", "from ate_dispatcher.guide import *; main(['stopping'])"],
        env={**os.environ, "PYTHONPATH": str(packed)},
        cwd=str(tmp_path),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == guide.text("stopping")


def test_a_reader_that_goes_away() -> None:
    """``... | head -1`` is no error."""
    command = f"'{sys.executable}' -m ate_dispatcher.guide reference | head -n 1"
    if sys.platform == "win32":
        pytest.skip("has no head")
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=str(PACKAGE.parent),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("# ")
    assert done.stderr == ""
