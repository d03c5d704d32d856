"""Nodes that are kept apart by namespaces."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.local import namespaces
from cluster.local.network import listen
from cluster.local.node_process import NODE, NodeProcess, launch
from cluster.local.settings import LOOPBACK, ROOT
from distributed_il.core.errors import UserError

_GCS_PORT = 6379
_DASHBOARD_PORT = 8265
_MOST_NODES = 200
_RAY = [sys.executable, "-m", "ray.scripts.scripts"]


class NamespaceNetwork:
    """Nodes with addresses of their own on a bridge.

    Args:
        place: The cluster's directory.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._hosts = place / "hosts"
        self._hosts.write_text(namespaces.hosts(["head", *(f"node-{index}" for index in range(1, _MOST_NODES))]))
        try:
            self._bridge = namespaces.Bridge()
        except OSError as error:
            raise UserError(f"no network namespaces for this user here ({error}); do without them") from error
        self._listener: socket.socket | None = None
        self._forwarder: subprocess.Popen[bytes] | None = None

    @staticmethod
    def available() -> bool:
        """Whether this user may make them."""
        return namespaces.have_rights()

    def head_address(self) -> str:
        return f"{namespaces.address(0)}:{_GCS_PORT}"

    def head_arguments(self) -> list[str]:
        return [f"--port={_GCS_PORT}", f"--dashboard-port={_DASHBOARD_PORT}", f"--dashboard-host={LOOPBACK}"]

    def node_address(self, index: int) -> str:
        return namespaces.address(index)

    def variables(self) -> dict[str, str]:
        return {}

    def reserve_dashboard(self, port: int) -> str:
        self._listener = listen(port)
        return f"http://{LOOPBACK}:{self._listener.getsockname()[1]}"

    def open_dashboard(self, head: NodeProcess) -> None:
        assert self._listener is not None
        descriptor = self._listener.fileno()
        forward = [sys.executable, "-m", "cluster.local.forward", str(descriptor), str(_DASHBOARD_PORT)]
        self._forwarder = subprocess.Popen(
            namespaces.enter_network(head.pid, forward),
            stdin=subprocess.PIPE,
            pass_fds=[descriptor],
            start_new_session=True,
            cwd=ROOT,
        )
        self._listener.close()

    def start_node(
        self, name: str, index: int, arguments: Sequence[str], environment: Mapping[str, str], hidden: Sequence[Path]
    ) -> NodeProcess:
        if index >= _MOST_NODES:
            raise UserError(f"a local cluster has had {_MOST_NODES - 1} nodes, which is all the addresses it has")
        hide = [word for directory in hidden for word in ("--hide", str(directory))]
        node = [*NODE, "--hostname", name, "--hosts", str(self._hosts), *hide, "--", *_RAY, *arguments]
        outer, log = launch(name, self._bridge.node_command(node), environment, self._place)
        try:
            pid = namespaces.inner_process(outer)
            self._bridge.connect(pid, index)
        except OSError:
            outer.kill()
            outer.wait()
            raise
        process = NodeProcess(name, index, outer, pid, log)
        process.begin()
        return process

    def inner_command(self, node: NodeProcess, command: Sequence[str]) -> list[str]:
        return namespaces.enter_node(node.pid, command, Path.cwd())

    def plug(self, node: NodeProcess, *, connected: bool) -> None:
        self._bridge.plug(node.index, connected=connected)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
        if self._forwarder is not None:
            assert self._forwarder.stdin is not None
            self._forwarder.stdin.close()
            self._forwarder.wait()
        self._bridge.close()
