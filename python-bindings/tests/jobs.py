"""Runs scripts as a user does, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

HERE = Path(__file__).parent
EXAMPLES = HERE.parent.parent / "examples"


def python(*arguments: str, socket: str | None) -> subprocess.CompletedProcess[str]:
    """Runs Python with `socket` as its meter, or none."""
    environment = {name: value for name, value in os.environ.items() if name != "FLOPSMETER_SOCKET"}
    if socket is not None:
        environment["FLOPSMETER_SOCKET"] = socket
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def script(folder: Path, code: str) -> str:
    """Writes a script that can import the modules beside the tests."""
    path = folder / "job.py"
    path.write_text(f"import sys; sys.path.insert(0, {str(HERE)!r})\n{textwrap.dedent(code)}", encoding="utf-8")
    return str(path)
