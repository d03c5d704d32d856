"""`distributed-il submit`: a command, run on a Ray cluster as a job; and what has become of the jobs there."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from distributed_il.cli.given import collect, suggestion, variable_prefix
from distributed_il.cli.main import COMMANDS
from distributed_il.cli.options import find_own_code, read_options
from distributed_il.core.errors import UserError
from distributed_il.runtime.jobs.job import JobState, SubmitConfig, check_submission_id, make_job

if TYPE_CHECKING:
    from distributed_il.runtime.jobs.cluster import JobCluster

SENT = {
    "prepare": ("source", "output", "append_to", "user_features", "item_features"),
    "simulate": ("output",),
    "train": ("data.path", "run.dir", "run.start_from"),
    "sweep": ("data.path", "run.dir", "run.start_from"),
    "evaluate": ("run_dir", "data"),
    "score": ("run_dir", "output", "pairs", "data"),
    "annotate": ("run_dir", "output", "pairs", "data"),
    "recommend": ("run_dir", "output", "users", "data"),
    "export": ("run_dir", "output", "data"),
}
"""Commands that can be sent, each with its settings that are places on the cluster's storage."""
_FILES = ("--config", "--sweep.space")
"""Flags that name a file of settings, which travels with the job."""


def check_arguments(command: str, arguments: Sequence[str]) -> None:
    """Refuses what the command would refuse on the cluster, and places that would mean another thing there.

    Args:
        command: One of `SENT`.
        arguments: As they were given, beside the command's environment variables.

    Raises:
        UserError: A setting is unknown, missing, wrong, or a place without its full path.
    """
    COMMANDS[command].load().read(arguments)
    given = collect(command, arguments)
    for key in SENT[command]:
        setting = given.last(key)
        if setting is not None and setting.value and "://" not in setting.value and not os.path.isabs(setting.value):
            raise UserError(
                f"{setting.place}: {key} is {setting.value!r}, and a job starts in a directory of its own, which does "
                f"not outlive it; give the full path, such as {os.path.abspath(setting.value)}, on storage that all "
                "nodes share"
            )


def arguments_there(arguments: Sequence[str], working_dir: str) -> list[str]:
    """The arguments with every file that is sent along named from the directory that the job starts in.

    Args:
        arguments: As they were given.
        working_dir: Directory here that is sent, or a URI.

    Raises:
        UserError: A file lies outside of it.
    """
    there = list(arguments)
    for position, token in enumerate(arguments):
        flag, equals, value = token.partition("=")
        if flag in _FILES and equals:
            there[position] = f"{flag}={_file_there(value, working_dir)}"
        elif token in _FILES and position + 1 < len(arguments):
            there[position + 1] = _file_there(arguments[position + 1], working_dir)
    return there


