"""Certificates before a port is opened, and what is said of them while they are in use."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from placet.errors import ConfigError
from tests.e2e.authority import Authority
from tests.simulators.serving import Apart, install, read_reply, request, server_settings, serving
from webhook.settings import Access
from webhook.tls import Certificates, find_caller, find_sans


def now() -> dt.datetime:
    """Read when a test runs: certificates are made then, minutes after this module is read."""
    return dt.datetime.now(dt.UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path, "certificates")
    install(tmp_path, made.server(["localhost"]))
    return made


def encrypt(folder: Path) -> None:
    file = folder / "tls.key"
    key = serialization.load_pem_private_key(file.read_bytes(), None)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    file.write_bytes(key.private_bytes(*form, serialization.BestAvailableEncryption(b"secret")))


@pytest.mark.parametrize(
    ("break_it", "code", "words"),
    [
        (lambda folder, _: (folder / "tls.crt").unlink(), "certificate_missing", "tls.crt does not exist"),
        (lambda folder, _: (folder / "tls.key").unlink(), "certificate_missing", "tls.key does not exist"),
        (lambda folder, _: (folder / "tls.crt").write_text("?"), "certificate_invalid", "tls.crt is not a PEM"),
        (lambda folder, _: (folder / "tls.key").write_text("?"), "certificate_key_invalid", "tls.key is not a PEM"),
        (lambda folder, _: encrypt(folder), "certificate_key_invalid", "tls.key is encrypted"),
        (
            lambda folder, made: (folder / "tls.key").write_bytes(made.server(["localhost"]).key.read_bytes()),
            "certificate_mismatch",
            "tls.key is not the key of",
        ),
        (
            lambda folder, made: install(folder, made.server(["localhost"], lifetime=dt.timedelta(minutes=-1))),
            "certificate_expired",
            "tls.crt expired at",
        ),
        (lambda folder, _: (folder / "ca.crt").write_text("?"), "certificate_invalid", "ca.crt is not a PEM"),
        (lambda folder, _: (folder / "ca.crt").unlink(), "certificate_missing", "ca.crt does not exist"),
    ],
    ids=[
        "no certificate",
        "no key",
        "odd certificate",
        "odd key",
        "encrypted",
        "mismatch",
        "expired",
        "odd ca",
        "no ca",
    ],
)
def test_what_can_not_be_used_is_said_before_a_port_is_opened(
    tmp_path: Path, authority: Authority, break_it: Callable[[Path, Authority], object], code: str, words: str
) -> None:
    settings = server_settings(tmp_path, client_ca=tmp_path / "ca.crt", client_names=("x",))
    Certificates.load(settings)
    break_it(tmp_path, authority)
    with pytest.raises(ConfigError) as caught:
        Certificates.load(settings)
    assert (caught.value.code, words in str(caught.value)) == (code, True)


def test_unreadable_files_are_named(tmp_path: Path, authority: Authority) -> None:
    (tmp_path / "tls.crt").unlink()
    (tmp_path / "tls.crt").mkdir()
    with pytest.raises(ConfigError, match=r"tls\.crt can't be read"):
        Certificates.load(server_settings(tmp_path))


def test_a_certificate_that_ends_while_it_serves_is_a_problem_with_its_own_code(
    tmp_path: Path, authority: Authority
) -> None:
    settings = server_settings(tmp_path, client_ca=tmp_path / "ca.crt", client_names=("x",))
    certificates = Certificates.load(settings)
    assert certificates.find_problems(now()) == {}
    ends = certificates.expiries()
    assert set(ends) == {"serving", "client_ca"}
    later = certificates.find_problems(max(ends.values()))
    assert later["certificate"].startswith("certificate_expired: ")
    assert later["client_ca"].startswith("client_ca_expired: ")
    early = certificates.find_problems(now() - dt.timedelta(days=30))
    assert early["certificate"].startswith("certificate_not_yet_valid: ")


def test_an_expired_certificate_says_why_its_replacement_is_not_used(tmp_path: Path, authority: Authority) -> None:
    certificates = Certificates.load(server_settings(tmp_path))
    (tmp_path / "tls.key").write_text("?")
    assert not certificates.refresh()
    assert certificates.last_problem == ""  # it may be in the middle of being written
    assert not certificates.refresh()
    assert "certificate_key_invalid" in certificates.last_problem
    said = certificates.find_problems(now() + dt.timedelta(days=400))["certificate"]
    assert "certificate_key_invalid" in said


def test_a_change_is_noticed_by_content_and_not_by_time(tmp_path: Path, authority: Authority) -> None:
    certificates = Certificates.load(server_settings(tmp_path))
    before, context = (tmp_path / "tls.crt").stat(), certificates.context
    fresh = authority.server(["localhost"])
    for source, name in ((fresh.certificate, "tls.crt"), (fresh.key, "tls.key")):
        (tmp_path / name).write_bytes(source.read_bytes())
        os.utime(tmp_path / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert certificates.refresh()
    assert certificates.context is not context
    context = certificates.context
    os.utime(tmp_path / "tls.crt")
    assert not certificates.refresh()
    assert certificates.context is context


def test_the_key_is_not_kept_in_words(tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tls.key").write_text("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigError) as caught:
        Certificates.load(server_settings(tmp_path))
    assert "c2VjcmV0" not in f"{caught.value} {caught.value.hint} {caplog.text}"


@pytest.mark.parametrize(
    ("minimum", "offered", "spoken"),
    [("1.3", "1.2", ""), ("1.2", "1.2", "TLSv1.2"), ("1.2", "1.3", "TLSv1.3"), ("1.3", "1.3", "TLSv1.3")],
)
def test_the_oldest_tls_is_the_one_of_the_settings(tmp_path: Path, minimum: str, offered: str, spoken: str) -> None:
    with serving(tmp_path, tls_minimum=minimum) as served:
        context = served.context()
        context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[offered]
        served.context = lambda client=None: context  # type: ignore[method-assign]
        if not spoken:
            with pytest.raises(ssl.SSLError):
                served.connect()
            return
        with served.connect() as stream:
            assert stream.version() == spoken
            stream.sendall(request())
            assert read_reply(stream).status == 200


@pytest.mark.parametrize("ciphers", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA"])
def test_tls_1_2_has_forward_secrecy_and_authenticated_encryption(tmp_path: Path, ciphers: str) -> None:
    with serving(tmp_path, tls_minimum="1.2") as served:
        context = served.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        served.context = lambda client=None: context  # type: ignore[method-assign]
        with pytest.raises((ssl.SSLError, ConnectionError)):
            served.connect()


def test_http_1_1_is_the_only_protocol(tmp_path: Path) -> None:
    with serving(tmp_path) as served:
        context = served.context()
        context.set_alpn_protocols(["h2", "http/1.1"])
        served.context = lambda client=None: context  # type: ignore[method-assign]
        with served.connect() as stream:
            assert stream.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    ("peer", "names"),
    [
        (None, ()),
        ({}, ()),
        ({"subject": ((("commonName", "a"),),), "notAfter": "Nov 22 00:00:00 2030 GMT"}, ("a",)),
        (
            {
                "subject": ((("organizationName", "o"),), (("commonName", "a"),)),
                "subjectAltName": (("DNS", "b"), ("IP Address", "127.0.0.1"), ("DNS", "a"), ("email", "c")),
                "notAfter": "Nov 22 00:00:00 2030 GMT",
            },
            ("a", "b"),
        ),
        (  # which of two would be meant?
            {"subject": ((("commonName", "a"),), (("commonName", "b"),)), "notAfter": "Nov 22 00:00:00 2030 GMT"},
            (),
        ),
    ],
)
def test_names_of_a_caller(peer: dict[str, object] | None, names: tuple[str, ...]) -> None:
    assert find_caller(peer)[0] == names


def test_alternative_names_of_a_caller_have_their_kind() -> None:
    peer = {
        "subject": ((("commonName", "URI:spiffe://cluster/apiserver"),),),
        "subjectAltName": (
            ("DNS", "apiserver.local"),
            ("URI", "spiffe://cluster/apiserver"),
            ("IP Address", "10.0.0.1"),
            ("IP Address", "0:0:0:0:0:0:0:1\n"),
            ("IP Address", "<invalid>"),
            ("email", "a@example.org"),
            ("DirName", ((("commonName", "b"),),)),
        ),
        "notAfter": "Nov 22 00:00:00 2030 GMT",
    }
    assert find_sans(peer) == ("DNS:apiserver.local", "URI:spiffe://cluster/apiserver", "IP:10.0.0.1", "IP:::1")
    assert find_sans(None) == find_sans({}) == ()


@pytest.mark.parametrize(
    ("common", "sans", "status"),
    [
        ("kube-apiserver", [x509.UniformResourceIdentifier("spiffe://cluster/apiserver")], 200),
        ("kube-apiserver", [x509.DNSName("other"), x509.IPAddress(ipaddress.ip_address("fd00::1"))], 200),
        ("kube-apiserver", [], 403),
        ("kube-apiserver", [x509.DNSName("spiffe://cluster/apiserver")], 403),
        ("kube-apiserver", [x509.UniformResourceIdentifier("spiffe://cluster/apiserver/")], 403),
        ("kube-apiserver", [x509.IPAddress(ipaddress.ip_address("fd00::2"))], 403),
        ("URI:spiffe://cluster/apiserver", [x509.DNSName("kube-apiserver")], 403),
        ("somebody", [x509.UniformResourceIdentifier("spiffe://cluster/apiserver")], 403),
    ],
)
def test_common_name_and_alternative_name_are_both_held_against_the_certificate(
    tmp_path: Path, common: str, sans: list[x509.GeneralName], status: int
) -> None:
    (tmp_path / "callers").mkdir()
    callers = Authority(tmp_path / "callers", "callers")
    access = Access(
        names=frozenset({"kube-apiserver"}), sans=frozenset({"URI:spiffe://cluster/apiserver", "IP:fd00::1"})
    )
    with (
        serving(tmp_path, access=access, client_ca=callers.path) as served,
        served.connect(callers.client(common, sans=sans)) as stream,
    ):
        stream.sendall(request())
        assert read_reply(stream).status == status


def test_a_callers_name_counts_until_its_certificate_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "callers").mkdir()
    callers = Authority(tmp_path / "callers", "callers")
    (tmp_path / "clients.crt").write_bytes(callers.pem)
    client = callers.client("kube-apiserver")
    monkeypatch.setattr("webhook.server_connection.find_caller", lambda peer: (find_caller(peer)[0], 1.0))
    with (
        serving(tmp_path, client_ca=tmp_path / "clients.crt", client_names=("kube-apiserver",)) as served,
        served.connect(client) as stream,
    ):
        stream.sendall(request())
        assert read_reply(stream).heard["callers"] == ["unverified"]


def test_certificate_of_another_purpose_does_not_open_a_connection(tmp_path: Path) -> None:
    (tmp_path / "callers").mkdir()
    callers = Authority(tmp_path / "callers", "callers")
    (tmp_path / "clients.crt").write_bytes(callers.pem)
    with (
        serving(tmp_path, client_ca=tmp_path / "clients.crt", client_names=("x",)) as served,
        served.connect(callers.server(["x"])) as stream,  # TLS 1.3 tells the caller with the first answer
    ):
        with contextlib.suppress(OSError):
            stream.sendall(request())
        with pytest.raises((ssl.SSLError, ConnectionError)):
            read_reply(stream)


def test_a_process_with_an_expired_certificate_does_not_start(tmp_path: Path) -> None:
    class Short(Authority):
        def server(self, hosts: object, *, lifetime: dt.timedelta = dt.timedelta(0)) -> object:  # type: ignore[override]
            return super().server(["localhost"], lifetime=dt.timedelta(minutes=-1))

    with pytest.raises(AssertionError, match="expired at"):
        Apart(tmp_path, Short(tmp_path, "short"))
