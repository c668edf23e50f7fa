"""Completion scripts for bash, zsh and fish, generated from the syntax of each command (command_syntax.py).

A script finds the command that is being typed from the words before the cursor, then offers what can follow it.
"""

from collections.abc import Callable, Sequence

from interfaces.cli.command_syntax import CommandSyntax, OptionSyntax

_BASH = """\
# bash completion of fleetlog: source <(fleetlog completion bash)
_fleetlog() {
    local cur="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}" command="" word
    for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
        case "$command/$word" in
            %(paths)s) command="$command/$word" ;;
        esac
    done
    COMPREPLY=()
    case "$command $previous" in
%(values)s
    esac
    local words="" options="" files=""
    case "$command" in
%(cases)s
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
    local command="" word files=""
    local -a commands options choices
    for word in "${(@)words[2,CURRENT-1]}"; do
        case "$command/$word" in
            (%(paths)s) command="$command/$word" ;;
        esac
    done
    case "$command ${words[CURRENT-1]}" in
%(values)s
    esac
    case "$command" in
%(cases)s
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
    set -l command ""
    set -l before (commandline -opc)
    set -e before[1]
    for word in $before
        switch "$command/$word"
            case %(paths)s
                set command "$command/$word"
        end
    end
    test "$command" = "$argv[1]"
end
complete -c fleetlog -f
%(cases)s
"""


def bash(syntaxes: Sequence[CommandSyntax]) -> str:
    values = []
    for syntax, option in _with_values(syntaxes):
        body = {
            "choice": f'COMPREPLY=($(compgen -W {_quoted(" ".join(option.value.choices))} -- "$cur"))',
            "file": '_fleetlog_files "$cur"',
            "any": ":",
        }[option.value.kind]
        values.append(f"        {_either(syntax, option)}) {body}; return ;;")
    cases = []
    for syntax in syntaxes:
        words = [name for name, _ in syntax.commands] + [word for each in syntax.positionals for word in each.choices]
        options = [name for option in syntax.options for name in option.names]
        files = "yes" if any(each.kind == "file" for each in syntax.positionals) else ""
        body = f"words={_quoted(' '.join(words))} options={_quoted(' '.join(options))} files={_quoted(files)}"
        cases.append(f"        {_quoted(syntax.path)}) {body} ;;")
    return _filled(_BASH, syntaxes, values, cases)


def zsh(syntaxes: Sequence[CommandSyntax]) -> str:
    values = []
    for syntax, option in _with_values(syntaxes):
        body = {
            "choice": f"compadd -- {' '.join(map(_quoted, option.value.choices))}",
            "file": "_files",
            "any": f"_message {_quoted(option.help or 'value')}",
        }[option.value.kind]
        values.append(f"        ({_either(syntax, option)}) {body}; return ;;")
    cases = []
    for syntax in syntaxes:
        commands = " ".join(_described(name, help_) for name, help_ in syntax.commands)
        options = " ".join(_described(name, option.help) for option in syntax.options for name in option.names)
        choices = " ".join(_quoted(word) for each in syntax.positionals for word in each.choices)
        files = "yes" if any(each.kind == "file" for each in syntax.positionals) else ""
        body = f"commands=({commands}) options=({options}) choices=({choices}) files={_quoted(files)}"
        cases.append(f"        ({_quoted(syntax.path)}) {body} ;;")
    return _filled(_ZSH, syntaxes, values, cases)


def fish(syntaxes: Sequence[CommandSyntax]) -> str:
    lines = []
    for syntax in syntaxes:
        here = f'__fleetlog_at "{syntax.path}"'
        begin = f"complete -c fleetlog -n {_quoted(here)}"
        lines += [f"{begin} -a {name} -d {_quoted(help_)}" for name, help_ in syntax.commands]
        for value in syntax.positionals:
            lines += [f"{begin} -a {_quoted(' '.join(value.choices))}"] if value.choices else []
            lines += [f"{begin} -F"] if value.kind == "file" else []
        for option in syntax.options:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
            taken = {
                "none": "",
                "choice": f" -x -a {_quoted(' '.join(option.value.choices))}",
                "file": " -r -F",
                "any": " -x",
            }[option.value.kind]
            lines.append(f"{begin} {names}{taken} -d {_quoted(option.help)}")
    paths = " ".join(syntax.path for syntax in syntaxes if syntax.path)
    return _FISH % {"paths": paths, "cases": "\n".join(lines)}


SCRIPTS: dict[str, Callable[[Sequence[CommandSyntax]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def _filled(script: str, syntaxes: Sequence[CommandSyntax], values: list[str], cases: list[str]) -> str:
    paths = "|".join(syntax.path for syntax in syntaxes if syntax.path)
    return script % {"paths": paths, "values": "\n".join(values), "cases": "\n".join(cases)}


def _with_values(syntaxes: Sequence[CommandSyntax]) -> list[tuple[CommandSyntax, OptionSyntax]]:
    return [(syntax, option) for syntax in syntaxes for option in syntax.options if option.value.kind != "none"]


def _either(syntax: CommandSyntax, option: OptionSyntax) -> str:
    """The shell pattern for the option that precedes the cursor, by any of its names."""
    return "|".join(_quoted(f"{syntax.path} {name}") for name in option.names)


def _described(name: str, help_: str) -> str:
    """An entry for zsh's `_describe`."""
    return _quoted(name.replace(":", "\\:") + ":" + help_)


def _quoted(text: str) -> str:
    """In single quotes for bash and zsh; fish reads it the same way as long as the text has no backslash."""
    return "'" + text.replace("'", "'\\''") + "'"
