"""What a local cluster asks of the network between its nodes."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from cluster.local.node_process import NodeProcess
from cluster.local.settings import LOOPBACK
from distributed_il.core.errors import UserError


class Network(Protocol):
    """How nodes are started, reached and told apart."""

    def head_address(self) -> str: ...
    def head_arguments(self) -> list[str]: ...
    def node_address(self, index: int) -> str: ...
    def variables(self) -> dict[str, str]: ...
    def reserve_dashboard(self, port: int) -> str: ...
    def open_dashboard(self, head: NodeProcess) -> None: ...
    def start_node(
        self, name: str, index: int, arguments: Sequence[str], environment: Mapping[str, str], hidden: Sequence[Path]
    ) -> NodeProcess: ...
    def inner_command(self, node: NodeProcess, command: Sequence[str]) -> list[str]: ...
    def plug(self, node: NodeProcess, *, connected: bool) -> None: ...
    def close(self) -> None: ...


def listen(port: int) -> socket.socket:
    """A socket that listens on this machine's loopback.

    Args:
        port: Where; 0 for a free port.

    Raises:
        UserError: The port is taken.
    """
    try:
        return socket.create_server((LOOPBACK, port))
    except OSError as error:
        raise UserError(f"port {port} on {LOOPBACK} is taken ({error.strerror}); choose another") from error
