from collections.abc import Sequence
from os import PathLike
from typing import final

__all__ = ["Recorder", "__version__", "count", "known"]

__version__: str

@final
class Recorder:
    """One process's connection to its meter; every call is a no-op in a forked child and after a loss."""

    def __new__(
        cls, path: str | PathLike[str], *, host: str, rank: int = 0, local_rank: int = 0, world_size: int = 1
    ) -> Recorder: ...
    def describe(self, facts: str) -> None: ...
    def record(
        self,
        model: int,
        phase: str,
        gradient: bool,
        sequences: int,
        length: int,
        cached_length: int,
        real_tokens: int | None,
        /,
        *,
        decoder_length: int = 0,
        encoder_skipped: bool = False,
        images: int = 0,
        image_grid: Sequence[tuple[int, Sequence[int]]] = ...,
        packed: Sequence[tuple[int, int]] = ...,
        adapters_disabled: bool = False,
        head_positions: int | None = None,
        head_recomputed: bool = False,
        count: int = 1,
    ) -> None: ...
    def progress(self, step: int, first_step: int, max_steps: int | None) -> None: ...
    def traced(self, step: str) -> None: ...
    def finding(self, code: str, text: str) -> None: ...
    def flush(self) -> None: ...
    def flush_if_due(self) -> None: ...
    def close(self, seconds: float) -> None: ...
    def abandon(self) -> None: ...
    def should_stop(self, step: int) -> bool: ...
    def take_loss(self) -> str | None: ...
    @property
    def is_open(self) -> bool: ...

def count(facts: str, passes: str) -> str: ...
def known(config: str) -> bool: ...
