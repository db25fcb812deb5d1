"""Runs of pytest in a folder of their own, for which the plugin is installed as for anybody."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import pytest
from rig import PACKAGE_PARENT


def installed() -> bool:
    """Whether pytest finds the plugin by itself, as it does where the package is installed."""
    points: Any = metadata.entry_points()
    if hasattr(points, "select"):
        found = points.select(group="pytest11")
    else:
        found = points.get("pytest11", ())
    return any(point.value == "ate_dispatcher.pytest_plugin" for point in found)


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Subprocesses have the plugin, and nothing of the settings of this run."""
    monkeypatch.setenv("PYTHONPATH", PACKAGE_PARENT)
    # Without hypothesis, which none of them uses and whose import takes longer than all else.
    ours = "" if installed() else "-p ate_dispatcher.pytest_plugin "
    monkeypatch.setenv("PYTEST_ADDOPTS", f"{ours}-p no:hypothesispytest")
