"""The table shows what is missing and never rounds an error away."""

from __future__ import annotations

import pytest
from peers import table


def test_a_zero_means_equality() -> None:
    assert table.cell([0.0, 0.0]) == "0 / 0"
    assert table.cell([0.0, 0.0, 1e-9]) == "0 / <1"
    assert table.cell([1e-9, 0.25, 17.0]) == "25.0 / 1,700"
    assert table.cell([]) == "-"


def test_unanswered_cases_are_counted() -> None:
    row = table.Row("peer")
    row.add("full", 150, 100)
    row.add("full", None, 100)
    assert list(table.errors([row], ("full", "LoRA"), "all"))[2] == "| peer | 50.0 / 50 | - | 50.0 / 50 | 1 of 2 |"


def test_only_the_marked_part_is_replaced() -> None:
    document = f"before\n{table.BEGIN}\nold\n{table.END}\nafter"
    assert table.replace(document, "new") == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter"
    with pytest.raises(ValueError, match="no part between"):
        table.replace("no marks", "new")
