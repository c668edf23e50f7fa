"""Completion scripts for shells, from the places of a command line (completion.py).

Each finds out which command is being written by walking over the words before, then offers what can follow it.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interfaces.cli.completion import Option, Place

_BASH = """\
# bash completion of fleetlog: source <(fleetlog completion bash)
_fleetlog() {
    local cur="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" place="" word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$place/$word" in
            %(paths)s) place="$place/$word" ;;
        esac
    done
    COMPREPLY=()
    case "$place $previous" in
%(values)s
    esac
    local words="" options="" files=""
    case "$place" in
%(places)s
    esac
    if [[ "$cur" == -* || -z "$words$files" ]]; then words="$options"; files=""; fi
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
    if [[ -n "$files" ]]; then _fleetlog_files "$cur"; fi
}
_fleetlog_files() {
    compopt -o filenames 2> /dev/null
    local file
    while IFS= read -r file; do COMPREPLY+=("$file"); done < <(compgen -f -- "$1")
}
complete -F _fleetlog fleetlog
"""
_ZSH = """\
#compdef fleetlog
# zsh completion of fleetlog: source <(fleetlog completion zsh), after compinit
_fleetlog() {
    local place="" word files=""
    local -a commands options choices
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$place/$word" in
            (%(paths)s) place="$place/$word" ;;
        esac
    done
    case "$place ${words[CURRENT-1]}" in
%(values)s
    esac
    case "$place" in
%(places)s
    esac
    if [[ "${words[CURRENT]}" == -* ]] || (( ! ${#commands} && ! ${#choices} && ! ${#files} )); then
        _describe option options
    else
        if (( ${#commands} )); then _describe command commands; fi
        if (( ${#choices} )); then compadd -- "${choices[@]}"; fi
        if (( ${#files} )); then _files; fi
    fi
}
if [[ "${funcstack[1]}" == _fleetlog ]]; then _fleetlog "$@"; else compdef _fleetlog fleetlog; fi
"""
_FISH = """\
# fish completion of fleetlog: fleetlog completion fish > ~/.config/fish/completions/fleetlog.fish
function __fleetlog_at
    set -l place ""
    set -l before (commandline -opc)
    set -e before[1]
    for word in $before
        switch "$place/$word"
            case %(paths)s
                set place "$place/$word"
        end
    end
    test "$place" = "$argv[1]"
end
complete -c fleetlog -f
%(places)s
"""


def bash(places: Sequence["Place"]) -> str:
    values = []
    for place, option in _with_values(places):
        told = {
            "choice": f'COMPREPLY=($(compgen -W {_quoted(" ".join(option.value.choices))} -- "$cur"))',
            "file": '_fleetlog_files "$cur"',
            "any": ":",
        }[option.value.kind]
        values.append(f"        {_either(place, option)}) {told}; return ;;")
    cases = []
    for place in places:
        words = [name for name, _ in place.commands] + [word for each in place.positionals for word in each.choices]
        options = [name for option in place.options for name in option.names]
        files = "yes" if any(each.kind == "file" for each in place.positionals) else ""
        told = f"words={_quoted(' '.join(words))} options={_quoted(' '.join(options))} files={_quoted(files)}"
        cases.append(f"        {_quoted(place.path)}) {told} ;;")
    return _filled(_BASH, places, values, cases)


def zsh(places: Sequence["Place"]) -> str:
    values = []
    for place, option in _with_values(places):
        told = {
            "choice": f"compadd -- {' '.join(map(_quoted, option.value.choices))}",
            "file": "_files",
            "any": f"_message {_quoted(option.help or 'value')}",
        }[option.value.kind]
        values.append(f"        ({_either(place, option)}) {told}; return ;;")
    cases = []
    for place in places:
        commands = " ".join(_described(name, help_) for name, help_ in place.commands)
        options = " ".join(_described(name, option.help) for option in place.options for name in option.names)
        choices = " ".join(_quoted(word) for each in place.positionals for word in each.choices)
        files = "yes" if any(each.kind == "file" for each in place.positionals) else ""
        told = f"commands=({commands}) options=({options}) choices=({choices}) files={_quoted(files)}"
        cases.append(f"        ({_quoted(place.path)}) {told} ;;")
    return _filled(_ZSH, places, values, cases)


def fish(places: Sequence["Place"]) -> str:
    lines = []
    for place in places:
        here = f'__fleetlog_at "{place.path}"'
        begin = f"complete -c fleetlog -n {_quoted(here)}"
        lines += [f"{begin} -a {name} -d {_quoted(help_)}" for name, help_ in place.commands]
        for value in place.positionals:
            lines += [f"{begin} -a {_quoted(' '.join(value.choices))}"] if value.choices else []
            lines += [f"{begin} -F"] if value.kind == "file" else []
        for option in place.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            taken = {
                "none": "",
                "choice": f" -x -a {_quoted(' '.join(option.value.choices))}",
                "file": " -r -F",
                "any": " -x",
            }[option.value.kind]
            lines.append(f"{begin} {names}{taken} -d {_quoted(option.help)}")
    paths = " ".join(place.path for place in places if place.path)
    return _FISH % {"paths": paths, "places": "\n".join(lines)}


SCRIPTS: dict[str, Callable[[Sequence["Place"]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def _filled(script: str, places: Sequence["Place"], values: list[str], cases: list[str]) -> str:
    paths = "|".join(place.path for place in places if place.path)
    return script % {"paths": paths, "values": "\n".join(values), "places": "\n".join(cases)}


def _with_values(places: Sequence["Place"]) -> list[tuple["Place", "Option"]]:
    return [(place, option) for place in places for option in place.options if option.value.kind != "none"]


def _either(place: "Place", option: "Option") -> str:
    """The pattern for an option that has just been written, by any of its names."""
    return "|".join(_quoted(f"{place.path} {name}") for name in option.names)


def _described(name: str, help_: str) -> str:
    """As _describe of zsh takes it."""
    return _quoted(name.replace(":", "\\:") + ":" + help_)


def _quoted(text: str) -> str:
    """For bash and zsh; fish reads it alike, as no help has a backslash."""
    return "'" + text.replace("'", "'\\''") + "'"
