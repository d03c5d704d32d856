"""Network namespaces for the nodes: each has an address of its own on a bridge that nothing else can reach.

The bridge lives in a namespace too, so that the machine's own network is not touched, and all of it vanishes with the
processes inside. A user without root's rights gets them within a user namespace, where the machine allows that.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_USER_NAMESPACE = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
_ENTER_USER_NAMESPACE = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
_UNSHARE_NODE = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts", "--"]
_TRIAL = "ip link add trial0 type bridge && ip link add trial1 type veth peer name trial2"


def have_rights() -> bool:
    """Whether this user may make namespaces, bridges and links on this machine."""
    if any(shutil.which(tool) is None for tool in ("ip", "mount", "nsenter", "unshare")):
        return False
    trial = ["unshare", *_USER_NAMESPACE, "--net", *_UNSHARE_NODE, "sh", "-c", _TRIAL]
    return subprocess.run(trial, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0


def address(index: int) -> str:
    """The address of node `index`, counted from 0, on the bridge."""
    return f"10.77.0.{index + 1}"


def hosts(names: Sequence[str]) -> str:
    """An /etc/hosts in which the nodes find each other and themselves; `names[i]` is the node of index i."""
    lines = ["127.0.0.1 localhost", "::1 localhost", *(f"{address(index)} {name}" for index, name in enumerate(names))]
    return "\n".join(lines) + "\n"


def inner_process(outer: subprocess.Popen[bytes]) -> int:
    """The process id, as seen here, of the first process inside a node that was started with `Bridge.start_node`."""
    children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
    while outer.poll() is None:
        if found := children.read_text().split():
            return int(found[0])
        time.sleep(0.01)
    raise ChildProcessError(f"the namespaces of a node could not be made (unshare ended with {outer.returncode})")


def enter_node(pid: int, command: Sequence[str], directory: Path) -> list[str]:
    """A command that runs `command` inside a node.

    Args:
        pid: A process of that node.
        command: What to run there.
        directory: Where; entering a mount namespace would leave it for the root.
    """
    namespaces = [*_ENTER_USER_NAMESPACE, "--net", "--pid", "--mount", "--uts"]
    there = ["sh", "-c", 'cd "$1" && shift && exec "$@"', "sh", str(directory)]
    return ["nsenter", "--target", str(pid), *namespaces, "--", *there, *command]


def enter_network(pid: int, command: Sequence[str]) -> list[str]:
    """A command that runs `command` on this machine, with the network of the process `pid`."""
    return ["nsenter", "--target", str(pid), *_ENTER_USER_NAMESPACE, "--net", "--", *command]


class Bridge:
    """The switch between the nodes; lasts until `close`, or until this process ends."""

    def __init__(self) -> None:
        # `cat` holds the namespace: it ends when its input does. Its echo says that the namespace is there.
        self._holder = subprocess.Popen(
            ["unshare", *_USER_NAMESPACE, "--net", "--", "cat"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
        )
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        try:
            self._holder.stdin.write(b"\n")
            self._holder.stdout.readline()
            self._ip("link", "add", "bridge0", "type", "bridge")
            self._ip("link", "set", "bridge0", "up")
        except OSError:
            self.close()
            raise

    def node_command(self, command: Sequence[str]) -> list[str]:
        """A command that runs `command` as the first process of new namespaces, still without a link."""
        return enter_network(self._holder.pid, [*_UNSHARE_NODE, *command])

    def connect(self, pid: int, index: int) -> None:
        """Gives the node of process `pid` its link and the address of `index`."""
        self._ip("link", "add", f"node{index}", "type", "veth", "peer", "name", "eth0", "netns", str(pid))
        self._ip("link", "set", f"node{index}", "master", "bridge0", "up")
        for words in (
            ("address", "add", f"{address(index)}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _checked(enter_network(pid, ["ip", *words]))

    def plug(self, index: int, *, connected: bool) -> None:
        """Pulls the cable of a node out of the switch, or puts it back."""
        self._ip("link", "set", f"node{index}", "up" if connected else "down")

    def close(self) -> None:
        """Lets go of the namespace; it vanishes when the nodes have ended too."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.wait()
        self._holder.stdout.close()

    def _ip(self, *words: str) -> None:
        _checked(enter_network(self._holder.pid, ["ip", *words]))


def _checked(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
