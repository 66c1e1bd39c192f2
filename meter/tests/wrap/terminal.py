"""Runs a command on a terminal of its own, as a shell with job control does, and types what it is told to.

usage: terminal.py KEYS COMMAND...   KEYS is a comma-separated list of
    line TEXT   wait for this line of the command's output
    type CODE   type this character (a number)
    stopped     wait until the shell sees its job stopped
    fg          continue the job in the foreground, as `fg` does
    kill NAME   send a signal to the process that the shell started, alone
Ends with the job's status as the shell saw it: `exit N` or `signal N`, after everything the terminal showed.
"""

import os
import pty
import signal
import sys
import threading


def shell(command, reports, orders):
    """The session leader: its job gets a process group of its own and the terminal."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0)
        os.tcsetpgrp(0, os.getpid())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        os.execvp(command[0], command)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            break
        os.tcsetpgrp(0, os.getpgrp())
        os.write(reports, b"stopped\n")
        os.read(orders, 1)
        os.tcsetpgrp(0, job)
        os.killpg(job, signal.SIGCONT)
    end = f"exit {os.WEXITSTATUS(status)}" if os.WIFEXITED(status) else f"signal {os.WTERMSIG(status)}"
    os.write(reports, end.encode() + b"\n")
    os._exit(0)


def main():
    steps, command = sys.argv[1].split(","), sys.argv[2:]
    reports_read, reports = os.pipe()
    orders, orders_write = os.pipe()
    leader, terminal = pty.fork()
    if leader == 0:
        os.close(reports_read)
        os.close(orders_write)
        shell(command, reports, orders)
    os.close(reports)
    # Far longer than anything here takes: what is waited for does not come, and with the terminal its job goes.
    signal.alarm(60)
    reported = os.fdopen(reports_read)
    shown, changed = [], threading.Condition()

    def watch():
        rest = b""
        while True:
            try:
                rest += os.read(terminal, 4096)
            except OSError:
                break
            *lines, rest = rest.split(b"\n")
            with changed:
                shown.extend(line.decode().strip() for line in lines)
                changed.notify_all()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    at = 0
    for step in steps:
        verb, _, value = step.partition(" ")
        if verb == "line":
            with changed:
                if not changed.wait_for(lambda: any(value in line for line in shown[at:]), 30):
                    sys.exit(f"no line {value!r} in {shown}")
                at += next(i for i, line in enumerate(shown[at:]) if value in line) + 1
        elif verb == "type":
            os.write(terminal, bytes([int(value)]))
        elif verb == "stopped":
            line = reported.readline().strip()
            if line != "stopped":
                sys.exit(f"not stopped but {line!r}")
        elif verb == "fg":
            os.write(orders_write, b".")
        elif verb == "kill":
            os.kill(os.tcgetpgrp(terminal), getattr(signal, value))
    end = reported.readline().strip()
    os.waitpid(leader, 0)
    # Ends when nobody has the terminal open any more.
    watcher.join()
    print("\n".join(line for line in shown if line))
    print(end)


main()
