"""Completion scripts, run by the shells themselves: whatever the parser knows is offered where it can stand."""

import shutil
import subprocess
from pathlib import Path

import pytest

from interfaces.cli.command_syntax import CommandSyntax, command_syntaxes
from interfaces.cli.completion import SHELLS
from interfaces.cli.completion_scripts import SCRIPTS
from interfaces.cli.main import parser
from interfaces.cli.parser import Parser

SYNTAXES = list(command_syntaxes(parser()))
# Stand-ins of what zsh's own completion functions do with what they are given.
ZSH_STAND_INS = """
compdef() { : }
_describe() { local each; for each in "${(@P)2}"; do print -r -- "${each%%:*}"; done }
compadd() { shift; print -rl -- "$@" }
_files() { print -r -- FILES }
_message() { print -r -- VALUE }
"""


def commands_of(words: str) -> Parser:
    found: Parser = parser()
    for word in words.split():
        assert found.subcommands is not None
        found = found.subcommands.choices[word]
    return found


def run(*command: str, cwd: Path) -> list[str]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed here")
    return name


def offered(shell: str, folder: Path, line: str) -> list[str]:
    """What the shell offers when the last word of the line is to be completed."""
    script = folder / "completion"
    script.write_text(SCRIPTS[shell](SYNTAXES))
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    match shell:
        case "bash":
            code = (
                f'source "{script}"; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; '
                '_fleetlog; printf "%s\\n" "${COMPREPLY[@]}"'
            )
            found = run("bash", "--norc", "-c", code, cwd=folder)
        case "zsh":
            code = f'{ZSH_STAND_INS}\nsource "{script}"; words=({quoted}); CURRENT={len(words)}; _fleetlog'
            found = [each for each in run("zsh", "-f", "-c", code, cwd=folder) if each.startswith(words[-1])]
        case _:
            code = f'source "{script}"; complete -C "{line}"'
            found = [each.partition("\t")[0] for each in run("fish", "--no-config", "-c", code, cwd=folder)]
    return [each for each in found if each]


def test_the_script_is_without_mistakes(shell: str, tmp_path: Path) -> None:
    (tmp_path / "script").write_text(SCRIPTS[shell](SYNTAXES))
    run(shell, "--no-execute" if shell == "fish" else "-n", "script", cwd=tmp_path)


@pytest.mark.parametrize("words", ["", "effects", "projections", "workspace"])
def test_commands_are_offered_where_they_can_stand(shell: str, tmp_path: Path, words: str) -> None:
    below = commands_of(words).subcommands

    assert below is not None
    assert sorted(offered(shell, tmp_path, f"fleetlog {words} ".replace("  ", " "))) == sorted(below.choices)


def test_a_command_is_completed_from_its_beginning(shell: str, tmp_path: Path) -> None:
    assert offered(shell, tmp_path, "fleetlog hist") == ["history"]
    assert offered(shell, tmp_path, "fleetlog effects re") == ["retry"]


@pytest.mark.parametrize("words", ["history", "effects list", "verify", "replay"])
def test_every_option_of_a_command_is_offered(shell: str, tmp_path: Path, words: str) -> None:
    actions = commands_of(words)._actions
    options = {name for action in actions for name in action.option_strings if name.startswith("--")}

    assert set(offered(shell, tmp_path, f"fleetlog {words} --")) == options


def test_the_values_of_an_option_are_offered(shell: str, tmp_path: Path) -> None:
    assert set(offered(shell, tmp_path, "fleetlog effects list --state d")) == {"dead", "done", "dropped"}
    assert set(offered(shell, tmp_path, "fleetlog completion ")) == set(SHELLS)


def test_files_are_offered_where_a_file_is_wanted(shell: str, tmp_path: Path) -> None:
    (tmp_path / "kept checkpoint.json").touch()
    found = offered(shell, tmp_path, "fleetlog verify --checkpoint ")

    assert found == ["FILES"] if shell == "zsh" else any("kept" in each for each in found)


def test_every_command_says_what_it_is_for() -> None:
    assert [syntax.path for syntax in SYNTAXES for name, help_ in syntax.commands if not help_] == []


@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.path or "fleetlog")
def test_every_command_can_answer_in_json(syntax: CommandSyntax) -> None:
    """But `workspace cat`, whose answer is a file's bytes, takes the option and has no use for it."""
    assert syntax.commands or "--json" in {name for option in syntax.options for name in option.names}
