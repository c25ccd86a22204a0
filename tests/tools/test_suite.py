"""The suite's own runner: what fails again fails it, what does not is named, and nothing else is forgiven."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.suite import run_suite

_ONCE = """
from pathlib import Path

def test_steady():
    assert True

def test_unsteady():
    seen = Path(__file__).with_name("seen")
    first = not seen.exists()
    seen.touch()
    assert not first
"""


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)


def suite(folder: Path, text: str, capfd: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code, and what the runner said."""
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    code = run_suite(["-q"], folder)
    return code, capfd.readouterr().err


def test_all_that_pass_are_run_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert suite(tmp_path, "def test_a():\n    assert True\n", capfd) == (0, "")


def test_one_that_passes_alone_is_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, said = suite(tmp_path, _ONCE, capfd)
    assert code == 0
    assert said.count("alone, time") == 3
    assert said.endswith("unsteady, failed beside the others and passed 3 times alone: test_it.py::test_unsteady\n")


@pytest.mark.parametrize("again", [2, 3, 4])
def test_one_that_fails_again_fails_the_suite(again: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs = f"len(runs := [*Path(__file__).parent.glob('run-*')]) + 1 not in (1, {again})"
    text = (
        "from pathlib import Path\ndef test_it():\n"
        f"    good = {runs}\n    Path(__file__).with_name(f'run-{{len(runs)}}').touch()\n    assert good\n"
    )
    code, said = suite(tmp_path, text, capfd)
    assert code == 1
    assert said.count("alone, time") == again - 1
    assert "unsteady" not in said


def test_many_failures_are_not_run_again(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = "import pytest\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n):\n    assert n < 0\n"
    assert suite(tmp_path, text, capfd) == (1, "\nsuite: 4 tests failed\n")


@pytest.mark.parametrize("text", ["def test_it(:\n", "import nothing_of_that_name\n", ""])
def test_tests_that_can_not_be_collected_fail_it(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, said = suite(tmp_path, text, capfd)
    assert code not in (0, 1)
    assert said == ""
