"""What every test shares: how properties are searched, what may run beside what, and that nothing is skipped."""

from __future__ import annotations

import importlib
import pkgutil
import signal
from pathlib import Path

import pytest
from hypothesis import settings

import placet
import scorer
import webhook
from tests.policies.compiled import compile_open, compile_strict

# A shell starts what runs in the background with Ctrl-C ignored, and so would be every program that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every run, whatever the machine's load: a failure is about the change at hand.
settings.register_profile("steady", deadline=None, derandomize=True)
# `make properties`: other examples every time, and many.
settings.register_profile("wide", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("steady")

# Hypothesis tries constants of all modules that are loaded. One that is first imported between two examples changes
# what is tried, and a property that holds is called flaky: so load all that a command or a test would load later.
for package in (scorer, placet, webhook):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


@pytest.fixture(scope="session")
def own_policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ships and one rule of a team's own, compiled once in a session; not to be written to."""
    return compile_strict(tmp_path_factory.mktemp("own-policies"))


@pytest.fixture(scope="session")
def open_policies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Policies that let everything in, compiled once in a session; not to be written to."""
    return compile_open(tmp_path_factory.mktemp("open-policies"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--crds``: the schemas of the projects themselves for tests/e2e/test_kinds.py, which has its own."""
    parser.addoption("--crds", help="Folder of CustomResourceDefinitions, named as their objects are.")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is a failure: what was not checked must not look as if it had been."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("a test was skipped, and none may be", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
