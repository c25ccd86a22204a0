"""What a container starts, as far as its command and arguments tell.

A shell's script is read as words: what follows a separator is the program of a simple command. Nothing is expanded, and
a program that hides behind a variable, a file or an encoding is not seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from placet.detection.rules import Rules
from placet.detection.words import Found, fold, split_words

_SEPARATORS: Final = {ord(mark): f" {mark} " for mark in ";&|()\n`"} | {ord(mark): " " for mark in "\r\t\"'\\{}"}
_BREAKS: Final = frozenset(";&|()\n`")
# Programs, and words of the shell, that start what is named behind them.
_WRAPPERS: Final = frozenset(
    [
        "sh",
        "bash",
        "dash",
        "zsh",
        "ash",
        "busybox",
        "exec",
        "eval",
        "env",
        "nohup",
        "nice",
        "ionice",
        "numactl",
        "taskset",
        "time",
        "timeout",
        "stdbuf",
        "setsid",
        "chroot",
        "command",
        "builtin",
        "xargs",
        "parallel",
        "sudo",
        "su",
        "gosu",
        "runuser",
        "tini",
        "dumb-init",
        "catchsegv",
        "flock",
        "nsys",
        "xvfb-run",
        "mpirun",
        "mpiexec",
        "torchrun",
        "accelerate",
        "python",
        "python3",
        "python3.9",
        "python3.10",
        "python3.11",
        "python3.12",
        "python3.13",
        "poetry",
        "uv",
        "uvx",
        "run",
        "pipenv",
        "conda",
        "node",
        "opentelemetry-instrument",
        "if",
        "then",
        "elif",
        "else",
        "while",
        "until",
        "do",
        "!",
    ]
)
_ELSEWHERE: Final = frozenset({"install", "uninstall", "which", "pkill", "killall", "pgrep", "show"})
_NOTHING: Final = frozenset({"idle", "fetch"})


@dataclass(frozen=True, slots=True)
class CommandLine:
    """What a container starts.

    Attributes:
        given: whether the container says what to start at all, rather than options for the image's own entry point.
        server: the phrase that starts a model server.
        fetch: the phrase that gets a model.
        idle: whether nothing that it starts does anything that could serve.
        companion: the phrase of a program that is something beside a server.
        other: whether it starts something that is none of these.
    """

    given: bool
    server: Found | None
    fetch: Found | None
    idle: bool
    companion: Found | None
    other: bool


def read_command(
    command: Sequence[str], arguments: Sequence[str], rules: Rules, *, scripts: Sequence[str] = ()
) -> CommandLine:
    """Read what a container starts.

    Args:
        command: the container's, replaces the image's entry point.
        arguments: the container's, go to the one or the other.
        rules: what is looked for.
        scripts: texts that may be run as well: those of hooks and probes, and what a variable could hand to a shell.
    """
    lines = _simple_commands((*command, *arguments))
    given = bool(command) or bool(arguments and arguments[0][:1] not in {"-", "", "$"} and "=" not in arguments[0])
    phrases = [found for line in lines for found in _find(line, rules)]
    more = [found for script in scripts for line in _simple_commands([script]) for found in _find(line, rules)]
    phrases += [found for found in more if not _is_bare(found)]
    server = next((found for found in phrases if found.meaning == "server"), None)
    heads = [line[at:] for line in lines if (at := _head(line)) < len(line)] if given else []
    kinds = [_judge(head, rules) for head in heads]
    companion = next((kind for kind in kinds if isinstance(kind, Found)), None)
    return CommandLine(
        given=given,
        server=server,
        fetch=next((found for found in phrases if found.meaning == "fetch"), None),
        idle=given and server is None and bool(lines) and _NOTHING.issuperset(kinds),
        companion=companion,
        other="other" in kinds,
    )


def _simple_commands(elements: Iterable[str]) -> list[list[str]]:
    """Words of each simple command, each with its folder in front."""
    lines: list[list[str]] = [[]]
    for element in elements:
        for word in fold(element).translate(_SEPARATORS).split(" "):
            if word in _BREAKS:
                lines.append([])
            elif word:
                lines[-1].append(word)
    return [line for line in lines if line and not line[0].startswith("#")]


def _base(word: str) -> str:
    return word.rpartition("/")[2] if not word.startswith("-") else word


def _find(line: Sequence[str], rules: Rules) -> Iterator[Found]:
    """Phrases that start a server or get a model, by the programs' names with and without their folder."""
    bases = [_base(word) for word in line]
    at = _head(line)
    head = rules.commands.at(bases, at) if at < len(line) else None
    for words in (bases, line):
        for found in rules.commands.find(words):
            if found.meaning != "idle" and not (_is_bare(found) and _is_mention(found, words, head)):
                yield found


def _is_bare(found: Found) -> bool:
    """Whether it is one word that may also name a thing, such as a service or a package."""
    return found.end - found.start == 1 and "." not in found.key


def _is_mention(found: Found, words: Sequence[str], head: Found | None) -> bool:
    """Whether a word is the value of a long option, or what another program is told about."""
    before = words[found.start - 1] if found.start else ""
    is_value = before.startswith("--") and before != "--"
    is_told = head is not None and head.meaning != "server" and head.start != found.start
    return is_value or is_told or before in _ELSEWHERE


def _head(line: Sequence[str]) -> int:
    """Where the program of a simple command stands, behind options, assignments and what wraps it."""
    for at, word in enumerate(line):
        if word[0] in "-0123456789" or ("=" in word and not word.startswith("/")) or _base(word) in _WRAPPERS:
            continue
        return at
    return len(line)


def _judge(line: Sequence[str], rules: Rules) -> Found | str:
    words = [_base(word) for word in line]
    found = rules.commands.at(words, 0)
    if found is not None:
        return found.meaning
    # The program's name alone, and the subcommand beside it: `vllm bench`, `python train.py`.
    for word in words[:2]:
        if word.startswith("-"):
            break
        if (voided := next(iter(rules.companions.find(split_words(word))), None)) is not None:
            return voided
    return "other"
