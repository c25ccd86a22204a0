"""Imports point left only: scorer <- placet <- webhook."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent
LAYERS: Final = ("scorer", "placet", "webhook")
NOT_SHIPPED: Final = frozenset({"tests", "tools", "benchmarks"})
HTTP: Final = frozenset({"flask", "httptools", "uvloop", "werkzeug"})
_DYNAMIC: Final = frozenset({"import_module", "__import__"})


def find_wrong_arrows(root: Path) -> list[str]:
    """Imports that a layer may not make, as ``file:line: what``, anywhere in a file: functions and type checks too."""
    wrong = []
    for rank, layer in enumerate(LAYERS):
        files = sorted((root / layer).rglob("*.py"))
        if not files:
            wrong.append(f"{layer}: has no Python file")
        for file in files:
            tree = ast.parse(file.read_text(encoding="utf-8"), filename=str(file))
            package = file.relative_to(root).parent.parts
            for line, name in _imports(tree, package):
                if reason := _objection(name.split(".")[0], rank):
                    wrong.append(f"{file.relative_to(root).as_posix()}:{line}: {name}: {reason}")
    return wrong


def _objection(top: str, rank: int) -> str:
    layer = LAYERS[rank]
    if top in LAYERS[rank + 1 :]:
        return f"{layer} may not import {top}"
    if top in NOT_SHIPPED:
        return "not part of the product"
    if top in HTTP and layer != "webhook":
        return "HTTP is spoken in webhook alone"
    if layer == "scorer" and top != layer and top not in sys.stdlib_module_names:
        return "scorer is pure standard library"
    return ""


def _imports(tree: ast.Module, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """Line and absolute module name of every import, those of ``import_module`` with a constant name too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            yield node.lineno, ".".join([*base, *([node.module] if node.module else [])])
        elif isinstance(node, ast.Call) and node.args:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            name = _constant_start(node.args[0])
            if called in _DYNAMIC and name:
                yield node.lineno, name


def _constant_start(node: ast.expr) -> str:
    """The text of a constant, or the text before the first gap of an f-string."""
    if isinstance(node, ast.JoinedStr) and node.values:
        node = node.values[0]
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_imports_point_left_only() -> None:
    assert find_wrong_arrows(ROOT) == []


def test_every_module_of_placet_loads_without_the_webhook_and_without_http() -> None:
    program = (
        "import importlib, pkgutil, sys, placet\n"
        "names = [m.name for m in pkgutil.walk_packages(placet.__path__, 'placet.') if m.name != 'placet.__main__']\n"
        "for name in names: importlib.import_module(name)\n"
        f"print(len(names), sorted({set(HTTP) | {'webhook'}} & sys.modules.keys()))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    count, loaded = ran.stdout.split(maxsplit=1)
    assert int(count) > 20
    assert loaded.strip() == "[]"


@pytest.fixture
def made_up(tmp_path: Path) -> Path:
    for layer in LAYERS:
        (tmp_path / layer / "inner").mkdir(parents=True)
        (tmp_path / layer / "__init__.py").write_text("import json\n", encoding="utf-8")
    (tmp_path / "placet" / "good.py").write_text("import click\nfrom scorer import assess\n", encoding="utf-8")
    (tmp_path / "webhook" / "good.py").write_text(
        "import flask\nfrom placet import model\nimport scorer\n", encoding="utf-8"
    )
    return tmp_path


def test_a_made_up_tree_without_a_wrong_arrow_passes(made_up: Path) -> None:
    assert find_wrong_arrows(made_up) == []


@pytest.mark.parametrize(
    ("file", "source", "found"),
    [
        ("scorer/a.py", "import placet", "scorer/a.py:1: placet: scorer may not import placet"),
        ("scorer/a.py", "from placet.model import Image", "scorer/a.py:1: placet.model: scorer may not import placet"),
        ("scorer/a.py", "import webhook.app as app", "scorer/a.py:1: webhook.app: scorer may not import webhook"),
        ("scorer/a.py", "import yaml", "scorer/a.py:1: yaml: scorer is pure standard library"),
        ("placet/a.py", "import webhook", "placet/a.py:1: webhook: placet may not import webhook"),
        (
            "placet/inner/a.py",
            "x = 1\nfrom webhook import app",
            "placet/inner/a.py:2: webhook: placet may not import webhook",
        ),
        (
            "placet/a.py",
            "def f():\n    import webhook.app",
            "placet/a.py:2: webhook.app: placet may not import webhook",
        ),
        (
            "placet/a.py",
            "if TYPE_CHECKING:\n    import webhook",
            "placet/a.py:2: webhook: placet may not import webhook",
        ),
        ("placet/a.py", "import json, flask", "placet/a.py:1: flask: HTTP is spoken in webhook alone"),
        ("placet/a.py", "import tests.simulators", "placet/a.py:1: tests.simulators: not part of the product"),
        ("webhook/a.py", "from tools import build", "webhook/a.py:1: tools: not part of the product"),
        ("placet/a.py", "import_module('webhook.app')", "placet/a.py:1: webhook.app: placet may not import webhook"),
        (
            "placet/a.py",
            "importlib.import_module(f'webhook.{x}')",
            "placet/a.py:1: webhook.: placet may not import webhook",
        ),
        ("placet/a.py", "__import__('webhook')", "placet/a.py:1: webhook: placet may not import webhook"),
    ],
)
def test_a_wrong_arrow_in_a_made_up_tree_is_found(made_up: Path, file: str, source: str, found: str) -> None:
    (made_up / file).write_text(source, encoding="utf-8")
    assert find_wrong_arrows(made_up) == [found]


def test_a_relative_import_stays_within_its_layer(made_up: Path) -> None:
    (made_up / "placet" / "inner" / "a.py").write_text("from . import b\nfrom .. import model\n", encoding="utf-8")
    assert find_wrong_arrows(made_up) == []


def test_a_layer_without_files_is_no_pass(tmp_path: Path) -> None:
    assert find_wrong_arrows(tmp_path) == [f"{layer}: has no Python file" for layer in LAYERS]
