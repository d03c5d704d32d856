"""Commands: each calls its function, prints what came of it, and ends with the right code."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import pytest

from distributed_il.cli import main
from distributed_il.cli.main import COMMANDS
from distributed_il.cli.output import metric_table
from distributed_il.core.config import TrainConfig
from distributed_il.core.errors import UserError

NEEDED = ["--data.path=data", "--run.dir=run"]


# Each command calls its function and prints what came out


def test_train_shows_the_model_beside_the_trivial_rows(
    launched: list[TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *NEEDED]) == 0
    out = capsys.readouterr().out
    for words in ("bias mf ig", "item mean", "user + item bias", "0.8400", "tensorboard --logdir run"):
        assert words in out
    assert out.startswith("stopped after round 9: none of the last 3 was better than round 6; 0:00:00 in all\n")
    lines = [line.split() for line in out.splitlines()]
    assert ["bias", "mf", "ig,", "on", "valid", "0.8400"] in [line[:6] for line in lines]
    assert ["bias", "mf", "ig", "20", *["0.2500"] * 8] in lines
    assert ["popularity", "10", *["–"] * 8] in lines
    assert "900 users, of the 1,234 with positives; 100 left out" in out


def test_seeds_are_shown_beside_their_mean(
    metrics: dict[str, Any],
    ranking: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[TrainConfig] = []

    def train_seeds(config: TrainConfig) -> dict[int, Any]:
        asked.append(config)
        results = {"trivial": {"item_mean": metrics}, "ranking": ranking}
        return {seed: {**results, "test": {**metrics, "auc": auc}} for seed, auc in ((7, 0.8), (8, 0.9))}

    module = types.ModuleType("distributed_il.runtime.seeds")
    module.train_seeds = train_seeds  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "distributed_il.runtime.seeds", module)
    assert main(["train", *NEEDED, "--run.seed=7", "--seeds=2"]) == 0
    assert (asked[0].run.seed, asked[0].run.seeds) == (7, 2)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["mean", "of", "2", "seeds", "0.8500"] in [line[:5] for line in lines]
    assert ["standard", "deviation", "0.0707"] in [line[:3] for line in lines]
    assert ["seed", "8", "0.9000"] in [line[:3] for line in lines]
    assert ["Runs:", "run", "(seed-7,", "seed-8,", "seeds.json)"] in lines


def test_a_sweep_of_several_seeds_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sweep", *NEEDED, "--sweep.space=space.yaml", "--method.name=none", "--seeds=2"]) == 2
    assert "run.seeds is 2, but a trial is one run; set it to 1" in capsys.readouterr().err


def test_training_ends_by_naming_the_command_that_finds_what_pays(
    launched: list[TrainConfig], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the environment is active: its programs go by their names.
    monkeypatch.setattr("shutil.which", lambda name: str(Path(sys.executable).with_name(name)))
    assert main(["train", "--data.path=my data", "--run.dir=runs/a/"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "What pays:   distributed-il sweep --sweep.space=jobs/choose_space.yaml --data.path='my data' "
        "--run.dir=runs/a-choice"
    )
    assert (Path(__file__).parents[2] / "jobs" / "choose_space.yaml").is_file()


def test_prepare_calls_its_function(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from distributed_il.data import prepare

    told: list[Any] = []
    monkeypatch.setattr(prepare, "prepare", lambda config, progress, **_: told.append(config) or "manifest")
    monkeypatch.setattr(prepare, "summary_text", lambda manifest: f"summary of {manifest}")
    assert main(["prepare", "--source=raw", "--output=data", "--positive_above=3", "--delimiter=,"]) == 0
    assert (told[0].source, told[0].positive_above, told[0].delimiter) == ("raw", 3.0, ",")
    assert "summary of manifest" in capsys.readouterr().out


def test_simulate_calls_its_function(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from distributed_il.data.prepare.simulate import simulator
    from distributed_il.evaluation import simulation_oracle

    told: list[Any] = []

    def simulate(config: Any, progress: Any) -> Any:
        told.append(config)
        return "simulation"

    def simulation_report(simulation: str, progress: Any) -> Any:
        return types.SimpleNamespace(summary=lambda: f"what there is to learn in a {simulation}")

    monkeypatch.setattr(simulator, "simulate", simulate)
    monkeypatch.setattr(simulation_oracle, "simulation_report", simulation_report)
    assert main(["simulate", "--output=data", "--preset=micro-video", "--seed=4"]) == 0
    assert (told[0].preset, told[0].seed) == ("micro-video", 4)
    assert "what there is to learn" in capsys.readouterr().out


def test_evaluate_calls_its_function(
    monkeypatch: pytest.MonkeyPatch,
    metrics: dict[str, Any],
    ranking: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from distributed_il.inference import evaluate as module

    told: list[Any] = []

    def evaluate(config: Any) -> dict[str, Any]:
        told.append(config)
        return {config.split: metrics, "trivial": {"item_mean": metrics}, "ranking": ranking}

    monkeypatch.setattr(module, "evaluate", evaluate)
    assert main(["evaluate", "--run_dir=run", "--split=valid", "--checkpoint=last"]) == 0
    assert (told[0].run_dir, told[0].split, told[0].checkpoint) == ("run", "valid", "last")
    assert "last checkpoint" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["score", "annotate", "recommend", "similar"])
def test_a_command_with_a_result_calls_its_function(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Any] = []
    module = types.ModuleType("distributed_il.runtime.batch_inference")

    def write(config: Any, on_progress: Any, on_note: Any) -> dict[str, int]:
        told.append(config)
        return {"rows": 1200, "model": 1190, "item_mean": 10, "overall_mean": 0}

    setattr(module, command, write)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    pairs = ["--split=test"] if command == "score" else []
    assert main([command, "--run_dir=run", "--output=out", "--workers=2", *pairs]) == 0
    assert (told[0].run_dir, told[0].output, told[0].workers) == ("run", "out", 2)
    assert capsys.readouterr().out == "out: 1,200 rows, 10 of them answered by item mean\n"


def test_metrics_that_are_not_defined_are_shown_as_such(metrics: dict[str, Any]) -> None:
    header, row, counts = metric_table("test", {"model": metrics}).splitlines()
    assert header.split()[0] == "test"
    assert row.split() == ["model", "0.8400", "0.7700", "0.9500", "0.9600", "0.5000", "–", "–"]
    assert counts.startswith("2,000 rows, 50.0% positive")


# Exit codes and help


def test_errors_for_people_end_with_code_2(
    monkeypatch: pytest.MonkeyPatch, launched: list[TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    def launch(config: TrainConfig) -> None:
        raise UserError("train-00.parquet, row 3: label is 7; it must be 0 or 1")

    monkeypatch.setattr(sys.modules["distributed_il.runtime.early_start"], "start_run", launch)
    assert main(["train", *NEEDED]) == 2
    assert capsys.readouterr() == ("", "distributed-il: train-00.parquet, row 3: label is 7; it must be 0 or 1\n")


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (SystemExit(143), 143), (SystemExit(None), 0), (SystemExit("x"), 1)]
)
def test_a_run_that_was_stopped_says_so_by_its_code(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, launched: list[TrainConfig]
) -> None:
    def launch(config: TrainConfig) -> None:
        raise error

    monkeypatch.setattr(sys.modules["distributed_il.runtime.early_start"], "start_run", launch)
    assert main(["train", *NEEDED]) == code


def test_an_unknown_command_is_refused_with_the_nearest_right_name(capsys: pytest.CaptureFixture[str]) -> None:
    for argv, words in ((["trian"], "did you mean 'train'"), (["--config=job.yaml", "train"], "a command comes first")):
        assert main(argv) == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"]])
def test_help_names_every_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 0
    out = capsys.readouterr().out
    for command in COMMANDS:
        assert command in out


def test_help_loads_neither_torch_nor_ray() -> None:
    program = (
        "import sys; from distributed_il.cli import main\n"
        "main(['--help']); assert 'pyarrow' not in sys.modules\n"
        "for command in sys.argv[1:]: main([command, '--help'])\n"
        "sys.exit(bool({'torch', 'ray'} & set(sys.modules)))"
    )
    commands = ["prepare", "simulate", "train", "evaluate", "score", "annotate", "recommend", "similar", "export"]
    subprocess.run([sys.executable, "-c", program, *commands], check=True, stdout=subprocess.DEVNULL)


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "distributed_il", "--version"], check=True, capture_output=True, text=True
    )
    assert done.stdout.startswith("distributed-il ")


# What nobody foresaw


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PermissionError(13, "Permission denied", "/data/x"), 2, "distributed-il: /data/x: Permission denied\n"),
        (OSError("the store does not answer"), 2, "distributed-il: the store does not answer\n"),
        (MemoryError("can't allocate 8 GiB"), 2, "distributed-il: there is not enough memory (can't allocate 8 GiB)\n"),
    ],
    ids=["permission", "storage", "memory"],
)
def test_what_the_machine_refuses_is_one_line(
    error: Exception, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(COMMANDS, "train", _failing(error))
    assert main(["train"]) == code
    assert capsys.readouterr().err == said


def test_a_fault_is_one_line_and_its_trace_lies_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(COMMANDS, "train", _failing(KeyError("rows")))
    assert main(["train"]) == 1
    (trace,) = tmp_path.iterdir()
    said = f"distributed-il: KeyError: 'rows'; this is a fault of the program, not of yours: its trace is in {trace}\n"
    assert capsys.readouterr().err == said
    assert trace.read_text().splitlines()[0] == "Traceback (most recent call last):"
    assert "in fail" in trace.read_text()


def _failing(error: Exception) -> Any:
    def fail(_: object) -> None:
        raise error

    return types.SimpleNamespace(load=lambda: types.SimpleNamespace(run=fail))
