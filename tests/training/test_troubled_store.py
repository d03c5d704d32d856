"""A store that refuses, is slow or breaks off: asked again where that helps, else one line; never half believed.

Arrow asks 31 times in all, every 0.2 s, after errors of the server and of the connection, and once where it is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from local_runs import local_trainer
from object_store import BUCKET, Trouble, object_store
from pyarrow.fs import copy_files
from small_datasets import make_small_dataset

from distributed_il.cli import main
from distributed_il.core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from distributed_il.core.errors import UserError
from distributed_il.core.files import filesystem, read_run_file
from distributed_il.core.method_config import NoneConfig
from distributed_il.data.dataset import Dataset
from distributed_il.training.checkpoint import CheckpointStore

STORE = f"s3://{BUCKET}"
READ, WRITE = ("GET", "HEAD"), ("POST", "PUT")
LOG = "user_id,item_id,label\n" + "".join(
    f"{user},{item},{user * item % 2}\n" for user in range(9) for item in range(9)
)


def config_of(run_dir: str) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(path=f"{STORE}/data"),
        run=RunConfig(dir=run_dir, batch_size=64, max_rounds=2, patience=9, checkpoint_every_steps=99),
        model=ModelConfig(factors=0, embedding_dim=4),
        method=NoneConfig(),
    )


def measured(result: Any) -> Any:
    return {name: result[name] for name in ("valid", "test", "trivial")}


@pytest.fixture(scope="module")
def every_trouble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Trouble]]:
    """What befalls the store of this file, which holds a dataset `data`, a raw log `raw/log.csv` and a run `run`."""
    troubles: list[Trouble] = []
    here = tmp_path_factory.mktemp("here")
    (here / "log.csv").write_text(LOG)
    with object_store(troubles) as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        fs, place = filesystem(STORE)
        copy_files(make_small_dataset(here / "data", lanes=2).path, f"{place}/data", destination_filesystem=fs)
        copy_files(str(here / "log.csv"), f"{place}/raw/log.csv", destination_filesystem=fs)
        local_trainer(config_of(f"{STORE}/run")).run()
        yield troubles


@pytest.fixture
def troubles(every_trouble: list[Trouble]) -> Iterator[list[Trouble]]:
    """None yet, and none any more behind the test."""
    yield every_trouble
    every_trouble.clear()


def test_what_passes_changes_nothing(troubles: list[Trouble], tmp_path: Path) -> None:
    troubles += [
        Trouble("/data/train/lane-000", ("GET",), times=2, breaks_off=True),
        Trouble("/data/test/", READ, times=2, status=503),
        Trouble("/passing/checkpoints/000001", ("PUT",), times=2, status=500),
        Trouble("/passing/checkpoints/names.json", ("POST",), times=1, status=503),
        Trouble("/passing/", times=9, delay_s=0.05),
    ]
    found = local_trainer(config_of(f"{STORE}/passing")).run()
    assert [trouble.met for trouble in troubles] == [2, 2, 2, 1, 9]
    assert measured(found) == measured(local_trainer(config_of(str(tmp_path / "run"))).run())


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a command ends with."""
    capsys.readouterr()
    assert main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    [line] = errors.splitlines()
    return line


@pytest.mark.parametrize(
    ("part", "methods"),
    [
        ("/run/", READ),
        ("/run/checkpoints/names.json", ("GET",)),
        ("/run/checkpoints/000002-00000020/manifest.json", READ),
        ("/run/checkpoints/000002-00000020/users-00000.safetensors", ("GET",)),
        ("/data/manifest.json", READ),
        ("/data/test/lane-001-00000.parquet", ("GET",)),
    ],
)
def test_reading_that_is_refused_is_one_line_with_the_path(
    part: str, methods: tuple[str, ...], troubles: list[Trouble], capsys: pytest.CaptureFixture[str]
) -> None:
    troubles.append(Trouble(part, methods, status=403))
    said = refused(["evaluate", f"--run_dir={STORE}/run"], capsys)
    assert part.strip("/") in said
    assert "ACCESS_DENIED" in said
    assert troubles[0].met <= 2


@pytest.mark.parametrize("part", ["/made/", "/made/test", "/made/manifest.json"])
def test_a_dataset_whose_writing_is_refused_is_none(
    part: str, troubles: list[Trouble], capsys: pytest.CaptureFixture[str]
) -> None:
    troubles.append(Trouble(part, WRITE, status=403))
    simulate = ["simulate", "--num_users=40", "--num_items=60", "--num_positives=300", "--num_negatives=300"]
    assert "made" in refused([*simulate, "--num_unclear=0", f"--output={STORE}/made"], capsys)
    troubles.clear()
    with pytest.raises(UserError, match="holds no manifest"):
        Dataset.open(f"{STORE}/made")


def test_a_log_that_is_refused_is_one_line(troubles: list[Trouble], capsys: pytest.CaptureFixture[str]) -> None:
    troubles.append(Trouble("/raw/", ("GET",), status=403))
    assert "log.csv" in refused(["prepare", f"--source={STORE}/raw/log.csv", f"--output={STORE}/prepared"], capsys)
    with pytest.raises(UserError, match="holds no manifest"):
        Dataset.open(f"{STORE}/prepared")


def test_a_checkpoint_that_is_refused_leaves_the_one_before_and_the_run_goes_on_from_it(
    troubles: list[Trouble], tmp_path: Path
) -> None:
    run_dir = f"{STORE}/refused"
    troubles.append(Trouble("/refused/checkpoints/000002", ("PUT",), status=403))
    with pytest.raises(OSError, match=r"refused/checkpoints/000002.*ACCESS_DENIED"):
        local_trainer(config_of(run_dir)).run()
    assert read_run_file(run_dir, "metrics.json") is None
    assert (CheckpointStore(run_dir).newest() or "").startswith("000001-")

    troubles.clear()
    again = local_trainer(config_of(run_dir))
    assert again.state.round == 1
    assert measured(again.run()) == measured(local_trainer(config_of(str(tmp_path / "run"))).run())


@pytest.mark.cluster  # Arrow does not give up before
@pytest.mark.parametrize(
    "trouble",
    [
        Trouble("/run/checkpoints/names.json", READ, status=500),
        Trouble("/run/checkpoints/names.json", ("GET",), breaks_off=True),
        Trouble("/data/test/lane-001-00000.parquet", ("GET",), breaks_off=True),
    ],
)
def test_what_does_not_pass_is_one_line_with_the_path(
    trouble: Trouble, troubles: list[Trouble], capsys: pytest.CaptureFixture[str]
) -> None:
    troubles.append(trouble)
    assert trouble.part.strip("/") in refused(["evaluate", f"--run_dir={STORE}/run"], capsys)
    assert trouble.met == 31


@pytest.mark.cluster  # a request is given up after three seconds without an answer, and sent again
def test_an_answer_that_does_not_come_is_asked_for_again(
    troubles: list[Trouble], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", f"--run_dir={STORE}/run"]) == 0
    expected = capsys.readouterr().out
    troubles.append(Trouble("/run/checkpoints/names.json", ("GET",), times=2, delay_s=5))
    assert main(["evaluate", f"--run_dir={STORE}/run"]) == 0
    assert capsys.readouterr().out == expected
