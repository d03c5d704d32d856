"""Nodes that are kept apart by their ports alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.local.network import listen
from cluster.local.node_process import NODE, NodeProcess, launch
from cluster.local.settings import LOOPBACK, NO_OUTER_ADDRESS
from distributed_il.core.errors import UserError

_LOOPBACK_RAY = [sys.executable, "-m", "cluster.local.loopback_ray"]


class SharedAddress:
    """Nodes beside each other on 127.0.0.1, told apart by their ports.

    Args:
        place: The cluster's directory.
    """

    def __init__(self, place: Path) -> None:
        self._place = place
        self._gcs_port = _free_port()
        self._client_port = _free_port()
        self._dashboard_port = 0

    def head_address(self) -> str:
        return f"{LOOPBACK}:{self._gcs_port}"

    def head_arguments(self) -> list[str]:
        return [
            f"--port={self._gcs_port}",
            f"--dashboard-port={self._dashboard_port}",
            f"--dashboard-host={LOOPBACK}",
            f"--ray-client-server-port={self._client_port}",
        ]

    def node_address(self, index: int) -> str:
        return LOOPBACK

    def variables(self) -> dict[str, str]:
        # gloo would take the machine's outer address.
        return NO_OUTER_ADDRESS | {"GLOO_SOCKET_IFNAME": "lo"}

    def reserve_dashboard(self, port: int) -> str:
        with listen(port) as listener:
            self._dashboard_port = listener.getsockname()[1]
        return f"http://{LOOPBACK}:{self._dashboard_port}"

    def open_dashboard(self, head: NodeProcess) -> None:
        pass  # it listens where everybody reaches it

    def start_node(
        self, name: str, index: int, arguments: Sequence[str], environment: Mapping[str, str], hidden: Sequence[Path]
    ) -> NodeProcess:
        if hidden:
            raise UserError("directories can be hidden from a node only where nodes have namespaces")
        # Ports that the system picks: the usual ones are those of the first node.
        ports = ["--min-worker-port=0", "--max-worker-port=0", "--dashboard-agent-listen-port=0"]
        # The variables would keep a node from joining; `loopback_ray` sets them again for what the node starts.
        entry = {key: value for key, value in environment.items() if key not in NO_OUTER_ADDRESS}
        outer, log = launch(name, [*NODE, "--", *_LOOPBACK_RAY, *arguments, *ports], entry, self._place)
        process = NodeProcess(name, index, outer, outer.pid, log)
        process.begin()
        return process

    def inner_command(self, node: NodeProcess, command: Sequence[str]) -> list[str]:
        return list(command)

    def plug(self, node: NodeProcess, *, connected: bool) -> None:
        raise UserError("a node can be cut off only where nodes have namespaces")

    def close(self) -> None:
        pass  # nothing is held


def _free_port() -> int:
    with listen(0) as listener:
        return int(listener.getsockname()[1])
