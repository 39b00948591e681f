"""Completion for bash, zsh and fish: their scripts, and the answers to them.

A script calls the program with the line before the cursor in ``COMP_LINE``. The program prints a
line for each completion: its kind (``plain`` or ``file``), the text and a remark, separated by
tabs. click has scripts of its own; in bash they fail for texts with ``=`` and ``:``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import click
from click.shell_completion import CompletionItem, ShellComplete, split_arg_string

VARIABLE = "_PERSONAKIT_COMPLETE"
"""The environment variable that a script sets to the name of its shell."""
_HEAD = """\
# Completion of personakit for {shell}.
{how}
"""
_BASH = """
_personakit_completion() {
    local kind text remark
    COMPREPLY=()
    while IFS=$'\\t' read -r kind text remark; do
        if [[ $kind == file ]]; then
            compopt -o default 2>/dev/null
        else
            COMPREPLY+=("$text")
        fi
    done < <(_PERSONAKIT_COMPLETE=bash COMP_LINE="${COMP_LINE:0:COMP_POINT}" \\
        COMP_WORDBREAKS="$COMP_WORDBREAKS" "$1" 2>/dev/null)
    if [[ ${COMPREPLY[0]} == *[=/:] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}
# bash before 4.4 has no nosort.
complete -o nosort -F _personakit_completion personakit 2>/dev/null ||
    complete -F _personakit_completion personakit
"""
_ZSH = """
_personakit() {
    local kind text remark
    local -a spaced joined spaced_shown joined_shown
    while IFS=$'\\t' read -r kind text remark; do
        if [[ $kind == file ]]; then
            _files
        elif [[ $text == *[=/:] ]]; then
            joined+=("$text") joined_shown+=("$text${remark:+  -- $remark}")
        else
            spaced+=("$text") spaced_shown+=("$text${remark:+  -- $remark}")
        fi
    done < <(_PERSONAKIT_COMPLETE=zsh COMP_LINE="${words[1,CURRENT-1]} $PREFIX" \\
        ${(Q)words[1]} 2>/dev/null)
    local -a listed
    [[ -n ${(M)spaced_shown:#*  -- *}${(M)joined_shown:#*  -- *} ]] && listed=(-l)
    (( $#spaced )) && compadd $listed -V personakit -d spaced_shown -a spaced
    (( $#joined )) && compadd $listed -V personakit -S '' -d joined_shown -a joined
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _personakit "$@"
else
    compdef _personakit personakit
fi
"""
_FISH = """
function __personakit_complete
    set -l program (commandline -opc)[1]
    for line in (env _PERSONAKIT_COMPLETE=fish COMP_LINE=(commandline -cp | string collect) \\
            $program 2>/dev/null)
        set -l parts (string split \\t -- $line)
        if test $parts[1] = file
            __fish_complete_path (commandline -ct)
        else
            string join \\t -- $parts[2..]
        end
    end
end
complete --command personakit --no-files --arguments '(__personakit_complete)'
"""
_HOW = {
    "bash": """\
# Try it in this shell:    eval "$(personakit completion bash)"
# Keep it:                 personakit completion bash >> ~/.bashrc""",
    "zsh": """\
# Try it in this shell:    eval "$(personakit completion zsh)"
# Keep it:                 personakit completion zsh >> ~/.zshrc
# It needs the completion system:    autoload -Uz compinit && compinit""",
    "fish": """\
# Try it in this shell:    personakit completion fish | source
# Keep it (one line):
#     personakit completion fish > ~/.config/fish/completions/personakit.fish""",
}
_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
_PLAIN = re.compile(r"[^\w@%+=:,./~-]")


def script(shell: str) -> str:
    """Return the script for a shell; a KeyError for an unknown one."""
    head = _HEAD.format(shell=shell, how=_HOW[shell])
    if shell == "zsh":
        # A file in fpath begins with this line.
        head = f"#compdef personakit\n{head}"
    return head + _SCRIPTS[shell].rstrip("\n")


def shells() -> tuple[str, ...]:
    """Return the names of the shells that have a script."""
    return tuple(_SCRIPTS)


def answers(group: click.Group, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the lines that answer a script: kind, text and remark.

    Args:
        group: The commands.
        environ: The environment that the script set.
    """
    line = environ.get("COMP_LINE", "")
    is_bash = environ[VARIABLE] == "bash"
    raw = _last(line)
    words = split_arg_string(line)[1:]
    typed = words.pop() if raw and words else ""
    head = ""
    if typed.startswith("--") and "=" in typed:
        # click completes the value alone.
        head = typed.partition("=")[0] + "="
    kept = _kept(raw, environ.get("COMP_WORDBREAKS", "")) if is_bash else ""
    for item in ShellComplete(group, {}, "personakit", VARIABLE).get_completions(words, typed):
        if item.type != "plain":
            yield "file\t\t"
            continue
        text = head + str(item.value)
        if not text.isprintable():
            continue
        text = text.removeprefix(kept)
        if is_bash and _quote(raw) < 0:
            text = _PLAIN.sub(r"\\\g<0>", text)
        yield f"plain\t{text}\t{_remark(item)}"


def _remark(item: CompletionItem) -> str:
    text = " ".join((item.help or "").split())
    text = text if len(text) <= 80 else f"{text[:79]}…"
    return text if text.isprintable() else ""


def _last(line: str) -> str:
    """Return the last word of a line, with its quotes; empty after a space."""
    start, quote, escaped = 0, "", False
    for index, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\" and quote != "'":
            escaped = True
        elif quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character.isspace():
            start = index + 1
    return line[start:]


def _quote(raw: str) -> int:
    """Return the position of the quote that is open at the end of a word; -1 for none."""
    position = -1
    for index, character in enumerate(raw):
        if position >= 0:
            position = -1 if character == raw[position] else position
        elif character in "'\"":
            position = index
    return position


def _kept(raw: str, breaks: str) -> str:
    """Return the part of a word that bash keeps: up to the last character that breaks words.

    Bash takes ``diet=ve`` for three words, and replaces only the last one.
    """
    quote = _quote(raw)
    broken = raw if quote < 0 else raw[:quote]
    ends = [broken.rfind(character) for character in breaks if character not in " \t\n'\"\\"]
    return "".join(split_arg_string(broken[: max(ends, default=-1) + 1]))
