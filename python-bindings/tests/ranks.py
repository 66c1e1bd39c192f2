"""How a rank of a job ends, so that no thread of gloo outlives the interpreter.

One that does may abort the process (pytorch/pytorch#190489): it lets go of the last collective's tensor, which is
Python's, asks for the interpreter, and is ended inside C++ that must not be left so. It takes milliseconds of bad luck,
and ``destroy_process_group`` alone does not help: it joins no thread of a group that something still holds.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from pathlib import Path

from torch import distributed


def leave_group() -> None:
    """Ends the process group with its threads. The job has let go of what holds it: its model, its trainer."""
    if not distributed.is_initialized():
        return
    gc.collect()
    distributed.destroy_process_group()
    left = [name for path in Path("/proc/self/task").glob("*/comm") if "gloo" in (name := path.read_text().strip())]
    assert not left, f"something still holds the process group: {left}"


def leave_process() -> None:
    """For a job with a ``DeviceMesh``, which PyTorch's own caches keep: all of the ordinary end but the interpreter's."""
    distributed.destroy_process_group()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
