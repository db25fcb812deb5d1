"""What all tests on real servers share."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import pytest
from far_parts import FarParts
from nats_server import Server
from over_nats import Here


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that nobody troubles; each test has a namespace of its own there."""
    server = Server(tmp_path_factory.mktemp("shared"))
    yield server
    server.kill()


@pytest.fixture(scope="module")
def far_parts() -> Iterator[FarParts]:
    """Processes for all tests: to start one takes long."""
    made = FarParts()
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path, far_parts: FarParts) -> Iterator[Here]:
    """Nothing yet."""
    made = Here(tmp_path, far_parts)
    yield made
    made.close()
