"""`distributed-il submit`: a command, run on a Ray cluster as a job; and what has become of the jobs there."""

from __future__ import annotations

import dataclasses
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from distributed_il.cli.given import Given, collect, suggestion
from distributed_il.cli.main import COMMANDS
from distributed_il.cli.options import read_options
from distributed_il.core.errors import UserError
from distributed_il.core.own_code import find_own_code
from distributed_il.runtime.jobs.job import SubmitConfig, make_job

if TYPE_CHECKING:
    from distributed_il.runtime.jobs.client import JobClient

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
_FILES = ("sweep.space",)
"""Settings that name a file which travels with the job, as --config does."""
OPERANDS = {"list": 0, "log": 1, "stop": 1}
ABOUT = (
    f"Sends a command ({', '.join(SENT)}) with its arguments to a Ray cluster as a job; settings of the sending stand "
    "before it. `list` shows the jobs that were sent, `log ID` the log of one, with --wait to its end, and `stop ID` "
    "stops one after a checkpoint."
)
_STOP_POLL_S = 1.0
_SWITCHES = ("-h", "--help", "--print_config", "--wait")


def run(argv: Sequence[str]) -> None:
    """Sends a job, or does what is asked about jobs.

    Raises:
        UserError: Something is wrong with the arguments or the cluster.
        SystemExit: With `--wait`: the job's exit code.
    """
    flags, (verb, *rest) = split(argv)
    if verb and verb not in {*SENT, *OPERANDS}:
        known = (*SENT, *OPERANDS)
        raise UserError(f"submit: there is no '{verb}'{suggestion(verb, known)}; there are {', '.join(known)}")
    usage = "COMMAND … | list | log ID | stop ID"
    config = SubmitConfig(**read_options("submit", ABOUT, flags, lambda _: {"": SubmitConfig}, operands=usage))
    if verb in SENT:
        _send(config, verb, rest)
    elif verb:
        _manage(config, verb, rest)
    else:
        raise UserError(f"submit: say what to send ({', '.join(SENT)}), or {', '.join(OPERANDS)}")


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits the flags of `submit` from its words; all that follows a command to send belongs to that command.

    Flags get underscores (`--submission-id` is `--submission_id`); there is at least one word: "".
    """
    flags: list[str] = []
    words: list[str] = []
    tokens = list(argv)
    while tokens:
        token = tokens.pop(0)
        if not token.startswith("-"):
            words.append(token)
            if words[0] not in OPERANDS:
                return flags, words + tokens
            continue
        flags.append(re.sub(r"(?<=^--)[^.=]+", lambda name: name[0].replace("-", "_"), token))
        if "=" not in token and token not in _SWITCHES and tokens and not tokens[0].startswith("--"):
            flags.append(tokens.pop(0))
    return flags, words or [""]


def check_arguments(command: str, arguments: Sequence[str]) -> Given:
    """Refuses what the command would refuse on the cluster, and places that would mean another thing there.

    Raises:
        UserError: A setting is unknown, missing, wrong, `submit`'s own, or a place without its full path.
    """
    given = collect(command, arguments)
    for setting in given.texts:
        if setting.key.partition(".")[0].replace("-", "_") in SubmitConfig.__dataclass_fields__:
            raise UserError(f"{setting.place} belongs to submit; give it before {command}")
    COMMANDS[command].load().read(arguments)
    for key in SENT[command]:
        setting = given.last(key)
        if setting is not None and setting.value and "://" not in setting.value and not os.path.isabs(setting.value):
            raise UserError(
                f"{setting.place}: {key} is {setting.value!r}, and a job starts in a directory of its own, which does "
                f"not outlive it; give the full path, such as {os.path.abspath(setting.value)}, on storage that all "
                "nodes share"
            )
    return given


def arguments_there(given: Given, working_dir: str) -> list[str]:
    """Returns arguments that mean the same where the job starts, environment variables and sent files included.

    Raises:
        UserError: A file of settings lies outside of it.
    """

    def there(path: str) -> str:
        """Returns where the job finds a file of settings: relative to its working directory."""
        name = path if "://" in working_dir else os.path.relpath(path, working_dir)
        if name.split(os.sep)[0] == os.pardir:
            raise UserError(
                f"{path} lies outside of {os.path.abspath(working_dir)}, which is what the job gets to see; give "
                "a --working_dir that holds it"
            )
        return name

    arguments = [f"--config={there(path)}" for path in given.files]
    for key, value in ((setting.key, setting.value) for setting in given.texts):
        arguments.append(f"--{key}" if value is None else f"--{key}={there(value) if key in _FILES else value}")
    return arguments


def _send(config: SubmitConfig, command: str, arguments: Sequence[str]) -> None:
    if {"-h", "--help", "--print_config"} & set(arguments):
        COMMANDS[command].load().run(arguments)
        return
    if "://" not in config.working_dir:
        find_own_code(config.working_dir)
    job = make_job(config, command, arguments_there(check_arguments(command, arguments), config.working_dir))
    name = job["submission_id"]
    from distributed_il.runtime.jobs.client import connect
    from distributed_il.runtime.jobs.state import describe

    with connect(config.address) as client:
        before = client.send(job)
        said = f"sent before, {describe(before)}" if before else f"sent to {client.get_address()}"
        print(f"{name}: {said}", flush=True)
        if config.wait:
            _follow(config, client, name)
    if before is None or not before.status.is_terminal():
        print(f"  follow it: {_own_command(config, 'log', name, '--wait')}")
        print(f"  stop it:   {_own_command(config, 'stop', name)}")


def _manage(config: SubmitConfig, verb: str, names: Sequence[str]) -> None:
    if len(names) != OPERANDS[verb]:
        raise UserError(f"submit {verb} takes " + ("the id of one job" if OPERANDS[verb] else "no more words"))
    name = names[0] if names else ""
    config = dataclasses.replace(config, submission_id=name or None)
    from distributed_il.runtime.jobs.client import connect
    from distributed_il.runtime.jobs.follow import LogText
    from distributed_il.runtime.jobs.state import describe, job_table

    with connect(config.address) as client:
        if verb == "list":
            jobs = [job for job in client.list_jobs() if job.type == "SUBMISSION"]
            none = f"no jobs were sent to {client.get_address()} since it started"
            print(job_table(jobs, time.time()) if jobs else none)
        elif verb == "stop":
            if not client.find(name).status.is_terminal() and client.stop_job(name):
                print(f"{name}: asked to stop; if it runs, its end is waited for", flush=True)
            while (job := client.find(name)).status == "RUNNING":
                time.sleep(_STOP_POLL_S)
            print(
                f"{name}: {describe(job)}" + (" Ray stops it when its turn comes." if job.status == "PENDING" else "")
            )
        elif config.wait:
            _follow(config, client, name)
        else:
            client.find(name)
            LogText(sys.stdout.write).take_last(client.get_job_logs(name))


def _follow(config: SubmitConfig, client: JobClient, name: str) -> NoReturn:
    from distributed_il.runtime.jobs.follow import follow
    from distributed_il.runtime.jobs.state import describe, exit_code

    try:
        job = follow(client, name, partial(print, end="", flush=True), partial(print, file=sys.stderr))
    except KeyboardInterrupt:
        print(f"\n{name} goes on; `{_own_command(config, 'stop', name)}` stops it", file=sys.stderr)
        raise
    print(f"{name}: {describe(job)}", file=sys.stderr)
    raise SystemExit(exit_code(job))


def _own_command(config: SubmitConfig, *words: str) -> str:
    address = [f"--address={config.address}"] if config.address else []
    return shlex.join(["distributed-il", "submit", *address, *words])
