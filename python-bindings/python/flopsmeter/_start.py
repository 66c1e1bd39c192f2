"""Runs at the start of every Python process under ``flopsmeter run`` (``flopsmeter_start.pth``).

Waits for ``transformers.trainer`` to be imported and adds our callback to those that every ``Trainer`` gets. Only the
standard library is imported until then, and nothing here may keep an import from succeeding.
"""

import sys

_TRAINER = "transformers.trainer"


def _instrument(trainer: object) -> None:
    try:
        from .callback import AutomaticCallback

        callbacks = trainer.DEFAULT_CALLBACKS  # type: ignore[attr-defined]
        if AutomaticCallback not in callbacks:
            callbacks.append(AutomaticCallback)
    except Exception as problem:
        _tell(problem)


def _tell(problem: Exception) -> None:
    try:
        sys.stderr.write(f"flopsmeter: this process is not metered: {type(problem).__name__}: {problem}\n")
    except Exception:
        pass


class _TrainerFinder:
    """Finds the trainer's module as it would be found without us, and instruments it once it has run."""

    _finds = False

    def find_spec(self, name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != _TRAINER or self._finds:
            return None
        # Python's own way through the finders, of which older ones have other methods; what they raise is the job's.
        find = getattr(sys.modules.get("_frozen_importlib"), "_find_spec", None)
        if find is None:
            _tell(LookupError("this Python finds modules in a way of its own"))
            return None
        self._finds = True
        try:
            spec = find(name, path, target)
        finally:
            self._finds = False
        if spec is not None:
            _instrument_after(spec.loader)  # type: ignore[no-untyped-call]
        return spec


def _instrument_after(loader):  # type: ignore[no-untyped-def]
    """The loader keeps its type and everything else: tracebacks and `inspect` ask it for the source."""
    try:
        execute = loader.exec_module

        def exec_module(module):  # type: ignore[no-untyped-def]
            execute(module)
            # One loader may load many, as that of an archive does.
            if getattr(module, "__name__", None) == _TRAINER:
                _instrument(module)

        loader.exec_module = exec_module
    except Exception as problem:
        _tell(problem)


def _install() -> None:
    loaded = sys.modules.get(_TRAINER)
    if loaded is not None:
        _instrument(loaded)
    elif not any(type(finder) is _TrainerFinder for finder in sys.meta_path):
        sys.meta_path.insert(0, _TrainerFinder())


_install()
