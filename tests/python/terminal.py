"""Runs a command on a terminal of its own and passes on what it shows there, until it has drawn its line so many times;
then it is killed."""

import os
import pty
import signal
import sys

draws, command = int(sys.argv[1]), sys.argv[2:]
pid, terminal = pty.fork()
if pid == 0:
    os.execv(command[0], command)
shown = b""
while shown.count(b"\r\x1b[2K") <= draws:
    try:
        chunk = os.read(terminal, 4096)
    except OSError:
        break
    if not chunk:
        break
    shown += chunk
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
sys.stdout.buffer.write(shown)
