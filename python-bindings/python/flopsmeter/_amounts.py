"""Finds the sum over a batch's sizes that gives the amounts seen at some of them, exactly or not at all."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._example_inputs import Size

Amount = dict[str, int]

#: Terms of ``InventoryAmount`` in ``core/src/facts/inventory.rs``; those of a decoder last.
_TERMS: dict[str, Callable[[Size], int]] = {
    "constant": lambda size: 1,
    "per_sequence": lambda size: size.sequences,
    "per_token": lambda size: size.sequences * size.length,
    "per_pair": lambda size: size.sequences * size.length**2,
    "per_position": lambda size: size.length,
    "per_position_pair": lambda size: size.length**2,
    "per_decoder_token": lambda size: size.sequences * size.decoder_length,
    "per_decoder_pair": lambda size: size.sequences * size.decoder_length**2,
    "per_cross_pair": lambda size: size.sequences * size.decoder_length * size.length,
}
_TERMS_BY_SCALES = {"nothing": 1, "sequences": 2, "sequences-and-length": 6}


def terms(scales: str, has_decoder: bool) -> list[str]:
    """Terms that amounts may have."""
    names = list(_TERMS)
    return names if has_decoder and scales == "sequences-and-length" else names[: _TERMS_BY_SCALES[scales]]


def at(amount: Amount, size: Size) -> int:
    """The amount at a size."""
    return sum(factor * _TERMS[name](size) for name, factor in amount.items())


def single(seen: Sequence[int], sizes: Sequence[Size], names: Sequence[str]) -> Amount | None:
    """The one term that gives all of these amounts."""
    for name in names:
        term = _TERMS[name]
        factor, rest = divmod(seen[0], term(sizes[0]))
        if rest == 0 and all(factor * term(size) == amount for size, amount in zip(sizes, seen, strict=True)):
            return {name: factor} if factor else {}
    return None


class Solver:
    """Solves for as many terms as there are sizes."""

    def __init__(self, sizes: Sequence[Size], names: Sequence[str]) -> None:
        self._names = names
        self._inverse = _inverse([[Fraction(_TERMS[name](size)) for name in names] for size in sizes])

    def solve(self, seen: Sequence[int]) -> Amount | None:
        """Whole, non-negative factors, or nothing."""
        factors = [sum((row[place] * amount for place, amount in enumerate(seen)), Fraction()) for row in self._inverse]
        if any(factor.denominator != 1 or factor < 0 for factor in factors):
            return None
        return {name: int(factor) for name, factor in zip(self._names, factors, strict=True) if factor}


def _inverse(rows: list[list[Fraction]]) -> list[list[Fraction]]:
    """Raises ``StopIteration`` for sizes that do not tell the terms apart."""
    count = len(rows)
    wide = [row + [Fraction(int(place == column)) for column in range(count)] for place, row in enumerate(rows)]
    for place in range(count):
        pivot = next(row for row in range(place, count) if wide[row][place] != 0)
        wide[place], wide[pivot] = wide[pivot], wide[place]
        wide[place] = [value / wide[place][place] for value in wide[place]]
        for row in range(count):
            if row != place and wide[row][place] != 0:
                factor = wide[row][place]
                wide[row] = [value - factor * base for value, base in zip(wide[row], wide[place], strict=True)]
    return [row[count:] for row in wide]
