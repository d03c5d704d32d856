"""`python -m cluster.local`: a cluster of several nodes on this machine, from the command line."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cluster.local import HEAD, LocalCluster, running
from cluster.local.settings import ROOT, node_environment
from distributed_il.core.errors import UserError

_BACKGROUND_TIMEOUT_S = 180.0


def parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    top = argparse.ArgumentParser(
        prog="python -m cluster.local",
        description="A Ray cluster of several nodes on this machine, behind a token; it touches no other Ray.",
        allow_abbrev=False,
    )
    commands = top.add_subparsers(dest="task", required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="start it; it ends with this command", allow_abbrev=False)
    up.add_argument("--nodes", type=int, default=2, help="nodes beside the head (2)")
    up.add_argument("--cpus", type=int, default=1, help="CPUs that each of them offers (1)")
    up.add_argument("--object_store_mb", type=int, default=256, help="object store of each node in MiB (256)")
    up.add_argument("--port", type=int, default=8265, help="where the dashboard listens on 127.0.0.1 (8265)")
    up.add_argument(
        "--one_address", action="store_true", help="nodes share 127.0.0.1 and the machine's network, without namespaces"
    )
    up.add_argument("--background", action="store_true", help="return when it is up; `down` ends it")
    up.add_argument("command", nargs="*", help="after --: run this on the head, then end; else stay until Ctrl-C")

    run = commands.add_parser("run", help="run a command on the head", allow_abbrev=False)
    run.add_argument("command", nargs="+", help="after --")
    env = commands.add_parser("env", help='for eval "$(…)": what Ray\'s job commands need here', allow_abbrev=False)
    down = commands.add_parser("down", help="end it", allow_abbrev=False)
    for command in (up, run, env, down):
        command.add_argument("--name", default="local", help="which cluster, where there are several (local)")
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command; returns its exit code, or that of the command it was given."""
    words = list(sys.argv[1:] if argv is None else argv)
    given = parser().parse_args(words)
    if argv is None:
        # As an exception, so that the cluster is ended in order.
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        if given.task == "up":
            return _up_in_background(given, words) if given.background else _up(given)
        if given.task == "run":
            return _run(given)
        if given.task == "env":
            for name, value in running.found(given.name).outer_environment.items():
                print(f"export {name}={shlex.quote(value)}")
        else:
            running.stop(given.name)
            print(f"Cluster {given.name} is down.")
    except UserError as error:
        print(f"cluster.local: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _up(given: argparse.Namespace) -> int:
    with running.held(given.name) as directory:
        print(_intent(given), flush=True)
        cluster = LocalCluster(
            nodes=given.nodes,
            cpus=given.cpus,
            object_store_bytes=given.object_store_mb << 20,
            port=given.port,
            namespaces=False if given.one_address else None,
            directory=directory,
        )
        with cluster:
            state = running.Running(
                pid=os.getpid(),
                nodes={name: node.pid for name, node in cluster.nodes.items()},
                dashboard=cluster.dashboard,
                outer_environment=cluster.outer_environment,
                inner_variables=cluster.inner_variables,
                enter_head=cluster.command([], node=HEAD),
            )
            running.announce(given.name, state)
            if given.command:
                return _on_head(state, given.command)
            _explain(given.name, state, directory)
            signal.pause()
    raise AssertionError("unreachable: signals leave")


def _intent(given: argparse.Namespace) -> str:
    """Says what `up` is about to do."""
    return (
        f"Starting a Ray head and {given.nodes} node{'s' if given.nodes > 1 else ''} of {given.cpus} CPU"
        f"{'s' if given.cpus > 1 else ''} on this machine, some seconds each; the dashboard will be at "
        f"127.0.0.1:{given.port} …"
    )


def _up_in_background(given: argparse.Namespace, words: Sequence[str]) -> int:
    if given.command:
        raise UserError("--background takes no command; run it with `python -m cluster.local run -- COMMAND`")
    log = running.place(given.name).with_suffix(".log")
    print(f"{_intent(given)}\n  until then its words go to {log}", flush=True)
    with log.open("wb") as output:
        holder = subprocess.Popen(
            [sys.executable, "-m", "cluster.local", *(word for word in words if word != "--background")],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _BACKGROUND_TIMEOUT_S
    while (state := running.find(given.name)) is None or state.pid != holder.pid:
        if holder.poll() is not None or time.monotonic() > deadline:
            holder.terminate()
            print(log.read_text(), file=sys.stderr)
            return 2
        time.sleep(0.2)
    _explain(given.name, state, running.place(given.name))
    return 0


def _run(given: argparse.Namespace) -> int:
    return _on_head(running.found(given.name), given.command)


def _on_head(state: running.Running, command: Sequence[str]) -> int:
    enter = state.enter_head
    if enter:  # into namespaces, where the directory has to be named again
        enter = [*enter[:-1], os.getcwd()]
    return subprocess.run([*enter, *command], env=node_environment(state.inner_variables), check=False).returncode


def _explain(name: str, state: running.Running, directory: Path) -> None:
    named = "" if name == "local" else f" --name {name}"
    kind = "with a network of its own" if state.enter_head else "all on 127.0.0.1"
    print(f"A head and {len(state.nodes) - 1} nodes are up, {kind}; requests need the token.")
    print(f"  dashboard and jobs   {state.dashboard}   (token: {directory / 'token'})")
    print(f"  processes            {', '.join(f'{node} {pid}' for node, pid in state.nodes.items())}")
    print(f"  logs                 {directory}")
    here = state.pid == os.getpid()
    print("In another terminal:" if here else "Then:")
    print(f'  cd {ROOT} && eval "$(python -m cluster.local env{named})"')
    print("  ray job submit -- python -m distributed_il train --data.path=/… --run.dir=/… --run.workers=2")
    print(f"  python -m cluster.local run{named} -- ray status   # on the head, without a job")
    print("  kill -KILL PROCESS   # loses that node, to see what a run does then")
    print(
        f"  python -m cluster.local down{named}   # ends all of it{', as Ctrl-C here does' if here else ''}", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
