"""How a variant of the package is made that breaks one protocol."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any, List, NamedTuple, Tuple

__all__ = ["Variant", "make"]


class Variant(NamedTuple):
    """In *function* of *module*, each *old* text becomes the *new* one; caught by any of those."""

    name: str
    protocol: str
    module: str
    function: str
    changes: Tuple[Tuple[str, str], ...]
    caught_by: Tuple[str, ...]


def make(variant: Variant, package: Path, folder: Path) -> Path:
    """A copy of *package* in *folder*, with the change; where it is."""
    copy = folder / package.name
    shutil.copytree(str(package), str(copy), ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / variant.module
    text = file.read_text(encoding="utf-8")
    lines = text.splitlines(keepends=True)
    first, last = _lines_of(ast.parse(text), variant.function.split("."))
    body = "".join(lines[first:last])
    for old, new in variant.changes:
        if body.count(old) != 1:
            where = f"{variant.module}, {variant.function}"
            raise LookupError(f"{variant.name}: {body.count(old)} times in {where}:\n{old}")
        body = body.replace(old, new)
    changed = "".join(lines[:first]) + body + "".join(lines[last:])
    file.write_text(changed, encoding="utf-8")
    return copy


def _lines_of(tree: Any, names: List[str]) -> Tuple[int, int]:
    """Where the function called so begins and ends."""
    node = tree
    for name in names:
        inside = [each for each in node.body if getattr(each, "name", None) == name]
        if len(inside) != 1:
            raise LookupError(f"{'.'.join(names)} is there {len(inside)} times")
        node = inside[0]
    return node.lineno - 1, node.end_lineno
