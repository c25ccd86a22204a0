"""Who answers in the database's place is found out: it has to show a certificate for its name, by a known authority.

The server of the tests speaks no TLS itself. What stands in front of it here does, as a pooler would; the client is
libpq, and it alone decides whom to believe.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

from placet.audit.location import DatabaseUrl
from placet.audit.log import AuditLog
from placet.audit.stores.postgres.store import PostgresStore
from placet.audit.verify import verify_file
from placet.errors import StoreUnavailable
from tests.e2e.authority import LEEWAY, Authority, CertificateFiles
from tests.simulators.postgres import GATE, PostgresServer
from tests.simulators.tampering import LOG_KEY, ORIGIN, append

NAME: Final = "db.placet.test"
_SSL_REQUEST: Final = struct.pack("!ii", 8, 80877103)
_CHUNK: Final = 65_536


@contextmanager
def front(behind: Path, certificate: CertificateFiles | None) -> Iterator[int]:
    """A port that speaks TLS with this certificate, or none, and passes on what it is told.

    Args:
        behind: the socket of the server.
        certificate: None to refuse TLS, as a server does that has none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if certificate is not None:
        context.load_cert_chain(certificate.certificate, certificate.key)
    listening = socket.create_server(("127.0.0.1", 0))

    def pass_on(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve(client: socket.socket) -> None:
        with suppress(OSError), closing(client):
            if client.recv(len(_SSL_REQUEST), socket.MSG_WAITALL) != _SSL_REQUEST:
                return
            if certificate is None:
                client.sendall(b"N")
                return
            client.sendall(b"S")
            with (
                context.wrap_socket(client, server_side=True) as spoken,
                socket.socket(socket.AF_UNIX) as server,
            ):
                server.connect(str(behind))
                back = threading.Thread(target=pass_on, args=(server, spoken), daemon=True)
                back.start()
                pass_on(spoken, server)
                back.join()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield listening.getsockname()[1]
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()


@pytest.fixture
def record(postgres: PostgresServer) -> Iterator[str]:
    """Name of a database with an empty record."""
    with postgres.own_record() as url:
        yield url.partition("?")[0].rpartition("/")[2]


def _address(record: str, port: int, **said: object) -> DatabaseUrl:
    more = "".join(f"&{name}={value}" for name, value in said.items())
    return DatabaseUrl(f"postgresql://{GATE}@{NAME}:{port}/{record}?hostaddr=127.0.0.1{more}")


def _authority(folder: Path, name: str) -> Authority:
    folder.mkdir()
    return Authority(folder, name)


def test_a_server_with_a_certificate_for_its_name_is_written_to(
    postgres: PostgresServer, record: str, tmp_path: Path
) -> None:
    """Nobody says sslmode: another machine has to show who it is."""
    authority = _authority(tmp_path / "ours", "ours")
    with front(postgres.folder / ".s.PGSQL.5432", authority.server([NAME])) as port:
        address = _address(record, port, sslrootcert=authority.path)
        log = AuditLog.open(address, origin=ORIGIN, key=LOG_KEY)
        append(log, 0)
        log.checkpoint()
        log.close()
        assert verify_file(address, [LOG_KEY.verifier]).verified


@pytest.mark.parametrize(
    ("names", "trusted", "said"),
    [
        (["db.elsewhere.test"], "ours", "does not match host name"),
        (["127.0.0.1"], "ours", "does not match host name"),
        ([NAME], "theirs", "certificate verify failed"),
        ([], "ours", "does not support SSL"),
    ],
    ids=["another name", "an address alone", "another authority", "no certificate"],
)
def test_whoever_can_not_show_that_it_is_the_database_is_told_nothing(
    postgres: PostgresServer, record: str, tmp_path: Path, names: list[str], trusted: str, said: str
) -> None:
    authorities = {name: _authority(tmp_path / name, name) for name in ("ours", "theirs")}
    certificate = authorities["ours"].server(names) if names else None
    with front(postgres.folder / ".s.PGSQL.5432", certificate) as port:
        for more in ({}, {"sslmode": "verify-full"}):
            with pytest.raises(StoreUnavailable) as caught:
                PostgresStore.open(_address(record, port, sslrootcert=authorities[trusted].path, **more), origin=ORIGIN)
            assert said in str(caught.value)
            assert caught.value.code == "store_unavailable"
            assert NAME not in caught.value.shown


def test_an_expired_certificate_is_none(postgres: PostgresServer, record: str, tmp_path: Path) -> None:
    authority = _authority(tmp_path / "ours", "ours")
    expired = authority.server([NAME], lifetime=-LEEWAY / 2)
    with (
        front(postgres.folder / ".s.PGSQL.5432", expired) as port,
        pytest.raises(StoreUnavailable, match="certificate"),
    ):
        PostgresStore.open(_address(record, port, sslrootcert=authority.path), origin=ORIGIN)
