"""What a user gave, and where: configuration files, environment variables and flags, the later ones prevailing."""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import yaml

from distributed_il.core.errors import UserError

ENVIRONMENT_PREFIX = "DISTRIBUTED_IL_"
_TRAINING, _TRAINED = ("train", "sweep"), ("evaluate", "export", "score", "annotate", "recommend", "similar")
SHORT = {
    (command, short): key
    for command in _TRAINING
    for short, key in (
        ("from", "run.start_from"),
        ("take_over", "run.take_over"),
        ("run_dir", "run.dir"),
        ("seeds", "run.seeds"),
    )
} | {(command, "run.dir"): "run_dir" for command in _TRAINED}
"""Other names of flags and variables, by command."""
OPERANDS: Mapping[str, tuple[str, ...]] = (
    dict.fromkeys(_TRAINING, ("data.path", "run.dir"))
    | dict.fromkeys(_TRAINED, ("run_dir",))
    | {"prepare": ("source", "output"), "simulate": ("output",)}
)
"""Settings that words without a flag stand for, by command and in this order."""
_OPERAND_NAMES = {"data.path": "DATA_DIR", "run.dir": "RUN_DIR", "run_dir": "RUN_DIR"}
_ELSEWHERE = {
    "lr": "optimizer.learning_rate",
    "epochs": "run.max_rounds",
    "num_epochs": "run.max_rounds",
    "wd": "optimizer.weight_decay",
    "reg": "optimizer.weight_decay",
    "dim": "model.embedding_dim",
    "embedding_size": "model.embedding_dim",
    "early_stopping": "run.patience",
    "num_workers": "run.workers",
    "gpu": "run.use_gpu",
    "model": "model.backbone",
}
"""What other trainers call some settings."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key with its value, as it was given."""

    key: str  # dotted: `run.seed`
    value: Any  # a plain value from a file; text from a flag or the environment; None for a flag without a value
    place: str  # for messages: the file, the variable or the flag


@dataclass(frozen=True, slots=True)
class Given:
    """Everything given to one command."""

    files: tuple[str, ...]  # paths of configuration files, in order
    from_files: tuple[Setting, ...]  # their settings
    texts: tuple[Setting, ...]  # settings from the environment, then from flags
    switches: tuple[str, ...]  # `--help` and `--print_config`, as they were given

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Returns all settings; of several with the same key, the last prevails."""
        return self.from_files + self.texts

    def last(self, key: str) -> Setting | None:
        """Returns the setting that prevails for a key; None where it was not given."""
        return next((setting for setting in reversed(self.settings) if setting.key == key), None)


def variable_prefix(command: str) -> str:
    """Returns the prefix of a command's environment variables, such as `DISTRIBUTED_IL_TRAIN__`."""
    return f"{ENVIRONMENT_PREFIX}{command.upper()}__"


def collect(command: str, argv: Sequence[str], environ: Mapping[str, str] = os.environ) -> Given:
    """Collects what was given, whether such keys exist or not.

    `DISTRIBUTED_IL_TRAIN__RUN__SEED` is `run.seed` of `train`.

    Raises:
        UserError: An argument is no flag, or a file can't be read as a mapping.
    """
    switches = tuple(token for token in argv if _switch(token))
    tokens, words = part_operands([token for token in argv if not _switch(token)])
    flags = tuple(_flags(tokens))
    prefix = variable_prefix(command)
    variables = tuple(
        Setting(name.removeprefix(prefix).lower().replace("__", "."), value, name)
        for name, value in sorted(environ.items())
        if name.startswith(prefix)
    )
    files: list[str] = []
    for setting in (*variables, *flags):
        if setting.key == "config":
            if not setting.value:
                raise UserError(f"{setting.place} needs the path of a YAML file")
            files.append(setting.value)
    contents = {path: _read(path) for path in files}
    from_files = tuple(setting for path in files for setting in _flatten(contents[path], path))
    texts = tuple(
        dataclasses.replace(setting, key=SHORT.get((command, setting.key), setting.key))
        for setting in (*variables, *flags)
        if setting.key != "config"
    )
    texts += _operands(command, words, [setting.key for setting in texts if setting.place.startswith("--")])
    # An empty file is fine with us, but not with jsonargparse.
    return Given(tuple(path for path in files if contents[path]), from_files, texts, switches)


