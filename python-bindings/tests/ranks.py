"""How a rank of a job ends, so that no thread of gloo outlives the interpreter.

One that does may abort the process (pytorch/pytorch#190489): it lets go of the last collective's tensor, which is
Python's, asks for the interpreter, and is ended inside C++ that must not be left so. It takes milliseconds of bad luck,
and ``destroy_process_group`` alone does not help: it joins no thread of a group that something still holds.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
import time
from pathlib import Path

from torch import distributed


def leave_group() -> None:
    """Ends the process group with its threads. The job has let go of what holds it: its model, its trainer."""
    if not distributed.is_initialized():
        return
    gc.collect()
    distributed.destroy_process_group()
    # A thread that was joined may stand there for a moment.
    patient_until = time.monotonic() + 30.0
    while (left := _threads_of_gloo()) and time.monotonic() < patient_until:
        time.sleep(0.01)
    assert not left, f"something still holds the process group: {left}"


def _threads_of_gloo() -> list[str]:
    names = []
    for path in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):
            names.append(path.read_text().strip())
    return [name for name in names if "gloo" in name]


def leave_process() -> None:
    """For a job with a ``DeviceMesh``, which PyTorch's own caches keep: all of the ordinary end but the interpreter's."""
    distributed.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
