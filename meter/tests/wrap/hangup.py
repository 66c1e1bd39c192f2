"""Runs a command as the leader of a terminal's session, hangs up, and shows what the command said from then on."""

import os
import pty
import signal
import sys

said, says = os.pipe()
os.set_inheritable(says, True)
leader, terminal = pty.fork()
if leader == 0:
    os.dup2(says, 1)
    os.execvp(sys.argv[1], sys.argv[1:])
os.close(says)
lines = os.fdopen(said)
assert lines.readline().startswith("ready")
os.close(terminal)
for _ in range(2):
    print(lines.readline().strip())
os.kill(leader, signal.SIGUSR2)
print(lines.read().strip())
os.waitpid(leader, 0)
