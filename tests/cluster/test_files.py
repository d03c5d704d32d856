"""The files under cluster/: what can be checked of them without a cloud."""

from __future__ import annotations

import dataclasses
import itertools
import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.dashboard.modules.job.cli import job_cli_group
from ray.scripts.scripts import cli as ray_cli

from cluster.local.__main__ import parser
from distributed_il.cli.main import main
from distributed_il.core.config import SECTIONS
from distributed_il.data.prepare import PrepareConfig

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster"
KUBERAY = sorted((FOLDER / "kuberay").glob("*.yaml"))
RAY_UP = sorted((FOLDER / "ray_up").glob("*.yaml"))
READMES = ["README.md", "cluster/README.md", "jobs/README.md", "distributed_il/data/prepare/README.md"]
PAGES = [*KUBERAY, *RAY_UP, FOLDER / "Dockerfile", *(ROOT / page for page in READMES)]
OURS = re.compile(r"(?:python -m distributed_il|python -m jobs\.kuberay|(?<!/)distributed-il)\s+(?=[a-z])")
LOCAL = re.compile(r"python -m cluster\.local\s+(?=[a-z])")
RAY = re.compile(r"(?<![\w/-])ray (?=(?:start|stop|up|down|dashboard|status|job|get-auth-token)\b)")
PINNED = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)


