"""What a shell completes, asked of bash with the script that the command prints."""

from __future__ import annotations

import subprocess

import pytest

from distributed_il.cli import main
from distributed_il.cli.completion import completion_script

ASK = """
complete_words() {
    COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
    _shtab_distributed_il
    echo "${COMPREPLY[@]}"
}
complete_words distributed-il rec
complete_words distributed-il train --run.max_r
complete_words distributed-il train --method.name o
complete_words distributed-il sweep --sweep.tr
complete_words distributed-il recommend --to
"""


def test_commands_settings_and_values_are_completed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--print_completion", "bash"]) == 0
    script = capsys.readouterr().out
    done = subprocess.run(["bash", "--norc"], input=script + ASK, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["recommend", "--run.max_rounds", "ordinal", "--sweep.trials", "--top"]


def test_every_shell_has_its_script_and_another_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert completion_script("zsh").startswith("#compdef distributed-il")
    for arguments in (["--print_completion=korn"], ["--print_completion"]):
        assert main(arguments) == 2
        assert "--print_completion is for bash, zsh, tcsh" in capsys.readouterr().err
