"""The process's one connection to its meter, and what happens when there is none."""

from __future__ import annotations

import atexit
import os
import select
import shutil
import subprocess
import sys
import sysconfig
import warnings
from typing import TYPE_CHECKING

from ._alike import Alike
from ._flopsmeter import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable

SOCKET_VARIABLE = "FLOPSMETER_SOCKET"
"""Set by ``flopsmeter run`` for everything it starts."""

_SESSION_PATIENCE_SECONDS = 5.0
_CLOSE_PATIENCE_SECONDS = 2.0


class Connection:
    """Opened when the first model is watched, closed when none is watched any more or the process ends."""

    def __init__(self, hand_over: Callable[[], None] = lambda: None) -> None:
        self._hand_over = hand_over
        self.recorder: Recorder | None = None
        self._failed = False
        self._warned = False
        self._session: subprocess.Popen[bytes] | None = None
        self._session_socket: str | None = None
        self._closes_at_exit = False
        self.alike: Alike | None = None
        """Passes that the recorder has not been told of yet."""

    def open(self) -> Recorder | None:
        """The recorder, or None if there is no meter and none could be started."""
        if self.recorder is not None or self._failed:
            return self.recorder
        try:
            path = os.environ.get(SOCKET_VARIABLE) or self._session_socket or self._start_session()
            self.recorder = Recorder(
                path,
                host=os.uname().nodename,
                rank=_environment_number("RANK", 0),
                local_rank=_environment_number("LOCAL_RANK", 0),
                world_size=_environment_number("WORLD_SIZE", 1),
            )
        except Exception as problem:
            self._failed = True
            self.warn(f"this process is not metered: {problem}")
            return None
        self.alike = Alike(self.recorder)
        self._close_at_exit()
        return self.recorder

    def close(self) -> None:
        """Hands over what is left; waits two seconds at most for a meter that does not read."""
        if self.recorder is not None:
            self._hand_over()
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            if self.alike is not None:
                self.alike.hand_over()
            recorder.close(_CLOSE_PATIENCE_SECONDS)
            self.tell_loss(recorder)

    def tell_loss(self, recorder: Recorder) -> None:
        """Warns if the meter has gone since this was last asked."""
        loss = recorder.take_loss()
        if loss is not None:
            self.warn(f"this process is not metered any more: {loss}")

    def abandon(self) -> None:
        """Drops this process's copy of a connection that belongs to its parent."""
        recorder, self.recorder = self.recorder, None
        if recorder is not None:
            recorder.abandon()

    def _close_at_exit(self) -> None:
        """Also in a process that ``multiprocessing`` started, which ends without running ``atexit``."""
        if self._closes_at_exit:
            return
        self._closes_at_exit = True
        atexit.register(self.close)
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.Finalize(None, self.close, exitpriority=0)

    def warn(self, text: str) -> None:
        """Says it once a process, and never raises: where warnings are errors it stays silent."""
        if self._warned:
            return
        self._warned = True
        try:
            warnings.warn(f"flopsmeter: {text} (the job goes on)", RuntimeWarning, stacklevel=3)
        except RuntimeWarning:
            pass

    def _start_session(self) -> str:
        """Starts a meter that lives as long as this process, in a session of its own so that Ctrl-C does not end it first.

        Each process of a distributed job that runs without the wrapper starts its own and reports itself there.
        """
        command = _native_command()
        self._session = subprocess.Popen(
            [command, "session", "--parent", str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        output = self._session.stdout
        assert output is not None
        with output:
            ready, _, _ = select.select([output], [], [], _SESSION_PATIENCE_SECONDS)
            # One read: the line is shorter than what a pipe delivers at once, and waiting for more would have no end.
            path = os.fsdecode(os.read(output.fileno(), 4096)).strip() if ready else ""
        if not path:
            raise RuntimeError(f"`{command} session` did not name its socket")
        # What we started has left the session to run by itself, so that a job that waits for its children has none of ours.
        self._session.wait(_SESSION_PATIENCE_SECONDS)
        self._session_socket = path
        return path


def _native_command() -> str:
    beside = os.path.join(sysconfig.get_path("scripts"), "flopsmeter")
    command = beside if os.access(beside, os.X_OK) else shutil.which("flopsmeter")
    if command is None:
        raise RuntimeError("the command `flopsmeter` is neither beside this Python nor on the PATH")
    return command


def _environment_number(name: str, otherwise: int) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else otherwise
