"""The Containerfile: what it copies is there, its commands work in their order, and what they make is placet.

No image is built: that needs a base image, which a test has no right to download. The commands run on this machine
instead, with the image's folders below a temporary one.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.manifests.charts import ROOT

TEXT: Final = (ROOT / "Containerfile").read_text(encoding="utf-8")
TIMEOUT_S: Final = 540


def instructions() -> list[tuple[str, str]]:
    lines = re.sub(r"\\\n", " ", TEXT).splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line and line[0] != "#")]


def test_it_runs_as_nobody_and_starts_placet() -> None:
    last = dict(instructions())
    assert last["USER"] == "65532:65532"
    assert last["ENTRYPOINT"] == '["placet"]'
    assert "--require-hashes" in TEXT


def test_every_copied_path_is_there_and_not_ignored() -> None:
    ignored = (ROOT / ".containerignore").read_text(encoding="utf-8").split()
    assert (ROOT / ".dockerignore").read_text(encoding="utf-8").split() == ignored
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY" and not rest.startswith("--from")]
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists(), source
        assert not any(fnmatch.fnmatch(source.split("/")[0], pattern) for pattern in ignored), source


def test_its_commands_in_their_order_make_a_placet_that_works(tmp_path: Path) -> None:
    build, installed = tmp_path / "build", tmp_path / "opt" / "placet"
    build.mkdir()
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            *sources, target = rest.split()
            for source in sources:
                copy(ROOT / source, build / (source if target == "./" else target))
        elif name == "RUN":
            run(rest.replace("/opt/placet", str(installed)), build)
        elif name == "FROM" and "AS build" not in rest:
            break
    shutil.rmtree(build)  # nothing of it is in the last stage
    placet = installed / "bin" / "placet"
    folder = tmp_path / "gate"
    run(f"{placet} init {folder} --cluster prod-eu-1 --no-passphrase", tmp_path)
    assert "Run the admission webhook" in run(f"{placet} serve --help", tmp_path)
    assert "usage:" in run(f"{installed / 'bin' / 'python'} -m webhook.release_hooks || true", tmp_path)
    found = run(f"{installed / 'bin' / 'python'} -c 'import placet; print(placet.__file__)'", tmp_path)
    assert Path(found.strip()).is_relative_to(installed)


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)


def run(command: str, folder: Path) -> str:
    """A command as the build's shell runs it, with this Python under the name that the base image has it by."""
    if shlex.split(command)[0] == "python":
        command = f"{sys.executable}{command.removeprefix('python')}"
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr
