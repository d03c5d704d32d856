"""A Ray cluster of several real nodes on this machine, which ends with the process that started it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from cluster.local import settings
from cluster.local.members import living_nodes
from cluster.local.namespace_network import NamespaceNetwork
from cluster.local.network import Network
from cluster.local.node_process import NodeProcess
from cluster.local.shared_address import SharedAddress
from distributed_il.core.errors import UserError

HEAD = "head"
_MIB = 1 << 20
_START_TIMEOUT_S = 120.0
_POLL_S = 0.25
_LONGEST_PATH = 107 - len("/node-199/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store")


class LocalCluster:
    """A head that offers no CPU, and nodes named node-1, node-2, … that do the work.

    Each node is a `ray start --block` with its workers: in namespaces of its own (network, processes, mounts, host
    name) on a bridge that only the nodes reach, or, where this user may not make namespaces, beside the others on
    127.0.0.1. Requests without the cluster's token are refused. The dashboard, which takes jobs, is at `dashboard` on
    this machine's loopback. No other Ray is touched, and everything ends with this object's process at the latest.

        with LocalCluster(nodes=2) as cluster:
            subprocess.run(cluster.command(["ray", "status"]), env=cluster.inner_environment, check=True)

    Args:
        nodes: Nodes beside the head, at least 1.
        cpus: CPUs that each offers, at least 1, whatever the machine has.
        object_store_bytes: Size of each node's object store.
        port: Where the dashboard listens on 127.0.0.1; 0 for a free port.
        namespaces: Whether nodes get namespaces; by default where this user may make them.
        directory: For the token, Ray's sessions and logs, emptied first and kept at the end; by default a temporary
            one that is removed. Its path must be short, since Ray puts sockets below it.

    Raises:
        UserError: Namespaces are asked for and not to be had, or the port is taken.
    """

    def __init__(
        self,
        *,
        nodes: int = 2,
        cpus: int = 1,
        object_store_bytes: int = 256 * _MIB,
        port: int = 0,
        namespaces: bool | None = None,
        directory: Path | None = None,
    ) -> None:
        if nodes < 1 or cpus < 1:
            raise UserError(f"{nodes} nodes of {cpus} CPUs: give at least one of each")
        self._count = nodes
        self._cpus = cpus
        self._object_store_bytes = object_store_bytes
        self._port = port
        self._wants_namespaces = NamespaceNetwork.available() if namespaces is None else namespaces
        self._directory = directory
        self._ended = ExitStack()
        self._made = 0
        self.nodes: dict[str, NodeProcess] = {}
        """The nodes that were started and not killed, the head among them, by name."""

    def start(self) -> Self:
        """Starts the head, then the nodes together; returns when the head knows them all.

        Raises:
            UserError: A node does not come up.
        """
        try:
            self._prepare()
            self._start_head()
            self._await_living([self._start_node(()) for _ in range(self._count)])
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kills every process of the cluster and waits for its end; a second call does nothing."""
        self._ended.close()
        self.nodes.clear()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def add_node(self, *, hidden: Sequence[Path] = ()) -> str:
        """Starts one more node, waits until the head knows it, and returns its name.

        Args:
            hidden: Directories that are empty on this node, as if their storage were not shared; needs namespaces.
        """
        name = self._start_node(hidden)
        self._await_living([name])
        return name

    def kill_node(self, name: str) -> None:
        """Kills all processes of a node, as a machine that loses power; the head has yet to notice."""
        self.nodes.pop(name).kill()

    def preempt_node(self, name: str) -> None:
        """Gives a node notice, as a cloud does before it takes the machine: Ray drains it, 30 s at most, and leaves."""
        self.nodes[name].terminate()

    @contextmanager
    def partitioned(self, name: str) -> Generator[None]:
        """Cuts a node off from the others for as long as the block lasts.

        Raises:
            UserError: The nodes share one address.
        """
        self._network.plug(self.nodes[name], connected=False)
        try:
            yield
        finally:
            self._network.plug(self.nodes[name], connected=True)

    def living(self) -> set[str]:
        """The names of the nodes that the head believes alive.

        Raises:
            ConnectionError: The head does not answer.
        """
        return living_nodes(self.dashboard, self._token)

    def wait_until(
        self, holds: Callable[[set[str]], bool], *, timeout_s: float = _START_TIMEOUT_S, watched: Sequence[str] = ()
    ) -> None:
        """Waits until something holds of the living nodes' names.

        Args:
            holds: What is to hold of the names.
            timeout_s: How long to wait.
            watched: Nodes whose processes must not end meanwhile.

        Raises:
            ChildProcessError: A watched node has ended.
            TimeoutError: It does not within the time.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            for name in watched:
                self.nodes[name].check()
            try:
                living = self.living()
                seen = f"sees {', '.join(sorted(living)) or 'no node'}"
                if holds(living):
                    return
            except ConnectionError as error:
                seen = f"is not heard: {error}"
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {timeout_s:.0f} s the head {seen}")
            time.sleep(_POLL_S)

    def command(self, command: Sequence[str], *, node: str = HEAD) -> list[str]:
        """A command that runs `command` on a node, in the present directory; to be run with `inner_environment`."""
        return self._network.inner_command(self.nodes[node], command)

    @property
    def outer_environment(self) -> dict[str, str]:
        """The variables that Ray's job commands need on this machine, outside of the nodes."""
        return settings.authentication(self._token_path) | {"RAY_API_SERVER_ADDRESS": self.dashboard}

    @property
    def inner_variables(self) -> dict[str, str]:
        """The variables that a process on a node needs to join the cluster."""
        return self._node_variables() | {"RAY_ADDRESS": self.address}

    @property
    def inner_environment(self) -> dict[str, str]:
        """The whole environment of such a process."""
        return settings.node_environment(self.inner_variables)

    def _prepare(self) -> None:
        if len(str(self._directory or Path(tempfile.gettempdir()) / "il-12345678")) > _LONGEST_PATH:
            raise UserError(
                f"{self._directory or tempfile.gettempdir()} is too long a path: Ray puts sockets below it, which may "
                "have 107 characters in all; set TMPDIR to a shorter one"
            )
        if self._directory is None:
            self._place = Path(tempfile.mkdtemp(prefix="il-"))
            self._ended.callback(shutil.rmtree, self._place, ignore_errors=True)
        else:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory.mkdir(mode=0o700, parents=True)
            self._place = self._directory
        self._token_path = self._place / "token"
        self._token = settings.make_token(self._token_path)
        self._ended.callback(self._token_path.unlink)
        self._network: Network = NamespaceNetwork(self._place) if self._wants_namespaces else SharedAddress(self._place)
        self._ended.callback(self._network.close)

    def _start_head(self) -> None:
        self.dashboard = self._network.reserve_dashboard(self._port)
        """URL of the dashboard and of the job API."""
        self.address = self._network.head_address()
        """HOST:PORT by which a process on a node joins."""
        self._launch(HEAD, cpus=0, arguments=["--head", *self._network.head_arguments()], hidden=())
        self._network.open_dashboard(self.nodes[HEAD])
        self._await_living([HEAD])

    def _start_node(self, hidden: Sequence[Path]) -> str:
        self._made += 1
        name = f"node-{self._made}"
        self._launch(name, cpus=self._cpus, arguments=[f"--address={self.address}"], hidden=hidden)
        return name

    def _launch(self, name: str, *, cpus: int, arguments: Sequence[str], hidden: Sequence[Path]) -> None:
        index = 0 if name == HEAD else self._made
        shared = settings.start_arguments(
            name,
            self._network.node_address(index),
            self._place / name,
            cpus=cpus,
            object_store_bytes=self._object_store_bytes,
        )
        environment = settings.node_environment(self._node_variables())
        node = self._network.start_node(name, index, [*shared, *arguments], environment, hidden)
        self.nodes[name] = node
        self._ended.callback(node.kill)

    def _node_variables(self) -> dict[str, str]:
        return settings.authentication(self._token_path) | self._network.variables()

    def _await_living(self, names: Sequence[str]) -> None:
        def up(living: set[str]) -> bool:
            return living.issuperset(names)

        try:
            self.wait_until(up, watched=names)
        except (ChildProcessError, TimeoutError) as error:
            raise UserError(f"the local cluster does not come up: {error}") from error
