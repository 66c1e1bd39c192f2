"""A meter for tests: listens on a Unix socket and keeps every message."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

Row = tuple[str, bool, int, int, int]


class Connection:
    """What one process said."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.messages: list[dict[str, Any]] = []
        self.ended = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        pending = b""
        while True:
            try:
                portion = self.stream.recv(1 << 16)
            except OSError:
                break
            if not portion:
                break
            pending += portion
            while len(pending) >= 4:
                (length,) = struct.unpack(">I", pending[:4])
                if len(pending) < 4 + length:
                    break
                self.messages.append(json.loads(pending[4 : 4 + length]))
                pending = pending[4 + length :]
        assert not pending, "a message was cut"
        self.ended.set()


class Receiver:
    """Listens until it is closed."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "hook.sock")
        self.connections: list[Connection] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(self.path)
        self._listener.listen(64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self) -> None:
        while True:
            try:
                stream, _ = self._listener.accept()
            except OSError:
                return
            self.connections.append(Connection(stream))

    def kill(self) -> None:
        """Ends without a word, as a killed meter does."""
        # Closing alone leaves the thread in `accept`, which then takes one more connection.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(60.0)
        self._listener.close()
        while self.connections:
            stream = self.connections.pop().stream
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
            stream.close()

    def wait(self, processes: int = 1, seconds: float = 60.0) -> None:
        """Until so many processes have connected and all have hung up."""
        deadline = time.monotonic() + seconds
        while len(self.connections) < processes:
            assert time.monotonic() < deadline, f"{len(self.connections)} of {processes} processes connected"
            time.sleep(0.01)
        for connection in self.connections:
            assert connection.ended.wait(max(deadline - time.monotonic(), 0.0)), "a process did not hang up"

    def messages(self, kind: str) -> list[dict[str, Any]]:
        """All messages of a kind, of all processes."""
        every = (message for connection in self.connections for message in connection.messages)
        return [message for message in every if message["message"] == kind]

    def models(self) -> list[dict[str, Any]]:
        return self.messages("model")

    def findings(self) -> set[str]:
        return {message["code"] for message in self.messages("finding")}

    def passes(self, model: int | None = None) -> Counter[Row]:
        """Number of passes by phase, gradient, sequences, length, cached length."""
        rows: Counter[Row] = Counter()
        for fed in self.messages("fed"):
            if model is not None and fed["model"] != model:
                continue
            for row in fed["passes"]:
                form = (row["phase"], row["gradient"], row["sequences"], row["length"], row.get("cached_length", 0))
                rows[form] += row["count"]
        return rows

    def real_tokens(self, phase: str) -> int | None:
        rows = [row for fed in self.messages("fed") for row in fed["passes"] if row["phase"] == phase]
        if any(row["real_tokens"] is None for row in rows):
            return None
        return sum(row["real_tokens"] for row in rows)
