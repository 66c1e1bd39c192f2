"""A job that says what happens to it: one line on standard output for each signal, until SIGUSR2."""

import os
import signal


def say(line):
    os.write(1, line.encode() + b"\n")


NAMES = "SIGHUP SIGINT SIGQUIT SIGABRT SIGPIPE SIGUSR1 SIGUSR2 SIGTERM SIGALRM SIGCONT SIGWINCH SIGRTMIN"
signals = {getattr(signal, name) for name in NAMES.split()}
# Waited for, not handled: a handler in Python can run late, just before or long after `pause`.
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
say(f"ready {os.getpid()} {os.getpgrp()} {os.environ.get('WRAPPED')}")
last = None
while last != signal.SIGUSR2:
    last = signal.sigwait(signals)
    say(last.name)
# What came twice would still be waiting.
while rest := signal.sigtimedwait(signals, 0):
    say(signal.Signals(rest.si_signo).name)
