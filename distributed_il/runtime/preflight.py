"""Checks before a run begins, so that it fails at once, on the driver, with nothing half-written."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from typing import Any

import ray
from pyarrow import fs as pafs
from ray._private.state import state as cluster_state
from ray.exceptions import RayError, RayTaskError, RuntimeEnvSetupError

from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem
from distributed_il.core.method_config import OrdinalConfig
from distributed_il.data.dataset import Dataset
from distributed_il.methods import make_method
from distributed_il.models.backbones import find_backbone
from distributed_il.runtime.data_checks import check_data
from distributed_il.runtime.run_directory import check_run_dir, probed
from distributed_il.training.checkpoint import CheckpointStore
from distributed_il.training.checkpoint_manifest import tell_unverified
from distributed_il.training.exposure_factors import resolve_factors
from distributed_il.training.feedback import resolve_feedback
from distributed_il.training.pair_sampler import pair_sampler
from distributed_il.training.resume import check_same_run
from distributed_il.training.trial_pass import try_own_code
from distributed_il.training.warm_start import check_warm_start, find_warm_start

PROBE_WITHIN_S = 45.0
"""How long a node may take to check its storage; more than a process takes to start on a busy one."""
LOOK_AGAIN_S = 1.0
"""How often it is seen whether nodes that have not answered are still there."""
_SEE_STORAGE = "see whether its storage answers, or take the node out of the cluster"


def check_run(config: TrainConfig) -> Dataset:
    """Checks all that can be checked without Ray of a run with absolute paths, and returns its dataset.

    Raises:
        UserError: The backbone or the method can't be made, or the user's own fails on two rows; the run does not fit
            its dataset (see `check_data`), which lacks the exposure factors or the logged pairs that are asked for;
            `run.dir` is somebody else's or can't be written, its checkpoint belongs to another run, or what
            `run.start_from` names does not fit.
    """
    find_backbone(config.model)
    make_method(config.method)
    dataset = check_data(config)
    try_own_code(config, dataset)
    config = resolve_feedback(config, dataset)
    if isinstance(config.method, OrdinalConfig):
        pair_sampler(config, dataset)
    check_run_dir(config)
    manifest = CheckpointStore(config.run.dir).manifest("last")
    start_from = config.run.start_from if manifest is None else None
    origin = None if start_from is None else find_warm_start(start_from)[1]
    config = resolve_factors(config, dataset, resumed=manifest, origin=origin)
    for found in (manifest, origin):
        if found is not None:
            tell_unverified(found)
    if manifest is not None:
        check_same_run(config, dataset, manifest)
    elif origin is not None:
        check_warm_start(config, dataset, origin)
    with probed(config.run.dir):
        pass
    return dataset


def check_cluster(config: TrainConfig, dataset: Dataset) -> None:
    """Checks that every node that can have workers sees the run's directory and the dataset as this process does.

    Nodes that are about to leave are not asked, and one that leaves meanwhile is left out. A worker checks the node
    that it starts on once more, which may have joined later.

    Raises:
        UserError: A node does not, or does not answer.
    """
    here = ray.get_runtime_context().get_node_id()
    nodes = {node: address for node, address in _nodes().items() if node != here}
    if not nodes:
        return
    with probed(config.run.dir) as name:
        task = ray.remote(num_cpus=0, max_retries=0)(check_node)

        def ask(node: str) -> Any:
            place = task.options(label_selector={"ray.io/node-id": node})
            return place.remote(config.run.dir, name, config.data.path, dataset.fingerprint)

        for node, problem in _answers(ask, list(nodes)):
            if problem is not None:
                raise UserError(f"node {nodes[node]}: {problem}")


def _answers(ask: Callable[[str], Any], nodes: Sequence[str]) -> Generator[tuple[str, str | None]]:
    """Yields each node with what is wrong there, None if nothing is; without those that leave meanwhile."""
    asked, until = {ask(node): node for node in nodes}, time.monotonic() + PROBE_WITHIN_S
    try:
        while asked:
            arrived = ray.wait(list(asked), timeout=LOOK_AGAIN_S)[0]
            there, late = _nodes(), time.monotonic() > until
            for answer, node in list(asked.items()):
                if node in there and answer not in arrived and not late:
                    continue
                asked.pop(answer)
                if node not in there:
                    ray.cancel(answer, force=True)
                elif answer not in arrived:
                    ray.cancel(answer, force=True)
                    yield node, f"run.dir and data.path were not checked within {PROBE_WITHIN_S:.0f} s; {_SEE_STORAGE}"
                elif late or not _was_lost(answer):
                    yield node, _problem(answer)
                else:  # the node may be leaving, which shows in a while
                    asked[ask(node)] = node
    finally:
        for answer in asked:
            ray.cancel(answer, force=True)


def _nodes() -> dict[str, str]:
    """Returns the addresses, by id, of the nodes that can have workers and are not about to leave."""
    leaving = cluster_state.get_draining_nodes()
    return {
        node["NodeID"]: node["NodeManagerAddress"]
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU", 0) and node["NodeID"] not in leaving
    }


def _was_lost(answer: Any) -> bool:
    """Returns whether the process or the node ended before it could answer."""
    try:
        ray.get(answer)
    except (RayTaskError, RuntimeEnvSetupError):
        return False
    except RayError:
        return True
    return False


def _problem(answer: Any) -> str | None:
    """Returns what `check_node` returned, or what kept it from returning."""
    try:
        return ray.get(answer)
    except RayError as error:
        last = str(error).strip().splitlines()[-1]
        return f"run.dir and data.path could not be checked ({last}); all nodes need the same packages and storage"


def check_node(run_dir: str, probe: str, data_path: str, fingerprint: str) -> str | None:
    """Checks, on a node, that it sees run directory and dataset as the driver does, and returns what is wrong, or None.

    The driver has put a file `probe` into the run's directory, and sees a dataset of that fingerprint.
    """
    problem = find_difference(run_dir, probe, data_path, fingerprint)
    if problem is not None:
        return problem
    try:
        with probed(run_dir):
            return None
    except UserError as error:
        return str(error)


def find_difference(run_dir: str, probe: str, data_path: str, fingerprint: str) -> str | None:
    """Checks as `check_node`, without writing: storage may refuse that for a while, which does not end a run."""
    fs, root = filesystem(run_dir)
    if fs.get_file_info(f"{root}/{probe}").type != pafs.FileType.File:
        return f"run.dir {run_dir} is not the directory that the driver sees; put it on storage that all nodes share"
    try:
        found = Dataset.open(data_path).fingerprint
    except UserError as error:
        return f"{error} (the driver sees it; put data.path on storage that all nodes share)"
    if found != fingerprint:
        return f"data.path {data_path} holds another dataset than the driver sees; put it on storage that all share"
    return None
