"""Keep the documents true: run the commands that they show, and hold every command and link against what exists.

    python tools/docs.py README.md docs            # write the output of commands into the documents again
    python tools/docs.py --check README.md docs    # only say what would change

A fenced block whose first line is ```` ```console run ```` is executed: each ``$ command`` (a backslash at the end goes
on in the next line) runs in bash, in one empty folder a document that holds a copy of ``manifests/``, and what follows
is its output, stdout and stderr together. Further words after ``run``:

    exit=1      the last command ends with this status; every other command, and by default this one too, with 0
    volatile    writing replaces what differs between runs by <time>, <digest>, <uuid>, <base64>, <days>,
                <port>, <folder>

A block with the word ``apart`` belongs to a story of its own, told in another empty folder without a copy of anything:
``file=PATH`` writes the block there, as it stands, before what follows is executed.

In any executed block a placeholder matches what it stands for, and a line of three dots matches any lines. Writing
leaves a block alone that matches already. Other blocks are not executed, but their ``placet`` and ``make`` commands
have to exist, as do those in code spans.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).resolve().parent.parent
TIMEOUT_S: Final = 120
COLUMNS: Final = 100

_FENCE: Final = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
_SPAN: Final = re.compile(r"`(placet [^`\n]+)`")
_LINK: Final = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ +(.*?) *$", re.MULTILINE)
_TARGET: Final = re.compile(r"^([a-z0-9-]+):", re.MULTILINE)
_SHELLS: Final = frozenset({"console", "sh", "bash", "shell"})
_OPERATORS: Final = frozenset({"|", "||", "&&", ";", "&", "(", ")"})
# In the order in which they are looked for.
_VOLATILE: Final = {
    "<time>": r"\d{4}-\d\d-\d\d(?:T| )\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z| UTC)?",
    "<uuid>": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "<digest>": r"\b[0-9a-f]{64}\b",
    "<base64>": r"[A-Za-z0-9+/]{42,}={0,2}",
    "<days>": r"\b\d+ days\b",
    "<port>": r"(?<=127\.0\.0\.1:)\d+",
}


class DocumentError(Exception):
    """A document shows a command that does not run as shown."""


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        start: offset of its body in the document.
        end: offset behind its body.
        words: of the line that opens it.
        body: its lines, each with its end.
    """

    start: int
    end: int
    words: tuple[str, ...]
    body: str

    @property
    def is_run(self) -> bool:
        """Whether its commands are executed."""
        return self.words[:2] == ("console", "run")

    @property
    def is_apart(self) -> bool:
        """Whether it is told in a folder of its own."""
        return "apart" in self.words

    @property
    def file(self) -> str:
        """Where it is written before what follows is executed; empty for nowhere."""
        return next((word.removeprefix("file=") for word in self.words if word.startswith("file=")), "")

    @property
    def status(self) -> int:
        """The exit status of its last command."""
        return next((int(word.removeprefix("exit=")) for word in self.words if word.startswith("exit=")), 0)


def find_blocks(text: str) -> list[Block]:
    """All fenced blocks that start in the first column."""
    return [Block(m.start("body"), m.end("body"), tuple(m["info"].split()), m["body"]) for m in _FENCE.finditer(text)]