def documents(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


def lines(path: Path) -> Iterator[str]:
    """The lines of a file as a shell would get them: folded YAML unfolded, comment signs and Markdown's quotes off."""
    text = path.read_text().replace("\\\n", " ").splitlines()
    if path.suffix == ".yaml":
        yield from (words for words in strings(documents(path)) if " " in words)
        text = [line.partition("#")[2] for line in text if "#" in line]
    for line in text:
        yield from re.findall(r"`([^`]*)`", line) if "`" in line else [line.lstrip("# ")]


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        yield from itertools.chain.from_iterable(strings(item) for item in value)
    elif isinstance(value, dict):
        yield from strings([*value.values()])


def commands(kind: re.Pattern[str]) -> list[list[str]]:
    """The arguments of every command of a kind in all files."""
    found: list[list[str]] = []
    for path in PAGES:
        for line in lines(path):
            for start in kind.finditer(line):
                words = shlex.split(re.split(r"&&|;|\)\"", line[start.end() :])[0], comments=True)
                if words not in found:
                    found.append(words)
    return found


@pytest.mark.parametrize("words", commands(OURS), ids=" ".join)
def test_our_commands_exist_with_all_their_settings(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    # A command that is only named, without settings, is asked for its help.
    assert main([*words, "--print_config"] if len(words) > 2 else [words[0], "--help"]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("words", commands(LOCAL), ids=" ".join)
def test_commands_of_the_local_cluster_exist(words: list[str]) -> None:
    assert parser().parse_args(words).task == words[0]


@pytest.mark.parametrize("words", commands(RAY), ids=" ".join)
def test_commands_of_ray_exist_with_all_their_options(words: list[str]) -> None:
    command, *arguments = words
    group = ray_cli
    if command == "job":
        group, (command, *arguments) = job_cli_group, arguments
    group.commands[command].make_context(command, arguments or _least(command), resilient_parsing=False)


def _least(command: str) -> list[str]:
    """What a command that is only named would need beside its name."""
    return {"up": ["FILE"], "down": ["FILE"], "dashboard": ["FILE"], "submit": ["--", "true"]}.get(command, [])


def test_the_searches_find_the_commands() -> None:
    assert {"train", "simulate"} <= {words[0] for words in commands(OURS)}
    assert {"up", "env", "run", "down"} <= {words[0] for words in commands(LOCAL)}
    assert {"start", "job", "up", "down", "dashboard"} <= {words[0] for words in commands(RAY)}


def test_a_setting_that_does_not_exist_would_be_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", str(ROOT / "jobs/demo.yaml"), "--run.wrokers=2", "--print_config"]) == 2
    assert "run.workers" in capsys.readouterr().err


@pytest.mark.parametrize("path", RAY_UP, ids=lambda path: path.stem)
def test_ray_accepts_the_files_of_ray_up(path: Path) -> None:
    (config,) = documents(path)
    prepared = prepare_config(config)  # what `ray up` does before it looks for machines
    validate_config(prepared)
    workers = [kind for name, kind in prepared["available_node_types"].items() if name != "head"]
    assert sum(kind["max_workers"] for kind in workers) == prepared["max_workers"] > 0


@pytest.mark.parametrize("path", RAY_UP, ids=lambda path: path.stem)
def test_ray_up_starts_every_node_with_the_token_and_the_dashboard_on_loopback(path: Path) -> None:
    (config,) = documents(path)
    starts = [
        command
        for key in ("head_start_ray_commands", "worker_start_ray_commands")
        for command in config[key]
        if "ray start" in command
    ]
    assert len(starts) == 2
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


def ray_clusters() -> list[Any]:
    """The cluster's part of every manifest that has one."""
    found: list[Any] = []
    for path in KUBERAY:
        for document in documents(path):
            spec = {"RayCluster": document["spec"], "RayJob": document["spec"].get("rayClusterSpec")}.get(
                document["kind"]
            )
            if spec is not None:
                found.append(pytest.param(spec, id=path.stem))
    return found


@pytest.mark.parametrize("spec", ray_clusters())
def test_manifests_have_the_parts_that_kuberay_reads(spec: dict[str, Any]) -> None:
    assert set(spec) | {"workerGroupSpecs"} == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert spec["rayVersion"] == PINNED["ray"]
    assert spec["authOptions"] == {"mode": "token"}
    assert set(spec["headGroupSpec"]) == {"rayStartParams", "template"}
    assert spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    workers = spec.get("workerGroupSpecs", [])
    names = [group["groupName"] for group in workers]
    assert len(set(names)) == len(names)
    for group in workers:
        assert set(group) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    options = {f"--{name}" for option in ray_cli.commands["start"].params for name in [option.name.replace("_", "-")]}
    for group in [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]:
        assert all(isinstance(value, str) and f"--{name}" in options for name, value in group["rayStartParams"].items())


@pytest.mark.parametrize("spec", ray_clusters())
def test_pods_run_without_root_on_the_shared_storage_with_room_for_the_object_store(spec: dict[str, Any]) -> None:
    (claim,) = documents(FOLDER / "kuberay" / "storage.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for group in [spec["headGroupSpec"], *spec.get("workerGroupSpecs", [])]:
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["resources"]["requests"].items() <= container["resources"]["limits"].items()
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert mounts == {"shared": "/shared", "memory": "/dev/shm"}
        assert volumes["shared"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        room = int(volumes["memory"]["emptyDir"]["sizeLimit"].removesuffix("Gi")) << 30
        assert int(group["rayStartParams"]["object-store-memory"]) < room


@pytest.mark.parametrize("name", ["train-cpu", "train-gpu"])
def test_a_job_that_is_sent_again_goes_on_with_the_same_run_and_fits_its_cluster(name: str) -> None:
    (job,) = documents(FOLDER / "kuberay" / f"{name}.yaml")
    spec = job["spec"]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert set(spec) == {
        "entrypoint", "submissionMode", "backoffLimit", "submitterConfig", "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished", "rayClusterSpec",
    }  # fmt: skip
    assert spec["submissionMode"] == "K8sJobMode"
    assert spec["backoffLimit"] > 0
    settings = dict(word.removeprefix("--").split("=") for word in spec["entrypoint"].split() if "=" in word)
    assert settings["run.dir"].startswith("/shared/")
    assert settings["data.path"].startswith("/shared/")
    assert not set("$`") & set(spec["entrypoint"])  # nothing that differs from one try to the next
    (group,) = spec["rayClusterSpec"]["workerGroupSpecs"]
    limits = group["template"]["spec"]["containers"][0]["resources"]["limits"]
    workers = int(settings["run.workers"])
    assert workers * int(settings.get("run.threads_per_worker", 1)) <= group["replicas"] * int(limits["cpu"])
    if settings.get("run.use_gpu") == "true":
        assert workers <= group["replicas"] * int(limits["nvidia.com/gpu"])


def test_the_data_job_writes_where_the_training_jobs_read() -> None:
    (data,) = documents(FOLDER / "kuberay" / "simulate-demo.yaml")
    assert data["kind"] == "RayJob"
    (output,) = re.findall(r"--output=(\S+)", data["spec"]["entrypoint"])
    for name in ("train-cpu", "train-gpu"):
        path = FOLDER / "kuberay" / f"{name}.yaml"
        assert f"--data.path={output} " in documents(path)[0]["spec"]["entrypoint"]
        text = path.read_text()
        order = ("kubectl apply -f cluster/kuberay/simulate-demo.yaml", "rayjob/simulate-demo", f"{name}.yaml\n")
        assert sorted(map(text.index, order)) == [text.index(words) for words in order]


@pytest.mark.parametrize("name", ["simulate-demo", "train-cpu", "train-gpu"])
def test_a_job_that_was_refused_is_not_sent_again(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (job,) = documents(FOLDER / "kuberay" / f"{name}.yaml")
    python, flag, module, *words = shlex.split(job["spec"]["entrypoint"])
    assert (python, flag) == ("python", "-m")
    for arguments, ended in (([*words, "--wrong=1"], 0), (["train", "--help"], 0)):
        monkeypatch.setattr("sys.argv", ["kuberay", *arguments])
        with pytest.raises(SystemExit) as left:
            runpy.run_module(module, run_name="__main__")
        assert left.value.code == ended
        refused = "KubeRay does not send this job again" in capsys.readouterr().err
        assert refused == ("--wrong=1" in arguments)
    monkeypatch.setattr("distributed_il.cli.main", lambda: 1)  # what may be another the next time
    with pytest.raises(SystemExit) as left:
        runpy.run_module(module, run_name="__main__")
    assert left.value.code == 1


def test_the_image_takes_pinned_versions_copies_what_exists_and_is_not_root() -> None:
    text = (FOLDER / "Dockerfile").read_text().replace("\\\n", " ")
    instructions = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    installs = [rest for word, rest in instructions if word == "RUN" and "pip install" in rest]
    assert installs
    assert all("--constraint constraints.txt" in rest or "constraints.txt)" in rest for rest in installs)
    copied = [name for word, rest in instructions if word == "COPY" for name in rest.split()[1:-1]]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    allowed = (FOLDER / "Dockerfile.dockerignore").read_text().splitlines()
    assert all(f"!{name}" in allowed for name in copied)
    users = [rest for word, rest in instructions if word == "USER"]
    assert users == ["ray"]
    assert PINNED["ray"] in {cluster.values[0]["rayVersion"] for cluster in ray_clusters()}


@pytest.mark.parametrize("page", [*READMES, "benchmarks/README.md"])
def test_links_lead_to_files(page: str) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / page).read_text())
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []


def test_the_page_names_files_that_exist() -> None:
    page = (FOLDER / "README.md").read_text()
    named = set(re.findall(r"`((?:cluster|jobs|benchmarks)/[\w./-]+)`", page))
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


def test_the_page_names_settings_that_exist() -> None:
    page = (FOLDER / "README.md").read_text()
    known = {f"{section}.{field.name}" for section, fields in SECTIONS.items() for field in dataclasses.fields(fields)}
    named = set(re.findall(rf"(?<![.\w])((?:{'|'.join(SECTIONS)})\.\w+)", page))
    assert {"run.batch_size", "model.tables"} <= named
    assert named <= known
    assert "lanes" in {field.name for field in dataclasses.fields(PrepareConfig)}