def operand_names(command: str) -> str:
    """Returns the words that a command takes without a flag, for its usage."""
    return " ".join(f"[{_OPERAND_NAMES.get(key, key.upper())}]" for key in OPERANDS.get(command, ()))


def _operands(command: str, words: Sequence[str], flagged: Collection[str]) -> tuple[Setting, ...]:
    """Makes settings of words without a flag; `flagged` are the keys that flags give."""
    keys = OPERANDS.get(command, ())
    for number, word in enumerate(words):
        if number >= len(keys):
            raise UserError(f"'{word}' is not expected here; settings are given as --section.field=value")
        if keys[number] in flagged:
            raise UserError(
                f"'{word}' is not expected here: a word in its place is {keys[number]}, which a flag gives already; a "
                f"file of settings is given as --config={word}"
            )
    return tuple(Setting(key, word, word) for key, word in zip(keys, words, strict=False))


def part_operands(argv: Sequence[str], switches: Collection[str] = ()) -> tuple[list[str], list[str]]:
    """Separates flags with their values from other words, both in order; all but `switches` take a value."""
    flags: list[str] = []
    words: list[str] = []
    for group in _with_values(argv, switches):
        (flags if group[0].startswith("-") else words).extend(group)
    return flags, words


def _with_values(argv: Sequence[str], switches: Collection[str] = ()) -> Iterator[Sequence[str]]:
    """Yields each word of a command line, a flag together with the value behind it."""
    position = 0
    while position < len(argv):
        token, *following = argv[position : position + 2]
        takes_next = token.startswith("--") and "=" not in token and token not in switches and not _switch(token)
        stop = position + 1 + (takes_next and following[:1] != [] and not following[0].startswith("--"))
        yield argv[position:stop]
        position = stop


def _switch(token: str) -> bool:
    return token in ("-h", "--help", "--print_config") or token.startswith("--print_config=")


def _flags(tokens: Sequence[str]) -> Iterator[Setting]:
    for token, *following in _with_values(tokens):
        if not token.startswith("--") or token == "--":
            raise UserError(f"'{token}' is not expected here; settings are given as --section.field=value")
        name, equals, value = token.partition("=")
        yield Setting(name[2:], value if equals else next(iter(following), None), name)


def _read(path: str) -> Mapping[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            content: Any = yaml.safe_load(file)
    except OSError as error:
        raise UserError(f"--config {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"--config {path} is not UTF-8 text: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"--config {path} is not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        raise UserError(f"--config {path} holds no settings; write them as `section: {{field: value}}`")
    return cast("Mapping[str, Any]", content)


def _flatten(content: Mapping[str, Any], path: str, prefix: str = "") -> Iterator[Setting]:
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from _flatten(cast("Mapping[str, Any]", value), path, f"{key}.")
        else:
            yield Setting(key, value, path)


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?`, or nothing where no known name is near.

    A key is compared whole, and where that finds nothing by its last part: `--seed` is meant for `--run.seed`.
    """
    known = list(known)
    plain = wrong.replace("-", "_").lower()
    if _ELSEWHERE.get(plain) in known:
        return f"; did you mean '{_ELSEWHERE[plain]}'?"
    near = difflib.get_close_matches(plain, known, n=1)
    if not near:
        last_parts = {key.rpartition(".")[2]: key for key in known}
        near = [last_parts[part] for part in difflib.get_close_matches(plain.rpartition(".")[2], last_parts, n=1)]
    return f"; did you mean '{near[0]}'?" if near else ""
