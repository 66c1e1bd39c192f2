"""Meters the operations of a fine-tuning job.

Under ``flopsmeter run`` nothing of this is needed: a ``transformers.Trainer`` is metered by itself. By hand::

    trainer = Trainer(..., callbacks=[flopsmeter.FlopsMeterCallback()])

    with flopsmeter.Meter(model) as meter:
        for batch in batches:
            ...
            optimizer.step()
            meter.step()

Importing this package imports neither torch nor transformers.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._flopsmeter import __version__
    from .callback import FlopsMeterCallback
    from .counting import Count, count
    from .meter import Meter

__all__ = ["Count", "FlopsMeterCallback", "Meter", "__version__", "count"]

_HOMES = {
    "Count": "counting",
    "FlopsMeterCallback": "callback",
    "Meter": "meter",
    "__version__": "_flopsmeter",
    "count": "counting",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
