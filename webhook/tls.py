"""The serving certificate and the authorities of callers: checked, watched on disk, swapped as one.

A connection lives with the ``SSLContext`` that it was accepted with, and contexts are never changed once they are in
use: replacing one can neither break a handshake nor cut a connection.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import logging
import ssl
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from placet.config_server import ServerConfig
from placet.errors import ConfigError

_LOG: Final = logging.getLogger("placet.webhook.tls")
_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
# TLS 1.2 with forward secrecy and authenticated encryption, or not at all (RFC 9325, section 4.2).
_CIPHERS_12: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_READ_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Material:
    """One consistent reading of the files.

    Attributes:
        digest: SHA-256 over all of them; the key itself is not kept.
        context: made from exactly these.
        not_before: the serving chain is not valid before, aware UTC.
        not_after: nor after; the earliest end of the chain.
        ca_not_after: when the last of the callers' authorities ends, None without any.
    """

    digest: bytes
    context: ssl.SSLContext
    not_before: datetime
    not_after: datetime
    ca_not_after: datetime | None


class Certificates:
    """The material in force.

    Attributes:
        context: for the next connection.
        last_problem: why the newest files are not in force, "" when they are.

    Example::

        certificates = Certificates.load(config.server)
        certificates.refresh()  # True when other files are in force from now on
    """

    def __init__(self, settings: ServerConfig, material: Material, *, events: Counter[str]) -> None:
        self._settings = settings
        self._material = material
        self._events = events
        self._suspect = b""
        self._reported = ""
        self._refreshing = threading.Lock()
        self.last_problem = ""

    @classmethod
    def load(cls, settings: ServerConfig, *, events: Counter[str] | None = None) -> Self:
        """Read the files for the first time.

        Args:
            settings: names the files.
            events: where reloads are counted.

        Raises:
            ConfigError: missing, unreadable, not PEM, not belonging together, or expired.
        """
        material = load_material(settings)
        moment = datetime.now(UTC)
        if moment >= material.not_after:
            raise ConfigError(
                f"server: {settings.tls_cert} expired at {_shown(material.not_after)}",
                code="certificate_expired",
                hint="Renew it, or mend this machine's clock.",
            )
        if material.ca_not_after is not None and moment >= material.ca_not_after:
            raise ConfigError(
                f"server: every authority in {settings.client_ca} has expired",
                code="client_ca_expired",
                hint="Put the authority of the API server's present client certificate there.",
            )
        return cls(settings, material, events=Counter() if events is None else events)

    @property
    def context(self) -> ssl.SSLContext:
        """What the next connection is accepted with; another object after each change of the files."""
        return self._material.context

    def refresh(self) -> bool:
        """Read the files again; whether others are in force now. What can't be used leaves the old ones in force.

        A pair that does not fit is reported when it is found so twice: files that are written one after the other do
        not fit for a moment. It blocks for some milliseconds; call it from a thread.
        """
        with self._refreshing:
            try:
                digest = _digest(_read_files(self._settings))
                if digest == self._material.digest:
                    self._settle("")
                    return False
                material = load_material(self._settings)
            except ConfigError as error:
                self._suspect_again(error)
                return False
            if datetime.now(UTC) >= material.not_after:
                self._settle(f"certificate_expired: the new {self._settings.tls_cert} has expired already")
                return False
            self._material = material
            self._settle("")
            self._events["certificate_reloaded"] += 1
            _LOG.info("certificate reloaded, valid until %s", _shown(material.not_after))
            return True

    def _suspect_again(self, error: ConfigError) -> None:
        """Report what was found broken in the same way before."""
        seen = hashlib.sha256(str(error).encode()).digest()
        if seen == self._suspect:
            self._settle(f"{error.code}: {error}")
        self._suspect = seen

    def _settle(self, problem: str) -> None:
        self.last_problem = problem
        if not problem:
            self._suspect = b""
        elif problem != self._reported:
            self._events["certificate_reload_failed"] += 1
            _LOG.error("the new certificate is not used, the old one still is: %s", problem)
        self._reported = problem

    def find_problems(self, moment: datetime) -> dict[str, str]:
        """Part -> code and reason, empty while everything in force is valid. A rejected new pair is none."""
        material, problems = self._material, {}
        if moment >= material.not_after:
            problems["certificate"] = f"certificate_expired: it ended at {_shown(material.not_after)}"
        elif moment < material.not_before:
            problems["certificate"] = (
                f"certificate_not_yet_valid: it begins at {_shown(material.not_before)}; check the clock"
            )
        if problems and self.last_problem:
            problems["certificate"] += f"; its replacement is not used: {self.last_problem}"
        if material.ca_not_after is not None and moment >= material.ca_not_after:
            problems["client_ca"] = f"client_ca_expired: the last authority ended at {_shown(material.ca_not_after)}"
        return problems

    def expiries(self) -> dict[str, datetime]:
        """Kind (``serving``, and ``client_ca`` where there is one) -> the end of its validity."""
        material = self._material
        ends = {"serving": material.not_after}
        if material.ca_not_after is not None:
            ends["client_ca"] = material.ca_not_after
        return ends


def load_material(settings: ServerConfig) -> Material:
    """Read, check and load the files as one: what was checked is what is in the context.

    Raises:
        ConfigError: they can't be used, or went on changing while they were read.
    """
    for _ in range(_READ_ATTEMPTS):
        files = _read_files(settings)
        chain = _parse_chain(files["tls_cert"], settings.tls_cert)
        _verify_pair(chain[0], files["tls_key"], settings)
        authorities = _parse_chain(files["client_ca"], settings.client_ca) if "client_ca" in files else []
        context = _open_context(settings, files)
        # OpenSSL takes a path, not bytes: only when nothing changed meanwhile did it read what was checked.
        if _read_files(settings) == files:
            return Material(
                digest=_digest(files),
                context=context,
                not_before=max(one.not_valid_before_utc for one in chain),
                not_after=min(one.not_valid_after_utc for one in chain),
                ca_not_after=max((one.not_valid_after_utc for one in authorities), default=None),
            )
    raise ConfigError("server: the certificate files change all the time", code="certificate_unreadable")


def _read_files(settings: ServerConfig) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for name, path in (
        ("tls_cert", settings.tls_cert),
        ("tls_key", settings.tls_key),
        ("client_ca", settings.client_ca),
    ):
        if path is None:
            continue
        try:
            files[name] = path.read_bytes()
        except FileNotFoundError as exc:
            raise ConfigError(f"server: {path} does not exist", code="certificate_missing") from exc
        except OSError as exc:
            raise ConfigError(f"server: {path} can't be read: {exc.strerror}", code="certificate_unreadable") from exc
    if "tls_cert" not in files or "tls_key" not in files:
        raise ConfigError("server: tls_cert and tls_key are missing", code="certificate_missing")
    return files


def _digest(files: dict[str, bytes]) -> bytes:
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in files.values())).digest()


def _parse_chain(pem: bytes, path: Path | None) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as exc:
        raise ConfigError(
            f"server: {path} is not a PEM certificate", code="certificate_invalid", hint="It starts with -----BEGIN."
        ) from exc


def _verify_pair(leaf: x509.Certificate, key_pem: bytes, settings: ServerConfig) -> None:
    try:
        key: Any = load_pem_private_key(key_pem, password=None)
    except TypeError as exc:
        raise ConfigError(
            f"server: {settings.tls_key} is encrypted",
            code="certificate_key_invalid",
            hint="A server that restarts by itself can't ask for a passphrase: store the key without one, as a Secret.",
        ) from exc
    except ValueError as exc:
        raise ConfigError(
            f"server: {settings.tls_key} is not a PEM private key", code="certificate_key_invalid"
        ) from exc
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise ConfigError(
            f"server: {settings.tls_key} is not the key of {settings.tls_cert}",
            code="certificate_mismatch",
            hint="The server's own certificate comes first in the file, its chain after it.",
        )


def _open_context(settings: ServerConfig, files: dict[str, bytes]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[settings.tls_minimum]
    context.set_ciphers(_CIPHERS_12)
    context.set_alpn_protocols(["http/1.1"])  # the API server would speak HTTP/2 to a webhook on localhost
    # Sessions are not resumed: a resumed one would carry a caller who was verified under earlier authorities.
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.num_tickets = 0
    try:
        context.load_cert_chain(str(settings.tls_cert), str(settings.tls_key), password="")
        if "client_ca" in files:
            context.load_verify_locations(cadata=files["client_ca"].decode("ascii"))
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # an intermediate authority may be named alone
            # Optional, because a kubelet's probe has no certificate: the application refuses reviews without one.
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, UnicodeDecodeError, ValueError) as exc:
        reason = getattr(exc, "reason", None) or getattr(exc, "strerror", None) or "not usable"
        raise ConfigError(
            f"server: {settings.tls_cert} and {settings.tls_key}: {reason}", code="certificate_invalid"
        ) from exc
    return context


def find_caller(peer: dict[str, Any] | None) -> tuple[tuple[str, ...], float]:
    """The names in a verified client certificate, and when it ends.

    Args:
        peer: as ``SSLObject.getpeercert()`` gives it after verification; None or empty without a certificate.

    Returns:
        common name, where there is exactly one, and DNS names; the end of validity in seconds since the epoch. No names
        and 0.0 without a certificate.
    """
    if not peer:
        return (), 0.0
    common = [value for part in peer.get("subject", ()) for key, value in part if key == "commonName"]
    names = [value for kind, value in peer.get("subjectAltName", ()) if kind == "DNS"]
    if len(common) == 1:
        names.insert(0, common[0])
    return tuple(dict.fromkeys(names)), float(ssl.cert_time_to_seconds(peer["notAfter"]))


def find_sans(peer: dict[str, Any] | None) -> tuple[str, ...]:
    """The alternative names of a verified client certificate, each with its kind, so that none passes for another.

    Args:
        peer: as for :func:`find_caller`.

    Returns:
        ``DNS:<name>``, ``URI:<uri>`` and ``IP:<address>``, addresses in the one short form (RFC 5952).
    """
    found: list[str] = []
    for kind, value in (peer or {}).get("subjectAltName", ()):
        if kind in {"DNS", "URI"}:
            found.append(f"{kind}:{value}")
        elif kind == "IP Address":
            with contextlib.suppress(ValueError):  # "<invalid>": bytes that are no address name nobody
                found.append(f"IP:{ipaddress.ip_address(value.strip())}")
    return tuple(dict.fromkeys(found))


def _shown(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
