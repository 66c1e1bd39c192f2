"""Values on their way from a device to the host: asked for without waiting, read when they are there.

Sums over passes of one form are added up on the device, so that a step costs a few small kernels and a flush one copy for
each form. Nothing here makes the host wait for the device.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._batch import Batch

MAXIMUM_WAITING = 1024
"""Forms and passes whose values have not arrived, at most; further ones are told without the values."""

_SHIP_INTERVAL_SECONDS = 0.2
_LAST_PATIENCE_SECONDS = 0.5


@dataclass
class _Passes:
    """Passes of one form, told together."""

    positional: tuple[Any, ...]
    fields: dict[str, Any]
    count: int = 0
    sums: dict[str, torch.Tensor] = field(default_factory=dict)
    """What adds up over the passes, on the device."""


@dataclass
class _Parcel:
    """Passes whose values are being copied: each field, where it will stand, and how it is read there."""

    passes: _Passes
    values: list[tuple[str, torch.Tensor, Callable[[torch.Tensor], Any]]]
    is_there: Callable[[], bool]


def ship(values: list[torch.Tensor]) -> tuple[list[torch.Tensor], Callable[[], bool]]:
    """Starts copies to the host; returns where they will stand, and what tells whether they do."""
    hosts = [torch.empty(value.shape, dtype=value.dtype, pin_memory=True) for value in values]
    for host, value in zip(hosts, values, strict=True):
        host.copy_(value, non_blocking=True)
    event = torch.get_device_module(values[0].device).Event()
    event.record()
    return hosts, event.query


class Arrivals:
    """The passes of one model that are told once their values are on the host."""

    def __init__(self, record: Callable[..., None]) -> None:
        self._record = record
        self._sums: dict[tuple[Any, ...], _Passes] = {}
        self._parcels: list[_Parcel] = []
        self._shipped = time.monotonic()

    def __bool__(self) -> bool:
        return bool(self._sums or self._parcels)

    def add(self, positional: tuple[Any, ...], batch: Batch) -> None:
        """A pass: the arguments of `Recorder.record` up to the cached length, and what was read of the call."""
        fields = {"real_tokens": batch.real_tokens, **batch.extras}
        if len(self._sums) + len(self._parcels) >= MAXIMUM_WAITING:
            self._tell(_Passes(positional, fields, 1), {})
        elif all(read is int for _, _, read in batch.later):
            self._add_up(positional, fields, batch)
        else:
            self._send(_Passes(positional, fields, 1), batch.later)

    def _add_up(self, positional: tuple[Any, ...], fields: dict[str, Any], batch: Batch) -> None:
        names = tuple(name for name, _, _ in batch.later)
        form = (positional, names, repr(sorted(fields.items())))
        passes = self._sums.get(form)
        if passes is None:
            passes = self._sums[form] = _Passes(positional, fields)
        passes.count += 1
        for name, value, _ in batch.later:
            # Not in place: the first value may be an inference tensor and the next one not.
            before = passes.sums.get(name)
            passes.sums[name] = value if before is None else before + value

    def move(self) -> None:
        """Tells what has arrived and, now and then, sends what has added up."""
        self._receive()
        now = time.monotonic()
        if self._sums and now - self._shipped >= _SHIP_INTERVAL_SECONDS:
            self._shipped = now
            self._send_sums()

    def finish(self) -> None:
        """At the end, when waiting delays nothing: what does not arrive shortly is told without its values."""
        self._send_sums()
        deadline = time.monotonic() + _LAST_PATIENCE_SECONDS
        self._receive()
        while self._parcels and time.monotonic() < deadline:
            time.sleep(0.001)
            self._receive()
        for parcel in self._parcels:
            self._tell(parcel.passes, {})
        self._parcels.clear()

    def _send_sums(self) -> None:
        for passes in self._sums.values():
            self._send(passes, [(name, value, int) for name, value in passes.sums.items()])
        self._sums.clear()

    def _send(self, passes: _Passes, values: list[tuple[str, torch.Tensor, Callable[[torch.Tensor], Any]]]) -> None:
        hosts, is_there = ship([value for _, value, _ in values])
        landing = [(name, host, read) for (name, _, read), host in zip(values, hosts, strict=True)]
        self._parcels.append(_Parcel(passes, landing, is_there))

    def _receive(self) -> None:
        under_way = []
        for parcel in self._parcels:
            if parcel.is_there():
                self._tell(parcel.passes, {name: read(host) for name, host, read in parcel.values})
            else:
                under_way.append(parcel)
        self._parcels = under_way

    def _tell(self, passes: _Passes, arrived: dict[str, Any]) -> None:
        fields = dict(passes.fields)
        for name, value in arrived.items():
            before = fields.get(name)
            fields[name] = before + value if isinstance(value, list) and before else value
        real_tokens = fields.pop("real_tokens")
        # Where the number of scored positions did not arrive, the field holds all of them for one pass.
        if "head_positions" in fields and "head_positions" not in arrived:
            fields["head_positions"] *= passes.count
        self._record(*passes.positional, real_tokens, **fields, count=passes.count)
