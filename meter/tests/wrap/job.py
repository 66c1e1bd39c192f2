"""A job that says what happens to it: one line on standard output for each signal, until SIGUSR2."""

import os
import signal
import sys


def say(line):
    os.write(1, line.encode() + b"\n")


def note(number, _frame):
    say(signal.Signals(number).name)
    if number == signal.SIGUSR2:
        sys.exit(0)


for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGALRM", "SIGCONT", "SIGWINCH"):
    signal.signal(getattr(signal, name), note)
say(f"ready {os.getpid()} {os.getpgrp()} {os.environ.get('WRAPPED')}")
while True:
    signal.pause()
