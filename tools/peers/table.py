"""The comparison as Markdown, and the part of METHOD.md it stands in."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

BEGIN = "<!-- made by `make peers`: begin -->"
END = "<!-- made by `make peers`: end -->"


@dataclass
class Row:
    """One estimator's relative errors, by column."""

    name: str
    errors: dict[str, list[float]] = field(default_factory=dict)
    unanswered: int = 0

    def add(self, column: str, figure: int | None, counted: int) -> None:
        if figure is None:
            self.unanswered += 1
        else:
            self.errors.setdefault(column, []).append(abs(figure - counted) / counted)

    @property
    def all(self) -> list[float]:
        return [error for errors in self.errors.values() for error in errors]

    @property
    def answered(self) -> int:
        return len(self.all)


def cell(errors: Sequence[float]) -> str:
    """Median and largest error in per cent; a plain 0 only where every figure is met to the last operation."""
    if not errors:
        return "-"
    return f"{_percent(statistics.median(errors), 1)} / {_percent(max(errors), 0)}"


def _percent(error: float, digits: int) -> str:
    if error == 0:
        return "0"
    if 100 * error < 0.5 * 10**-digits:
        return f"<{10**-digits:.{digits}f}"
    return f"{100 * error:,.{digits}f}"


def errors(rows: Sequence[Row], columns: Sequence[str], everything: str) -> Iterator[str]:
    """Lines of a table of errors; `everything` heads a column over all others."""
    head = ("estimator", *columns, everything, "cases answered")
    return lines(head, (_cells(row, columns) for row in rows))


def _cells(row: Row, columns: Sequence[str]) -> list[str]:
    by_column = [cell(row.errors.get(column, [])) for column in columns]
    return [row.name, *by_column, cell(row.all), f"{row.answered} of {row.answered + row.unanswered}"]


def lines(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def replace(document: str, section: str) -> str:
    """The document with the marked part made anew."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document has no part between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{section}\n{END}{after}"
