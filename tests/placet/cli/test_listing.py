"""Records for other programs: each form reads back, and no spreadsheet computes anything."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from placet.audit.log import AuditLog
from placet.audit.query import Found
from placet.cli import root
from placet.cli.listing import COLUMNS, render_csv, render_lines, render_parquet
from tests.e2e.processes import poll_until
from tests.simulators.tampering import ORIGIN, append, build_log, decision

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"]
TIMEOUT_S = 30


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_log(tmp_path_factory.mktemp("log") / "record.db")


def found(index: int = 0, **changes: Any) -> Found:
    return Found(index, bytes(32), decision(index + 1, **changes))


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(root, ["audit", *map(str, arguments)], catch_exceptions=False)


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_that_a_spreadsheet_would_compute_gets_an_apostrophe(text: str) -> None:
    (row,) = read_csv(render_csv([found(user=text, message=text, name=text)]))
    assert row["user"] == row["message"] == row["name"] == f"'{text}"


def test_a_row_says_what_the_record_says() -> None:
    approvals = [{"role": "security", "person": "sam"}, {"role": "technical", "person": "tess"}]
    one = found(7, approvals=approvals, images=["a", "b"], message='two\nlines, "quoted"', allowed=False)
    (row,) = read_csv(render_csv([one]))
    assert (row["index"], row["decision"], row["model"]) == ("7", "deny", "llama-3.1-70b")
    assert (row["risk_score"], row["risk_level"]) == ("665", "high")
    assert row["approvals"] == "security=sam;technical=tess"
    assert row["images"] == "a;b"
    assert row["message"] == 'two\nlines, "quoted"'
    assert row["leaf_hash"] == "00" * 32


def test_rows_end_as_rfc_4180_says_and_control_characters_are_replaced() -> None:
    text = render_csv([found(user="a\x1b[31mb\x00")])
    assert text.count("\r\n") == 2
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert read_csv(text)[0]["user"] == "a\ufffd[31mb\ufffd"


@given(st.lists(st.text(), max_size=3), st.text())
def test_any_text_reads_back_as_one_cell_that_is_no_formula(images: list[str], user: str) -> None:
    rows = read_csv(render_csv([found(images=images, user=user), found(1)]))
    assert len(rows) == 2
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values())
    if user.isprintable() and not user.startswith(("=", "+", "-", "@")):
        assert rows[0]["user"] == user


def test_parquet_has_the_same_columns_with_numbers_as_numbers() -> None:
    one = found(7, user="=1+1", risk=None)
    table = parquet.read_table(io.BytesIO(render_parquet([one, found(8)])))
    assert table.column_names == list(COLUMNS)
    first, second = table.to_pylist()
    assert (first["index"], first["user"], first["risk_score"]) == (7, "=1+1", None)
    assert second["risk_score"] == 665


def test_json_lines_are_one_object_a_line() -> None:
    lines = render_lines([found(0, message="two\nlines"), found(1)]).splitlines()
    assert [json.loads(line)["index"] for line in lines] == [0, 1]
    assert json.loads(lines[0])["record"]["message"] == "two\nlines"


def test_list_prints_every_form_and_tells_the_cursor_on_stderr(store: Path, tmp_path: Path) -> None:
    listed = run("list", "--store", store, "--limit", "5", "-o", "jsonl")
    indexes = [json.loads(line)["index"] for line in listed.stdout.splitlines()]
    assert indexes == [20, 19, 18, 17, 16]
    assert listed.stderr == "More follow: --after 16\n"
    rows = read_csv(run("list", "--store", store, "--limit", "5", "--after", "16", "-o", "csv").stdout_bytes.decode())
    assert [row["index"] for row in rows] == ["15", "14", "13", "12", "11"]
    file = tmp_path / "found.parquet"
    file.write_bytes(run("list", "--store", store, "--limit", "5", "-o", "parquet").stdout_bytes)
    assert parquet.read_table(file).num_rows == 5


def test_without_pyarrow_parquet_says_what_to_install(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    refused = run("list", "--store", store, "-o", "parquet")
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert "Parquet needs pyarrow, which is not installed" in refused.stderr
    assert "pip install 'placet[parquet]'" in refused.stderr


def test_tail_shows_the_newest_last(store: Path) -> None:
    shown = run("tail", "--store", store, "--lines", "3")
    assert [line.split()[0] for line in shown.stdout.splitlines()] == ["18", "19", "20"]
    lines = run("tail", "--store", store, "--lines", "100", "--type", "any", "-o", "jsonl").stdout.splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(21))
    denied = run("tail", "--store", store, "--decision", "deny", "-o", "jsonl").stdout.splitlines()
    assert not any(json.loads(line)["record"]["allowed"] for line in denied)
    assert run("tail", "--store", store, "--lines", "0").stdout == ""


@contextlib.contextmanager
def following(store: Path, out: Path, *options: str, stdout: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """``placet audit tail -f`` as a process of its own, which is not there any longer afterwards."""
    command = [sys.executable, "-m", "placet", "audit", "tail", "-f", "--store", str(store), "--interval", "0.05"]
    with out.open("wb") as file:
        process = subprocess.Popen([*command, *options], stdout=file if stdout is None else stdout, stderr=file)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_tail_follows_each_new_leaf_once_in_order_until_it_is_interrupted(tmp_path: Path) -> None:
    store, out = build_log(tmp_path / "record.db", size=4, signed=()), tmp_path / "out"

    def shown() -> list[int]:
        return [json.loads(line)["index"] for line in out.read_text().splitlines() if line.endswith("}")]

    with following(store, out, "--lines", "2", "-o", "jsonl") as process:
        assert poll_until(lambda: shown() == [1, 3], TIMEOUT_S), "leaf 2 is a heartbeat"
        log = AuditLog.open(store, origin=ORIGIN)
        for number in range(4, 10):
            append(log, number)
        assert poll_until(lambda: shown() == [1, 3, *range(4, 10)], TIMEOUT_S)
        append(log, 10)
        log.close()
        assert poll_until(lambda: shown()[-1] == 10, TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        assert process.wait(TIMEOUT_S) == 130
    assert "Traceback" not in out.read_text()
    assert shown() == [1, 3, *range(4, 11)]


def test_tail_ends_when_nobody_reads_it_though_nothing_comes(store: Path, tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    with following(store, tmp_path / "out", stdout=write_end) as process:
        os.close(write_end)
        assert os.read(read_end, 1)
        os.close(read_end)
        assert process.wait(TIMEOUT_S) == 141
    assert (tmp_path / "out").read_text() == ""
