"""Turns what was given into values of the right names and types, by jsonargparse, with messages for people."""

from __future__ import annotations

import argparse
import dataclasses
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from jsonargparse import ArgumentParser, set_parsing_settings

from distributed_il.cli.given import Given, Setting, collect, operand_names, suggestion, variable_prefix
from distributed_il.core.errors import UserError

set_parsing_settings(docstring_parse_attribute_docstrings=True)

Sections = Mapping[str, type[Any]]
"""Dataclass of each section; the one named "" has its fields at the top."""

_TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text (in quotes where it looks like a number)",
    list[str]: "a list such as '[a, b]'",
    list[int]: "a list such as '[10, 20]'",
    dict[str, str]: "NAME: text",
    dict[str, float]: "NAME: a number",
}


def read_options(
    command: str,
    about: str,
    argv: Sequence[str],
    sections: Callable[[Given], Sections],
    belongs_elsewhere: Callable[[str], str] = lambda key: "",
    names: Mapping[str, str] = types.MappingProxyType({}),
    operands: str = "",
) -> dict[str, Any]:
    """Reads configuration files, environment variables and flags; each prevails over those before it.

    Args:
        command: The command's name.
        about: What it does, for `--help`.
        argv: Its arguments.
        sections: The sections that there are, which may depend on what was given.
        belongs_elsewhere: Told an unknown key, says where it would be right, or nothing.
        names: Sections that stand for one dataclass of several, which their field `name` tells apart, each with what
            that is, for `--help`.
        operands: What else the command takes, for `--help`; not read here.

    Returns:
        Nested values, defaults filled in.

    Raises:
        UserError: A key is unknown or missing, or a value has the wrong type.
        SystemExit: `--help` or `--print_config` was asked for and done.
    """
    given = collect(command, argv)
    chosen = sections(given)
    kinds = kinds_of(chosen)
    _refuse_unknown(given, kinds, chosen, belongs_elsewhere)
    _refuse_null(given, kinds)
    parser = _parser(command, about, chosen, names, operands)
    texts = [f"--{setting.key}={_text(setting, kinds)}" for setting in given.texts]
    try:
        values = parser.parse_args([*(f"--config={path}" for path in given.files), *texts, *given.switches]).as_dict()
    except argparse.ArgumentError as error:
        raise UserError(_message(str(error), given, kinds)) from error
    return {name: value for name, value in values.items() if name in chosen or name in kinds}


def kinds_of(sections: Sections) -> dict[str, Any]:
    """Returns the type of every key."""
    kinds: dict[str, Any] = {}
    for section, cls in sections.items():
        hints = get_type_hints(cls)
        prefix = f"{section}." if section else ""
        kinds |= {f"{prefix}{field.name}": hints[field.name] for field in dataclasses.fields(cls)}
    return kinds


def _kind(key: str, kinds: Mapping[str, Any]) -> Any:
    """Returns the type of a key, or of an entry of a mapping such as `env_vars.NAME`; None for an unknown key."""
    owner = kinds.get(key.partition(".")[0])
    return kinds.get(key, get_args(owner)[1] if get_origin(owner) is dict else None)


def _refuse_unknown(
    given: Given, kinds: Mapping[str, Any], sections: Sections, belongs_elsewhere: Callable[[str], str]
) -> None:
    for setting in given.settings:
        key = setting.key
        if _kind(key, kinds) is not None:
            continue
        if key in sections:
            example = next(name for name in kinds if name.startswith(f"{key}."))
            raise UserError(f"{setting.place}: '{key}' is a section; give its fields, such as {example}")
        cure = belongs_elsewhere(key) or suggestion(key, [*kinds, "config", "print_config", "help"])
        raise UserError(f"{setting.place}: there is no setting '{key}'{cure}")


def _refuse_null(given: Given, kinds: Mapping[str, Any]) -> None:
    """Refuses null in a file where a setting takes none; jsonargparse lets it through."""
    for setting in given.from_files:
        kind = _kind(setting.key, kinds)
        takes_null = kind is type(None) or type(None) in get_args(kind)
        if (setting.value is None and not takes_null) or (isinstance(setting.value, list) and None in setting.value):
            shown = "null" if setting.value is None else setting.value
            raise UserError(f"{setting.place}: {setting.key} is {shown}; it must be {_describe(kind)}")


def _parser(command: str, about: str, sections: Sections, names: Mapping[str, str], operands: str) -> ArgumentParser:
    words = operands or operand_names(command)
    parser = ArgumentParser(
        prog=f"distributed-il {command}",
        usage=f"distributed-il {command} [--config FILE] [--print_config] [--key=value …] {words}".rstrip(),
        description=f"{about}\n\nFlags prevail over environment variables ({variable_prefix(command)}…, upper case, "
        "two underscores for a dot), and these over --config files.",
        exit_on_error=False,
        default_env=False,
    )
    parser.add_argument("--config", action="config", help="YAML file of settings; may be given several times.")
    for section, cls in sections.items():
        skip: set[str | int] = set()
        if section in names:
            # A file may name another than the one that prevails, so any name has to pass here.
            skip.add("name")
            default = next(field.default for field in dataclasses.fields(cls) if field.name == "name")
            parser.add_argument(f"--{section}.name", type=str, default=default, help=names[section])
        parser.add_class_arguments(cls, section or None, skip=skip)
    for action in parser._actions:  # pyright: ignore[reportPrivateUsage]
        if action.dest in sections:  # a file for one section: one way more than anybody needs
            action.help = argparse.SUPPRESS
    return parser


def _text(setting: Setting, kinds: Mapping[str, Any]) -> str:
    if setting.value is None:
        if _kind(setting.key, kinds) in (bool, bool | None):
            return "true"
        raise UserError(f"{setting.place} needs a value: {_describe(_kind(setting.key, kinds))}")
    return setting.value


def _message(error: str, given: Given, kinds: Mapping[str, Any]) -> str:
    """Words an error of jsonargparse for people: place, value and cure."""
    missing = re.search(r"arguments are required: (.*)", error)
    if missing:
        keys = missing[1].replace("--", "").split(", ")
        verb, flags = ("is", "it") if len(keys) == 1 else ("are", "them")
        return f"{' and '.join(keys)} {verb} missing; give {flags} as {' '.join(f'--{key}=…' for key in keys)}"
    wrong = re.search(r'Parser key "([^"]+)"', error)
    setting = _culprit(given, wrong[1], error, kinds) if wrong else None
    if setting is None:
        return error
    return f"{setting.place}: {setting.key} is {setting.value!r}; it must be {_describe(_kind(setting.key, kinds))}"


def _culprit(given: Given, key: str, error: str, kinds: Mapping[str, Any]) -> Setting | None:
    """Returns the setting that an error is about: of several with its key the one whose value it quotes."""
    entries = f"{key}." if get_origin(kinds.get(key)) is dict else key
    settings = [setting for setting in given.settings if setting.key == key or setting.key.startswith(entries)]
    quoted = [setting for setting in settings if f"Got value: {setting.value}" in error]
    return next(iter(quoted or settings), None)


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join("null" if part is type(None) else _describe(part) for part in get_args(kind))
    return _TYPE_NAMES.get(kind, str(kind))
