"""What is shown as text, shown as a table where that can be: notebooks, IPython, rich."""

from __future__ import annotations

import html
from typing import Any, List, NamedTuple, Sequence, Tuple

__all__ = ["Table", "Tabular"]


class Table(NamedTuple):
    """A title, the names of the columns, and rows of texts."""

    title: str
    columns: Tuple[str, ...]
    rows: List[Sequence[str]]


class Tabular:
    """What can be shown as a table. Called by notebooks and by rich, on their threads."""

    __slots__ = ()

    def _table(self) -> Table:
        raise NotImplementedError

    def _repr_html_(self) -> str:
        """For notebooks. Whatever names have in them is text."""
        title, columns, rows = self._table()
        head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
        )
        return (
            f"<table><caption>{html.escape(title)}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        )

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """For IPython: what ``print`` shows."""
        printer.text(str(self))

    def __rich__(self) -> Any:
        """For rich, which is there when this is called."""
        from rich.markup import escape
        from rich.table import Table as RichTable

        title, columns, rows = self._table()
        table = RichTable(*columns, title=escape(title), title_justify="left")
        for row in rows:
            table.add_row(*map(escape, row))
        return table
