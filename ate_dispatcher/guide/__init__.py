"""The manual, chapter by chapter, for places without a network.

``python -m ate_dispatcher.guide`` lists the chapters, ``python -m ate_dispatcher.guide testing``
prints one. They are Markdown files in this package.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import sys
from typing import List, Optional, Sequence

from ..errors import BadValue

__all__ = ["CHAPTERS", "main", "summary", "text"]

CHAPTERS = (
    "first-rig",
    "waiting-and-policies",
    "together",
    "listeners-and-hooks",
    "stopping",
    "testing",
    "asyncio-and-gui",
    "several-machines",
    "from-0.1.0",
    "from-other-buses",
    "cookbook",
    "reference",
)
"""Their names, in the order in which they are meant to be read."""


def text(chapter: str) -> str:
    """The whole of one chapter, as Markdown.

    Raises
    ------
    BadValue
        There is no chapter of that name; the message names those there are.
    """
    if chapter not in CHAPTERS:
        raise BadValue(f"chapter must be one of {', '.join(CHAPTERS)}, not {chapter!r}")
    # Also from a zip file, and on every Python alike.
    found = pkgutil.get_data(__name__, f"{chapter}.md") or b""
    return found.decode("utf-8").replace("\r\n", "\n")


def summary(chapter: str) -> str:
    """One line that says what is in it: the first paragraph under its title."""
    return " ".join(text(chapter).split("\n\n")[1].split())


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command with the arguments *argv*; its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m ate_dispatcher.guide",
        description="Print one chapter of the guide; without a name, list the chapters.",
    )
    parser.add_argument("chapter", metavar="CHAPTER", nargs="?", choices=CHAPTERS)
    chapter = parser.parse_args(argv).chapter
    try:
        sys.stdout.write(_listing() if chapter is None else text(chapter))
        sys.stdout.flush()
    except BrokenPipeError:
        # Its reader, a pager perhaps, has seen enough. Nothing is left to flush at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _listing() -> str:
    width = max(map(len, CHAPTERS))
    lines: List[str] = [f"{chapter:<{width}}  {summary(chapter)}" for chapter in CHAPTERS]
    return "\n".join([*lines, "", "python -m ate_dispatcher.guide CHAPTER prints one.", ""])
