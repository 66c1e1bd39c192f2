#!/usr/bin/env python3
"""Wall time of `flopsmeter run -- true` over that of `true`, interleaved so that both see the same machine."""

import statistics
import subprocess
import sys
import time

ROUNDS = 60


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    wrapped = [sys.argv[1], "run", "--quiet", "--", "true"]
    bare = ["true"]
    seconds(wrapped), seconds(bare)
    pairs = [(seconds(bare), seconds(wrapped)) for _ in range(ROUNDS)]
    for name, values in zip(("true", "flopsmeter run -- true"), zip(*pairs)):
        print(f"{name:24} median {statistics.median(values) * 1e3:6.2f} ms  worst {max(values) * 1e3:6.2f} ms")
    more = statistics.median(wrapped - bare for bare, wrapped in pairs)
    print(f"{'difference':24} median {more * 1e3:6.2f} ms over {ROUNDS} rounds")


if __name__ == "__main__":
    main()