def find_documents(paths: Sequence[str]) -> list[Path]:
    """Markdown files among the paths and in the folders among them.

    Raises:
        DocumentError: a path does not exist, or none of them is a document.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise DocumentError(f"{path} does not exist")
        found += sorted(path.rglob("*.md")) if path.is_dir() else [path]
    if not found:
        raise DocumentError("no document found")
    return found


def refresh(text: str, folder: Path, *, apart: bool = False) -> str:
    """The document with the output of its executed blocks as it is now.

    Args:
        text: the document.
        folder: an empty one to run the commands in.
        apart: whether the blocks of the story apart are meant, or all others.

    Raises:
        DocumentError: a command ended with another status than the document says, or not in time.
    """
    blocks = [
        block for block in find_blocks(text) if block.is_apart == apart and (block.is_run or (apart and block.file))
    ]
    if blocks and not apart:
        shutil.copytree(ROOT / "manifests", folder / "manifests")
    parts, position = [], 0
    for block in blocks:
        if not block.is_run:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.body, encoding="utf-8")
            continue
        parts += [text[position : block.start], _run_block(block, folder)]
        position = block.end
    return "".join([*parts, text[position:]])


def _run_block(block: Block, folder: Path) -> str:
    shown = _split(block.body)
    if not shown:
        raise DocumentError("a block to run has no line that starts with `$ `")
    lines = []
    for number, (command, documented) in enumerate(shown, start=1):
        status = block.status if number == len(shown) else 0
        actual = _run(command, folder, status=status)
        current = _generalise(actual) if "volatile" in block.words else actual
        lines += [f"$ {command}\n", documented if matches(documented, actual) else current]
    return "".join(lines)


def _split(body: str) -> list[tuple[str, str]]:
    """Commands with the output that the document shows for each."""
    shown: list[tuple[str, str]] = []
    goes_on = False
    for line in body.splitlines(keepends=True):
        if goes_on:
            command = f"{shown[-1][0]}\n{line.rstrip()}"
            shown[-1] = command, ""
            goes_on = command.endswith("\\")
        elif line.startswith("$ "):
            command = line[2:].rstrip()
            shown.append((command, ""))
            goes_on = command.endswith("\\")
        elif shown:
            shown[-1] = shown[-1][0], shown[-1][1] + line
        else:
            raise DocumentError("a block to run starts with output")
    return shown


def _cache() -> Path:
    """Where ``tools/build.py`` keeps the programs; the commands of a document have a home of their own."""
    return Path(os.environ.get("PLACET_CACHE") or Path.home() / ".cache" / "placet")


def _run(command: str, folder: Path, *, status: int) -> str:
    environment = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "HOME": str(folder),
        "PLACET_OPA": os.environ.get("PLACET_OPA") or str(_cache() / "bin" / "opa"),
        "COLUMNS": str(COLUMNS),
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "TZ": "UTC",
    }
    try:
        ran = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise DocumentError(f"`{command}` did not end within {TIMEOUT_S} s") from exc
    output = ran.stdout.decode("utf-8", errors="replace").replace(str(folder), "<folder>")
    if ran.returncode != status:
        raise DocumentError(f"`{command}` ended with status {ran.returncode}, not {status}:\n{output}")
    output = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
    return output.rstrip("\n") + "\n" if output.strip() else ""


def matches(documented: str, actual: str) -> bool:
    """Whether the output is what the document shows, placeholders and lines of three dots considered."""
    pattern = []
    for line in documented.splitlines():
        if line == "...":
            pattern.append(r"(?:[^\n]*\n)*")
            continue
        escaped = re.escape(line)
        for placeholder, meaning in _VOLATILE.items():
            escaped = escaped.replace(re.escape(placeholder), f"(?:{meaning})")
        pattern.append(f"{escaped}\n")
    return re.fullmatch("".join(pattern), actual) is not None


def _generalise(output: str) -> str:
    for placeholder, meaning in _VOLATILE.items():
        output = re.sub(meaning, placeholder, output)
    return output


def find_unknown_commands(text: str, placet: click.Command) -> list[str]:
    """What a document tells people to type and does not exist: commands and options of placet, targets of make.

    Args:
        text: the document.
        placet: the whole command line.
    """
    unknown = []
    targets = set(_TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    for line in _typed_lines(text):
        try:
            commands = list(_simple_commands(line))
        except ValueError as exc:
            unknown.append(f"`{line}`: {exc}")
            continue
        for program, *arguments in commands:
            if program == "placet" and (problem := _unknown_to(placet, arguments)):
                unknown.append(f"`{line}`: {problem}")
            if program == "make":
                named = [word for word in arguments if not word.startswith("-") and "=" not in word]
                unknown += [f"`{line}`: no target {word}" for word in named if word not in targets]
    return unknown


def _typed_lines(text: str) -> Iterator[str]:
    for block in find_blocks(text):
        if block.words and block.words[0] in _SHELLS:
            joined = block.body.replace("\\\n", " ")
            lines = [line.strip() for line in joined.splitlines()]
            if block.words[0] == "console":
                lines = [line[2:] for line in lines if line.startswith("$ ")]
            yield from (line for line in lines if re.search(r"\b(placet|make) ", line))
    yield from _SPAN.findall(_FENCE.sub("", text))


def _simple_commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word in _OPERATORS:
            if words:
                yield words
            words = []
        elif words or not re.fullmatch(r"\w+=.*", word):
            words.append(word)


def _unknown_to(command: click.Command, arguments: Sequence[str]) -> str:
    """What the command does not know of its arguments; empty when it knows all of them."""
    context = click.Context(command)
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word.startswith("-") and word != "-":
            name = word.split("=")[0] if word.startswith("--") else word[:2]
            option = next((p for p in command.get_params(context) if name in (*p.opts, *p.secondary_opts)), None)
            if option is None:
                return f"no option {name}"
            takes_value = isinstance(option, click.Option) and not option.is_flag and not option.count
            if takes_value and "=" not in word and rest:
                rest.pop(0)
        elif isinstance(command, click.Group) and word not in {"...", "…"}:
            inner = command.get_command(context, word)
            if inner is None:
                return f"no command {word}"
            command = inner
            context = click.Context(command, parent=context)
    return ""


def find_dead_links(document: Path) -> list[str]:
    """Relative links of a document whose file or heading does not exist."""
    dead = []
    for match in _LINK.finditer(_FENCE.sub("", document.read_text(encoding="utf-8"))):
        path, _, anchor = match["target"].partition("#")
        if "://" in path or path.startswith("mailto:"):
            continue
        file = (document.parent / path).resolve() if path else document
        if not file.exists() or (anchor and file.suffix == ".md" and anchor not in _anchors(file)):
            dead.append(match["target"])
    return dead


def _anchors(document: Path) -> set[str]:
    headings = _HEADING.findall(_FENCE.sub("", document.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(prog="docs.py", description="Write the output of commands into the documents.")
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 when a document would change")
    parser.add_argument("paths", nargs="+", help="documents and folders of documents")
    options = parser.parse_args(arguments)
    changed = False
    try:
        for document in find_documents(options.paths):
            before = document.read_text(encoding="utf-8")
            after = before
            for apart in (False, True):
                with tempfile.TemporaryDirectory(prefix="placet-docs-") as folder:
                    after = refresh(after, Path(folder).resolve(), apart=apart)
            if after != before:
                changed = True
                sys.stderr.write(f"docs: {document} {'is not' if options.check else 'was not'} up to date\n")
                if not options.check:
                    document.write_text(after, encoding="utf-8")
    except DocumentError as error:
        sys.stderr.write(f"docs: {error}\n")
        return 1
    return 1 if changed and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
