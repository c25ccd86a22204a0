"""The documents say what is true: commands, output, options and links."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click
import pytest

from placet.cli import root as placet_command
from tools.docs import (
    DocumentError,
    find_blocks,
    find_dead_links,
    find_documents,
    find_unknown_commands,
    main,
    matches,
    refresh,
)

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENTS: Final = [
    path.relative_to(ROOT).as_posix() for path in [*sorted(ROOT.glob("*.md")), *find_documents([str(ROOT / "docs")])]
]
# Decisions and changes speak of their own day, later and earlier commands included.
OF_THEIR_DAY: Final = ("docs/adr/", "CHANGELOG.md")
_OURS: Final = re.compile(r"`((?:scorer|placet|webhook|policies|manifests|tests|tools|benchmarks)/[\w.*/-]*)`")


@click.group()
@click.version_option("1")
def made_up() -> None:
    pass


@made_up.command()
@click.option("-f", "--filename", multiple=True)
@click.option("-o", "--output")
@click.option("--keep/--no-keep")
@click.argument("name", required=False)
def score(**given: object) -> None:
    del given


def _document(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_executed_blocks_show_what_the_commands_print(document: str, tmp_path: Path) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    assert refresh(text, tmp_path) == text, "run `make docs` and look at the difference"


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not name.startswith(OF_THEIR_DAY)])
def test_every_command_that_is_shown_exists(document: str) -> None:
    assert find_unknown_commands((ROOT / document).read_text(encoding="utf-8"), placet_command) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_within_the_documents_leads_somewhere(document: str) -> None:
    assert find_dead_links(ROOT / document) == []


@pytest.mark.parametrize("document", [name for name in DOCUMENTS if not name.startswith(OF_THEIR_DAY)])
def test_every_file_of_ours_that_is_named_is_there(document: str) -> None:
    named = _OURS.findall((ROOT / document).read_text(encoding="utf-8"))
    assert [path for path in named if not any(ROOT.glob(path.rstrip("/")))] == []
    assert document != "docs/architecture.md" or len(named) > 20, "its table names the modules"


def test_output_that_differs_is_written_again(tmp_path: Path) -> None:
    text = _document("before", "```console run", "$ echo one", "two", "$ printf 'a\\nb\\n'", "```", "after")
    assert refresh(text, tmp_path) == _document(
        "before", "```console run", "$ echo one", "one", "$ printf 'a\\nb\\n'", "a", "b", "```", "after"
    )


def test_output_that_matches_its_placeholders_is_left_alone(tmp_path: Path) -> None:
    text = _document(
        "```console run",
        "$ printf 'at 2026-11-22T18:00:00Z\\nx\\ny\\nend\\n'",
        "at <time>",
        "...",
        "end",
        "```",
    )
    assert refresh(text, tmp_path) == text


def test_volatile_output_is_written_with_placeholders(tmp_path: Path) -> None:
    command = f"echo 2026-11-22T18:00:00.000001Z sha256:{'0a' * 32} https://127.0.0.1:4711/ $PWD"
    text = _document("```console run volatile", f"$ {command}", "```")
    again = refresh(text, tmp_path)
    assert "\n<time> sha256:<digest> https://127.0.0.1:<port>/ <folder>\n" in again
    assert refresh(again, _empty(tmp_path / "again")) == again


def _empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_blocks_of_one_document_share_a_folder_with_the_manifests(tmp_path: Path) -> None:
    text = _document(
        "```console run", "$ ls -d manifests > file", "```", "```console run", "$ cat file", "manifests", "```"
    )
    assert refresh(text, tmp_path) == text


def test_a_story_apart_is_told_in_an_empty_folder_with_the_files_that_it_shows(tmp_path: Path) -> None:
    text = _document(
        "```yaml apart file=a/b.yaml",
        "one: 1",
        "```",
        "```console run apart",
        "$ ls; cat a/b.yaml",
        "a",
        "one: 1",
        "```",
    )
    assert refresh(text, tmp_path, apart=True) == text
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_story_apart_is_left_to_itself(tmp_path: Path) -> None:
    text = _document("```yaml apart file=a.yaml", "one: 1", "```", "```console run apart", "$ exit 3", "```")
    assert refresh(text, tmp_path) == text
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DocumentError, match="ended with status 3"):
        refresh(text, tmp_path, apart=True)


def test_a_command_may_go_on_in_the_next_line(tmp_path: Path) -> None:
    text = _document("```console run", "$ echo one \\", "    two", "one two", "```")
    assert refresh(text, tmp_path) == text


@pytest.mark.parametrize(
    ("words", "command", "fault"),
    [
        ("", "exit 3", "ended with status 3, not 0"),
        (" exit=1", "true", "ended with status 0, not 1"),
        (" exit=1", "no-such-program", "ended with status 127, not 1"),
    ],
)
def test_another_exit_status_than_documented_is_a_fault(words: str, command: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=fault):
        refresh(_document(f"```console run{words}", f"$ {command}", "```"), tmp_path)


def test_a_documented_exit_status_is_that_of_the_last_command(tmp_path: Path) -> None:
    text = _document("```console run exit=1", "$ true", "$ false", "```")
    assert refresh(text, tmp_path) == text


@pytest.mark.parametrize("lines", [(), ("output",)])
def test_a_block_to_run_without_a_command_is_a_fault(lines: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="a block to run"):
        refresh(_document("```console run", *lines, "```"), tmp_path)


def test_blocks_that_are_not_marked_are_not_executed(tmp_path: Path) -> None:
    text = _document("```console", "$ touch made", "```", "```sh", "touch made", "```")
    assert refresh(text, tmp_path) == text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("documented", "actual"),
    [("a\n", "a\nb\n"), ("...\nb\n", "a\n"), ("a.c\n", "abc\n"), ("<digest>\n", "0a0a\n"), ("", "a\n"), ("a\n", "")],
)
def test_other_output_does_not_match(documented: str, actual: str) -> None:
    assert not matches(documented, actual)


@pytest.mark.parametrize(
    ("block", "unknown"),
    [
        (("```console", "$ placet frobnicate -f x", "```"), "`placet frobnicate -f x`: no command frobnicate"),
        (("```sh", "placet score --frob", "```"), "`placet score --frob`: no option --frob"),
        (("```sh", "placet score \\", "  --frob", "```"), "`placet score    --frob`: no option --frob"),
        (("```sh", "cat x | A=b placet score -q", "```"), "`cat x | A=b placet score -q`: no option -q"),
        (("```sh", "make frob", "```"), "`make frob`: no target frob"),
        (("```sh", "placet score 'x", "```"), "`placet score 'x`: No closing quotation"),
        (("Type `placet frobnicate`.",), "`placet frobnicate`: no command frobnicate"),
    ],
)
def test_a_command_that_does_not_exist_is_found(block: tuple[str, ...], unknown: str) -> None:
    assert find_unknown_commands(_document(*block), made_up) == [unknown]


def test_commands_that_exist_are_known() -> None:
    text = _document(
        "```console",
        "$ placet score -f deploy.yaml --output=json | jq . && make test JOBS=4",
        "placet nonsense in output",
        "```",
        "Type `placet --help`, `placet score name --no-keep`, `placet ...`, `placet --version`.",
        "```yaml",
        "run: placet nonsense",
        "```",
    )
    assert find_unknown_commands(text, made_up) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# One heading, of `two`\n", encoding="utf-8")
    document = tmp_path / "document.md"
    document.write_text(
        "[a](other.md) [b](other.md#one-heading-of-two) [c](https://example.org/x) [d](gone.md) [e](other.md#gone)\n",
        encoding="utf-8",
    )
    assert find_dead_links(document) == ["gone.md", "other.md#gone"]


def test_check_changes_nothing_and_says_what_would_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = tmp_path / "document.md"
    text = _document("```console run", "$ echo one", "```")
    document.write_text(text, encoding="utf-8")
    assert main(["--check", str(tmp_path)]) == 1
    assert document.read_text(encoding="utf-8") == text
    assert "is not up to date" in capsys.readouterr().err
    assert main([str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0


@pytest.mark.parametrize("content", [None, ()])
def test_no_document_at_all_is_a_fault(content: tuple[str, ...] | None, tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    if content is not None:
        folder.mkdir()
    assert main([str(folder)]) == 1


def test_blocks_are_found_with_their_words() -> None:
    (block,) = find_blocks(_document("text", "```console run exit=2", "$ false", "```"))
    assert (block.words, block.body, block.is_run, block.status) == (("console", "run", "exit=2"), "$ false\n", True, 2)