def variables_there(command: str, working_dir: str, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment variables that are settings of the command; that of the file as in `arguments_there`.

    Args:
        command: The command.
        working_dir: Directory here that is sent, or a URI.
        environ: Environment variables.

    Raises:
        UserError: The file lies outside of it.
    """
    prefix = variable_prefix(command)
    return {
        name: _file_there(value, working_dir) if name == f"{prefix}CONFIG" else value
        for name, value in environ.items()
        if name.startswith(prefix)
    }


def _file_there(path: str, working_dir: str) -> str:
    if "://" in working_dir:
        return path
    name = os.path.relpath(path, working_dir)
    if name.split(os.sep)[0] == os.pardir:
        raise UserError(
            f"{path} lies outside of {os.path.abspath(working_dir)}, which is what the job gets to see; give "
            "a --working_dir that holds it"
        )
    return name


ABOUT = (
    f"Sends a command ({', '.join(SENT)}) with its arguments to a Ray cluster as a job; settings of the sending stand "
    "before it. `list` shows the jobs that were sent, `log ID` the log of one, with --wait to its end, and `stop ID` "
    "stops one after a checkpoint."
)
OPERANDS = {"list": 0, "log": 1, "stop": 1}
_VERBS = (*SENT, *OPERANDS)
_USAGE = "COMMAND … | list | log ID | stop ID"
_SWITCHES = ("--wait", "--help", "--print_config")


def run(argv: Sequence[str]) -> None:
    """Sends a job, or does what is asked about jobs.

    Args:
        argv: The command's arguments.

    Raises:
        UserError: Something is wrong with the arguments or the cluster.
        SystemExit: With `--wait`: the job's exit code.
    """
    flags, rest = split(argv)
    verb, *after = rest or [""]
    names: list[str] = []
    if verb in OPERANDS:
        while after:
            more, after = split(after)
            flags += more
            names, after = [*names, *after[:1]], after[1:]
    config = SubmitConfig(**read_options("submit", ABOUT, flags, lambda _: {"": SubmitConfig}, operands=_USAGE))
    if verb in SENT:
        _send(config, verb, after)
    elif verb in OPERANDS:
        _look_after(config, verb, names)
    elif verb:
        raise UserError(f"submit: there is no '{verb}'{suggestion(verb, _VERBS)}; there are {', '.join(_VERBS)}")
    else:
        raise UserError(f"submit: say what to send ({', '.join(SENT)}), or {', '.join(OPERANDS)}")


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Parts the flags of `submit` from what begins with the first argument that is neither a flag nor its value.

    Args:
        argv: Arguments.

    Returns:
        Flags, their names with underscores (`--submission-id` is `--submission_id`), and the rest.
    """
    flags: list[str] = []
    position = 0
    while position < len(argv) and argv[position].startswith("-"):
        name, equals, value = argv[position].partition("=")
        section, dot, field = name.removeprefix("--").partition(".")
        flags.append(name if name == "-h" else f"--{section.replace('-', '_')}{dot}{field}{equals}{value}")
        position += 1
        takes_value = not equals and name != "-h" and flags[-1] not in _SWITCHES
        if takes_value and position < len(argv) and not argv[position].startswith("--"):
            flags.append(argv[position])
            position += 1
    return flags, list(argv[position:])


def _send(config: SubmitConfig, command: str, arguments: Sequence[str]) -> None:
    if {"-h", "--help", "--print_config"} & set(arguments):
        COMMANDS[command].load().run(arguments)
        return
    _refuse_our_flags(command, arguments)
    if "://" not in config.working_dir:
        find_own_code(config.working_dir)
    check_arguments(command, arguments)
    variables = variables_there(command, config.working_dir)
    job = make_job(config, command, arguments_there(arguments, config.working_dir), variables)
    cluster = _cluster(config)
    if cluster.send(job):
        print(f"{job.submission_id}: sent to {cluster.address}", flush=True)
    else:
        before = cluster.state(job.submission_id)
        print(f"{job.submission_id}: sent before, {before.said()}", flush=True)
        if before.ended and not config.wait:
            return
    if config.wait:
        _follow(config, cluster, job.submission_id)
    print(f"  follow it: {_own_command(config, 'log', job.submission_id, '--wait')}")
    print(f"  stop it:   {_own_command(config, 'stop', job.submission_id)}")


def _refuse_our_flags(command: str, arguments: Sequence[str]) -> None:
    """What belongs to `submit` is easily given behind the command."""
    ours = SubmitConfig.__dataclass_fields__
    for setting in collect(command, arguments, {}).texts:
        if setting.key.partition(".")[0].replace("-", "_") in ours:
            raise UserError(f"{setting.place} belongs to submit; give it before {command}")


def _look_after(config: SubmitConfig, verb: str, names: Sequence[str]) -> None:
    if len(names) != OPERANDS[verb]:
        raise UserError(f"submit {verb} takes " + ("the id of one job" if OPERANDS[verb] else "no more words"))
    for name in names:
        check_submission_id(name)
    cluster = _cluster(config)
    if verb == "list":
        jobs = cluster.jobs()
        print(job_table(jobs) if jobs else f"no jobs were sent to {cluster.address} since it started")
    elif verb == "stop":
        if cluster.stop(names[0]):
            print(f"{names[0]}: asked to stop; if it runs, its end is waited for", flush=True)
        state = cluster.end(names[0])
        print(f"{names[0]}: {state.said()}" + ("" if state.ended else " Ray stops it when its turn comes."))
    elif config.wait:
        _follow(config, cluster, names[0])
    else:
        cluster.log(names[0], sys.stdout.write)


def _follow(config: SubmitConfig, cluster: JobCluster, submission_id: str) -> NoReturn:
    def write(line: str) -> None:
        sys.stdout.write(line)
        sys.stdout.flush()

    try:
        state = cluster.follow(submission_id, write, lambda note: print(note, file=sys.stderr))
    except KeyboardInterrupt:
        stop = _own_command(config, "stop", submission_id)
        print(f"\n{submission_id} goes on; `{stop}` stops it", file=sys.stderr)
        raise
    print(f"{submission_id}: {state.said()}", file=sys.stderr)
    raise SystemExit(state.exit_code)


def _cluster(config: SubmitConfig) -> JobCluster:
    from distributed_il.runtime.jobs.cluster import JobCluster

    return JobCluster.at(config.address)


def _own_command(config: SubmitConfig, *words: str) -> str:
    address = [f"--address={config.address}"] if config.address else []
    return shlex.join(["distributed-il", "submit", *address, *words])


def job_table(jobs: Sequence[JobState], now_s: float | None = None) -> str:
    """A row for each job: its id, status, start, duration and command.

    Args:
        jobs: In the order of the rows.
        now_s: Seconds since the epoch, for jobs that last.
    """
    width = max(len("id"), *(len(job.submission_id) for job in jobs))
    lines = [f"{'id':<{width}}  {'status':<9}  {'started':<19}  {'took':>8}  command"]
    for job in jobs:
        began = job.started_s
        started = "–" if began is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(began))
        until = job.ended_s or (time.time() if now_s is None else now_s)
        took = "–" if began is None else f"{int(until - began) // 60}:{int(until - began) % 60:02d}"
        command = job.entrypoint.removeprefix("python -m distributed_il ")
        lines.append(f"{job.submission_id:<{width}}  {job.status:<9}  {started:<19}  {took:>8}  {command}")
    return "\n".join(lines)
