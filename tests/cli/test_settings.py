"""Settings on the command line: from files, variables and flags to values, or to a message."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from distributed_il.cli import main
from distributed_il.cli.given import collect, suggestion
from distributed_il.cli.train import CHOOSE_SPACE
from distributed_il.cli.train import read as read_train_config
from distributed_il.core.config import TrainConfig, config_to_yaml
from distributed_il.core.method_config import METHODS, InverseGradientConfig, TruncatedConfig

JOBS = Path(__file__).parents[2] / "jobs"
NEEDED = ["--data.path=data", "--run.dir=run"]


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def refusal(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """The message with which a command line is refused."""
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("distributed-il: ")
    assert "Traceback" not in err
    return err


# Names and values


def test_train_takes_flags_in_both_spellings(launched: list[TrainConfig]) -> None:
    assert main(["train", *NEEDED, "--run.seed", "3", "--model.dtype=float64", "--run.use_gpu"]) == 0
    (config,) = launched
    assert (config.run.seed, config.model.dtype, config.run.use_gpu) == (3, "float64", True)


def test_negative_values_are_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert "run.seed is -1" in refusal(capsys, "train", *NEEDED, "--run.seed", "-1")


def test_numbers_may_be_written_as_people_write_them(tmp_path: Path) -> None:
    path = write(tmp_path / "job.yaml", "optimizer: {learning_rate: 1e-4}\nmethod: {dual_learning_rate: 1.0e-5}\n")
    config = read_train_config([*NEEDED, "--config", path])
    assert config.optimizer.learning_rate == 1e-4
    assert config.method == InverseGradientConfig(dual_learning_rate=1e-5)


def test_flags_prevail_over_variables_and_these_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "first.yaml", "run: {seed: 1, workers: 1, patience: 1, max_rounds: 1}")
    second = write(tmp_path / "second.yaml", "run: {workers: 2, patience: 2, max_rounds: 2}")
    monkeypatch.setenv("DISTRIBUTED_IL_TRAIN__RUN__PATIENCE", "3")
    monkeypatch.setenv("DISTRIBUTED_IL_TRAIN__RUN__MAX_ROUNDS", "3")
    # Where a flag stands makes no difference.
    run = read_train_config(["--run.max_rounds=4", f"--config={first}", *NEEDED, "--config", second]).run
    assert (run.seed, run.workers, run.patience, run.max_rounds) == (1, 2, 3, 4)


def test_a_variable_may_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTRIBUTED_IL_TRAIN__CONFIG", write(tmp_path / "job.yaml", "run: {seed: 5}"))
    assert read_train_config(NEEDED).run.seed == 5


def test_variables_of_other_commands_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTRIBUTED_IL_PREPARE__SEED", "5")
    monkeypatch.setenv("DISTRIBUTED_IL_SOMETHING", "5")
    assert read_train_config(NEEDED).run.seed == 0


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "job.yaml", "# nothing yet\n")
    assert read_train_config([*NEEDED, "--config", path]) == read_train_config(NEEDED)


# The method decides which settings there are


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_named(method: str) -> None:
    assert read_train_config([*NEEDED, f"--method.name={method}"]).method == METHODS[method]()


def test_the_method_may_come_from_a_file_and_its_settings_from_flags(tmp_path: Path) -> None:
    path = write(tmp_path / "job.yaml", "method: {name: t_ce, max_drop_rate: 0.2}")
    config = read_train_config([*NEEDED, "--config", path, "--method.num_gradual_steps=500"])
    assert config.method == TruncatedConfig(max_drop_rate=0.2, num_gradual_steps=500)


def test_a_flag_may_name_another_method_than_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "job.yaml", "method: {name: none}")
    config = read_train_config([*NEEDED, "--config", path, "--method.name=ig", "--method.direction=sgd"])
    assert config.method == InverseGradientConfig(direction="sgd")


def test_a_setting_of_another_method_is_refused_with_the_cure(capsys: pytest.CaptureFixture[str]) -> None:
    message = refusal(capsys, "train", *NEEDED, "--method.name=idl", "--method.max_drop_rate=0.1")
    assert "belongs to t_ce" in message
    assert "--method.name=t_ce" in message


def test_an_unknown_method_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "none, ns, t_ce, r_ce, idl, ordinal, ig" in refusal(capsys, "train", *NEEDED, "--method.name=igg")


# What is wrong is said in words


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("--run.sed=1", "run.seed"),
        ("--run.batch-size=8", "run.batch_size"),
        ("--seed=1", "run.seed"),
        ("--optimiser.learning_rate=1", "optimizer.learning_rate"),
        ("--method.dual_learnin_rate=1", "method.dual_learning_rate"),
        ("--confg=job.yaml", "config"),
    ],
)
def test_an_unknown_flag_is_refused_with_the_nearest_right_name(
    wrong: str, right: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert f"did you mean '{right}'" in refusal(capsys, "train", *NEEDED, wrong)


def test_an_unknown_key_of_a_file_is_refused_with_the_nearest_right_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "job.yaml", "run: {sed: 1}")
    message = refusal(capsys, "train", *NEEDED, "--config", path)
    assert path in message
    assert "did you mean 'run.seed'" in message


def test_an_unknown_variable_is_refused_with_the_nearest_right_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISTRIBUTED_IL_TRAIN__RUN__WORKER", "2")
    message = refusal(capsys, "train", *NEEDED)
    assert "DISTRIBUTED_IL_TRAIN__RUN__WORKER" in message
    assert "did you mean 'run.workers'" in message


def test_words_without_a_flag_are_the_directories_in_their_order(launched: list[TrainConfig]) -> None:
    assert main(["train", "some data", "--run.seed", "3", "runs/a"]) == 0
    assert main(["train", "--run_dir=runs/b", "data"]) == 0
    (one, other) = launched
    assert (one.data.path, one.run.dir, one.run.seed) == ("some data", "runs/a", 3)
    assert (other.data.path, other.run.dir) == ("data", "runs/b")


@pytest.mark.parametrize(
    ("command", "arguments", "key"),
    [
        ("evaluate", ["runs/a"], "run_dir"),
        ("evaluate", ["--run.dir=runs/a"], "run_dir"),
        ("prepare", ["raw.csv", "runs/a"], "output"),
        ("simulate", ["runs/a"], "output"),
    ],
)
def test_other_commands_take_words_too(command: str, arguments: list[str], key: str) -> None:
    setting = collect(command, arguments, {}).last(key)
    assert setting is not None
    assert setting.value == "runs/a"


def test_a_word_too_many_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'c' is not expected here" in refusal(capsys, "train", "a", "b", "c")
    assert "data.path, which a flag gives already" in refusal(capsys, "train", "a", "--data.path=b", "--run.dir=c")


@pytest.mark.parametrize(
    ("flag", "meant"),
    [
        ("--lr=1", "optimizer.learning_rate"),
        ("--epochs=3", "run.max_rounds"),
        ("--batch-size=8", "run.batch_size"),
        ("--embedding_size=8", "model.embedding_dim"),
    ],
)
def test_what_others_call_a_setting(flag: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"did you mean '{meant}'?" in refusal(capsys, "train", *NEEDED, flag)


def test_the_settings_that_differ_are_printed_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *NEEDED, "--run.seed=3", "--print_config=skip_default"]) == 0
    assert "seed: 3" in (printed := capsys.readouterr().out)
    assert "patience" not in printed


def test_help_is_a_command_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help"]) == 0
    assert "commands:" in capsys.readouterr().out
    assert main(["help", "train"]) == 0
    assert "[DATA_DIR] [RUN_DIR]" in capsys.readouterr().out


def test_a_name_like_no_other_gets_no_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean" not in refusal(capsys, "train", *NEEDED, "--qqqq.zzzz=1")
    assert suggestion("qqqq", ["seed"]) == ""


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--run.seed=1.5", "run.seed is '1.5'; it must be a whole number"),
        (f"--run.seed={2**64}", "it must be 0 or above, and below 2**64"),
        ("--run.seed", "--run.seed needs a value: a whole number"),
        ("--run.use_gpu=perhaps", "true or false"),
        ("--optimizer.learning_rate=fast", "it must be a number"),
        ("--model.dtype=float16", "one of float32, float64"),
        ("--run.checkpoint_every_steps=often", "a whole number or null"),
        ("--run=job.yaml", "'run' is a section"),
        ("job.yaml", "a file of settings is given as --config=job.yaml"),
        ("--optimizer.learning_rate=0", "optimizer.learning_rate"),
        ("--optimizer.learning_rate=.inf", "finite number above 0"),
        ("--method.dual_learning_rate=-1e-4", "method.dual_learning_rate"),
        ("--method.test_share=1e-300", "method.test_share is 1e-300; it must lie between 1e-9 and 0.5"),
    ],
)
def test_wrong_values_are_refused(flag: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refusal(capsys, "train", *NEEDED, flag)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run: {seed: many}", "run.seed is 'many'; it must be a whole number"),
        ("run: {dir: 3}", "run.dir is 3; it must be text"),
        ("run: {seed: null}", "run.seed is null; it must be a whole number"),
        ("run: {dir: null}", "run.dir is null; it must be text"),
        ("model: {dtype: ~}", "model.dtype is null; it must be one of float32, float64"),
        ("run:", "'run' is a section"),
        ("model: gmf", "'model' is a section"),
        ("- run", "holds no settings"),
        ("run: {seed", "is not YAML"),
    ],
)
def test_wrong_files_are_refused_by_name(
    text: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "job.yaml", text)
    message = refusal(capsys, "train", "--data.path=data", "--config", path)
    assert path in message
    assert words in message


def test_of_two_values_the_wrong_one_is_blamed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "job.yaml", "run: {seed: 2.5}")
    assert f"{path}: run.seed is 2.5" in refusal(capsys, "train", *NEEDED, "--config", path, "--run.seed=3")


def test_files_that_cannot_be_read_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "No such file" in refusal(capsys, "train", "--config", str(tmp_path / "absent.yaml"))
    assert "directory" in refusal(capsys, "train", "--config", str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes(b"run: {dir: \xe9}")
    assert "UTF-8" in refusal(capsys, "train", "--config", str(tmp_path / "latin.yaml"))
    assert "needs the path" in refusal(capsys, "train", "--config")


def test_what_is_missing_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "data.path and run.dir are missing" in refusal(capsys, "train")
    assert "--run.dir=…" in refusal(capsys, "train", "--data.path=data")
    assert "output is missing" in refusal(capsys, "prepare")
    assert "source is missing; give it as --source=…" in refusal(capsys, "prepare", "--output=data")


# Printing a configuration, and reading it again


@pytest.mark.parametrize("method", METHODS)
def test_a_printed_configuration_reads_the_same(
    method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*NEEDED, f"--method.name={method}", "--optimizer.learning_rate=1e-5", "--run.checkpoint_every_steps=7"]
    assert main(["train", *argv, "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert yaml.safe_load(printed)["method"]["name"] == method
    assert read_train_config(["--config", write(tmp_path / "job.yaml", printed)]) == read_train_config(argv)


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_configuration_reads_the_same(method: str, tmp_path: Path) -> None:
    config = read_train_config([*NEEDED, f"--method.name={method}", "--optimizer.learning_rate=1e-5"])
    assert read_train_config(["--config", write(tmp_path / "config.yaml", config_to_yaml(config))]) == config


def test_printing_fills_in_defaults_and_needs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--print_config", "--method.name=r_ce"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["method"] == {"name": "r_ce", "exponent": 0.1, "negatives": "auto"}
    assert printed["data"] == {"path": None}


@pytest.mark.parametrize(
    "path", sorted(set(JOBS.glob("*.yaml")) - {JOBS.parent / CHOOSE_SPACE}), ids=lambda path: path.stem
)
def test_every_job_names_settings_that_exist(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stem = path.stem
    command = next((name for name in ("prepare", "simulate") if name in stem), "train")
    assert main([command, "--config", str(path), "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)


# Help, and where a setting came from


@pytest.mark.parametrize("command", ["prepare", "simulate", "train", "evaluate"])
def test_help_explains_every_setting(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in {
        "prepare": ["--source", "Column of user ids", f"DISTRIBUTED_IL_{command.upper()}__"],
        "simulate": ["--preset", "the same seed gives the same dataset"],
        "train": ["--method.name", "α, the length of a candidate step", "{adam,sgd}"],
        "evaluate": ["--run_dir", "--split"],
    }[command]:
        assert words in out


def test_help_shows_the_settings_of_the_method_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--method.name=t_ce", "--help"]) == 0
    out = capsys.readouterr().out
    assert "--method.max_drop_rate" in out
    assert "--method.dual_learning_rate" not in out


def test_settings_remember_where_they_were_given() -> None:
    given = collect("train", ["--run.seed=1"], {"DISTRIBUTED_IL_TRAIN__RUN__SEED": "2", "PATH": "x"})
    assert [(setting.value, setting.place) for setting in given.settings] == [
        ("2", "DISTRIBUTED_IL_TRAIN__RUN__SEED"),
        ("1", "--run.seed"),
    ]
