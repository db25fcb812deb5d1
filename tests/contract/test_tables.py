"""Reports, handles and statistics show as tables where that can be."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, List

import pytest
from virtual import FOREVER, World, world

from ate_dispatcher import Producer

__all__ = ["world"]


class Cells(HTMLParser):
    """The texts of a table's cells, and every tag that is opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: List[str] = []
        self.tags: List[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


class Printer:
    """What IPython hands to `_repr_pretty_`."""

    def __init__(self) -> None:
        self.said = ""

    def text(self, text: str) -> None:
        self.said += text


@pytest.fixture
def handle(world: World) -> Any:
    """Of a request that ended with one answer, one error, and one that is missing."""
    world.producer(10, name="a<b>[red]")
    world.producer(20, OSError("x"), name="raises")
    world.producer(FOREVER, name="hung")
    handle = world.send(ttl=100)
    handle.wait()
    return handle


def test_a_report_is_a_table_in_a_notebook(handle: Any) -> None:
    """A row for each member; names are text, whatever they have in them."""
    report = handle.report()
    found = Cells(report._repr_html_())
    assert found.texts[0] == str(report).splitlines()[0]
    assert found.texts[1:7] == ["producer", "verdict", "waited ms", "ran ms", "error", "a<b>[red]"]
    assert "OSError" in found.texts
    assert "MISSING (running)" in found.texts
    assert found.tags.count("tr") == 4
    assert set(found.tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td"}


def test_a_handle_shows_its_report(handle: Any) -> None:
    """As it is when one looks."""
    assert handle._repr_html_() == handle.report()._repr_html_()


def test_statistics_are_a_table_of_what_there_was(handle: Any, world: World) -> None:
    """Without what never happened."""
    found = Cells(world.dispatcher.statistics()._repr_html_())
    assert found.texts[0] == "1 requests (0 open), fan-out 3"
    assert "DEADLINE" in found.texts
    assert "CANCELLED" not in found.texts


def test_the_interactive_shell_shows_what_print_shows(handle: Any, world: World) -> None:
    """Not the dataclass."""
    for thing in (handle.report(), handle, world.dispatcher.statistics()):
        printer = Printer()
        thing._repr_pretty_(printer, False)
        assert printer.said == str(thing)


@pytest.mark.thorough
def test_rich_prints_tables(handle: Any, world: World) -> None:
    """Names are no markup."""
    console = pytest.importorskip("rich.console")
    shown = console.Console(width=120)
    with shown.capture() as capture:
        shown.print(handle.report())
        shown.print(world.dispatcher.statistics())
    text = capture.get()
    assert "a<b>[red]" in text
    assert "hung" in text
    assert "fan-out 3" in text


def test_a_report_without_members(world: World) -> None:
    """It has a head and no rows."""
    report = world.send(topic="nobody").report()
    assert Cells(report._repr_html_()).texts == [str(report)]


def test_a_sender_shows_its_options(world: World) -> None:
    """Those that were given."""
    site = world.producer(name="site")
    shown = repr(world.dispatcher.options(ttl=50, need=2, only=[site], ordering_key="k"))
    assert shown == f"<Sender with ttl=50, need=2, only=[{site!r}], ordering_key='k'>"
    assert repr(world.dispatcher.options(ttl=None)) == "<Sender with ttl=None>"
    assert repr(world.dispatcher.options()) == "<Sender with no options>"


def test_a_handle_lists_what_is_documented(handle: Any) -> None:
    """Not what the ledger keeps in it."""
    assert {name for name in dir(handle) if not name.startswith("_")} == {
        *("id", "topic", "completion", "done", "replies", "missing", "progress", "error"),
        *("report", "wait", "results", "by_producer", "cancel"),
        *("add_done_callback", "remove_done_callback"),
    }
    assert all(hasattr(handle, name) for name in dir(handle))


def test_producers_without_instruments_may_say_none() -> None:
    """As any other optional argument."""

    class Site(Producer):
        def produce_dispatcher_output(self, topic: Any) -> None: ...

    Site(exclusive=None)
