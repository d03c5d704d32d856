"""One node of a local cluster: runs `ray start --block` and leaves no process behind, however it ends.

    python -m cluster.local.node [--hostname NAME] [--hosts FILE] [--hide DIRECTORY …] -- COMMAND …

Standard input is the lead it runs on: the first line starts the command (by then the node has its address), a line
"term" sends SIGTERM to it, and the end of input, which comes too when the other end dies, kills all that runs here.
Needs the standard library alone, so that it starts at once.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def main() -> int:
    """Runs the node; returns the command's exit status, or 128 + 9 where it was killed."""
    parser = argparse.ArgumentParser(prog="python -m cluster.local.node", allow_abbrev=False)
    parser.add_argument("--hostname")
    parser.add_argument("--hosts", help="a file to be /etc/hosts here; needs a mount namespace of its own")
    parser.add_argument("--hide", action="append", default=[], help="a directory that is empty here; needs the same")
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    if given.hostname:
        subprocess.run(["hostname", given.hostname], check=True)
    if given.hosts:
        subprocess.run(["mount", "--bind", given.hosts, "/etc/hosts"], check=True)
    for directory in given.hide:
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", directory], check=True)
    # What loses its parent becomes a child of this process, so that none gets away.
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if not os.read(sys.stdin.fileno(), 1):
        return 128 + signal.SIGKILL
    try:
        return _run(given.command)
    finally:
        _kill_all()


def _run(command: list[str]) -> int:
    """Follows the command and the lead until one of them ends."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, 9))
    lead = sys.stdin.fileno()
    while True:
        ready, _, _ = select.select([lead, woken], [], [])
        if lead in ready:
            line = os.read(lead, 4096)
            if not line:
                return 128 + signal.SIGKILL
            if b"term" in line:
                child.terminate()
        if woken in ready:
            os.read(woken, 4096)
            status = _reap().get(child.pid)
            if status is not None:
                return status


def _reap() -> dict[int, int]:
    """Collects the children that have ended; returns their exit statuses by process id."""
    ended: dict[int, int] = {}
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if not pid:
            return ended
        code = os.waitstatus_to_exitcode(status)
        ended[pid] = code if code >= 0 else 128 - code


def _kill_all() -> None:
    """Kills every descendant; those that were being born meanwhile are found in the next round."""
    while below := descendants(os.getpid()):
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):  # all are still grandchildren
            os.waitpid(-1, 0)
        _reap()


def descendants(root: int) -> set[int]:
    """The processes that `root` has started, and those that they have."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                # The name, second field, may hold spaces and parentheses; the parent is the second after it.
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
    found: set[int] = set()
    generation = {root}
    while generation:
        generation = {pid for pid, parent in parents.items() if parent in generation}
        found |= generation
    return found


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
