"""A node as the process that started it sees it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

NODE = [sys.executable, "-m", "cluster.local.node"]
"""The program of a node."""


def launch(
    name: str, command: Sequence[str], environment: Mapping[str, str], place: Path
) -> tuple[subprocess.Popen[bytes], Path]:
    """Starts the process of a node, which waits for its lead to say that its address is there.

    Args:
        name: The node's name.
        command: What to run, `NODE` within it.
        environment: The process's variables.
        place: The cluster's directory.

    Returns:
        The process, and the file that gets its output.
    """
    log = place / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            bufsize=0,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,  # Ctrl-C is for the process that started the cluster
        )
    return process, log


class NodeProcess:
    """A running node.

    Args:
        name: Its name.
        index: Its number, 0 for the head.
        outer: The process started for it here.
        pid: The one that runs the node; as seen from here.
        log: Where its output goes.
    """

    def __init__(self, name: str, index: int, outer: subprocess.Popen[bytes], pid: int, log: Path) -> None:
        self.name = name
        self.index = index
        self.pid = pid
        self._outer = outer
        self._log = log

    def begin(self) -> None:
        """Lets it start Ray."""
        self._tell(b"\n")

    def terminate(self) -> None:
        """Sends SIGTERM to its Ray."""
        self._tell(b"term\n")

    def kill(self) -> None:
        """Kills all its processes and waits for their end."""
        assert self._outer.stdin is not None
        self._outer.stdin.close()
        self._outer.wait()

    def check(self) -> None:
        """Refuses to go on where it has ended.

        Raises:
            ChildProcessError: It has; with the end of its log.
        """
        if self._outer.poll() is not None:
            tail = "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])
            raise ChildProcessError(f"{self.name} ended with status {self._outer.returncode}:\n{tail}")

    def _tell(self, line: bytes) -> None:
        assert self._outer.stdin is not None
        self._outer.stdin.write(line)
        self._outer.stdin.flush()
