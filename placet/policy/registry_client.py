"""The few calls of the OCI distribution API that carry a package, with the ways of logging in that registries ask for.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md and, for tokens,
https://distribution.github.io/distribution/spec/auth/token/. Why no library: ADR 61.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

import requests

from placet.errors import EngineError
from placet.policy.locations import TIMEOUT_S, Location, read_limited, refused, unreachable

_CHALLENGE: Final = re.compile(r'([a-z]+)="([^"]*)"', re.ASCII)
_HELPER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
_HELPER_S: Final = 30
_MAX_TOKEN_CHARS: Final = 16_384
_UNAUTHORIZED: Final = 401
_OK: Final = 200


class RegistryClient:
    """One repository of one registry, for one push or pull.

    Attributes:
        reference: the digest of the location if it has one, else its tag.
    """

    def __init__(self, location: Location, ca_file: Path | None) -> None:
        host, _, rest = location.address.partition("/")
        name, at, digest = rest.partition("@")
        name, _, tag = name.partition(":")
        self.reference = digest if at else tag
        self._location = location
        self._base = f"{'http' if location.plain else 'https'}://{host}/v2/{name}/"
        self._host = host
        self._session = requests.Session()
        self._session.trust_env = True
        self._verify: str | bool = True if ca_file is None else str(ca_file)
        self._authorization = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def get(self, path: str, *, accept: str = "*/*") -> bytes:
        """A manifest or a blob. Registries may send readers of a blob elsewhere; the caller compares the digest.

        Raises:
            EngineError: ``bundle_missing``, ``bundle_unreachable`` or ``bundle_invalid`` where it is too large.
        """
        with self._ask("GET", path, headers={"Accept": accept}, stream=True) as answer:
            if answer.status_code != _OK:
                raise refused(self._location, answer.status_code)
            return read_limited(answer, self._location)

    def put(self, path: str, content: bytes, media_type: str) -> None:
        """Put a manifest.

        Raises:
            EngineError: it is not taken.
        """
        with self._ask("PUT", path, headers={"Content-Type": media_type}, data=content) as answer:
            if not answer.ok:
                raise refused(self._location, answer.status_code)

    def upload(self, content: bytes, digest: str) -> None:
        """Put a blob, unless it is there.

        Raises:
            EngineError: it is not taken.
        """
        with self._ask("HEAD", f"blobs/{digest}") as answer:
            if answer.status_code == _OK:
                return
        with self._ask("POST", "blobs/uploads/") as answer:
            if not answer.ok or "Location" not in answer.headers:
                raise refused(self._location, answer.status_code)
            where = urljoin(answer.url, answer.headers["Location"])
        where += ("&" if "?" in where else "?") + f"digest={digest}"
        headers = {"Content-Type": "application/octet-stream"}
        with self._ask("PUT", where, headers=headers, data=content) as answer:
            if not answer.ok:
                raise refused(self._location, answer.status_code)

    @contextmanager
    def _ask(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
    ) -> Iterator[requests.Response]:
        url = urljoin(self._base, path)
        try:
            answer = self._send(method, url, headers or {}, options)
            if answer.status_code == _UNAUTHORIZED:
                challenge = answer.headers.get("WWW-Authenticate", "")
                answer.close()
                self._authorization = self._answer_challenge(challenge)
                answer = self._send(method, url, headers or {}, options)
            with answer:
                yield answer
        except (requests.RequestException, OSError) as exc:
            raise unreachable(self._location, exc) from exc

    def _send(self, method: str, url: str, headers: dict[str, str], options: dict[str, Any]) -> requests.Response:
        # Credentials go to the registry itself alone: an upload may be sent to another host, as may a reader.
        own = urlsplit(url).netloc == self._host
        signed = {"Authorization": self._authorization} if own and self._authorization else {}
        answer = self._session.request(
            method, url, headers={**headers, **signed}, timeout=TIMEOUT_S, verify=self._verify, **options
        )
        if not self._location.plain and urlsplit(answer.url).scheme != "https":
            answer.close()
            raise refused(self._location, answer.status_code)
        return answer

    def _answer_challenge(self, challenge: str) -> str:
        """What to send as Authorization.

        Raises:
            EngineError: ``bundle_unreachable``: nothing that is known here is asked for, or it is denied.
        """
        scheme, _, rest = challenge.partition(" ")
        secret = find_credentials(self._host)
        if scheme.lower() == "basic" and secret:
            return f"Basic {secret}"
        if scheme.lower() != "bearer":
            raise refused(self._location, _UNAUTHORIZED)
        asked = dict(_CHALLENGE.findall(rest))
        realm = urlsplit(asked.get("realm", ""))
        # Whoever runs the registry names the realm: never over a line that anybody can read, unless this one is.
        if realm.scheme != "https" and not (self._location.plain and realm.scheme == "http"):
            raise refused(self._location, _UNAUTHORIZED)
        wanted = {name: asked[name] for name in ("service", "scope") if name in asked}
        headers = {"Authorization": f"Basic {secret}"} if secret else {}
        with self._session.get(
            asked["realm"], params=wanted, headers=headers, timeout=TIMEOUT_S, verify=self._verify, stream=True
        ) as answer:
            if answer.status_code != _OK:
                raise refused(self._location, answer.status_code)
            return f"Bearer {_read_token(read_limited(answer, self._location), self._location)}"


def _read_token(raw: bytes, location: Location) -> str:
    try:
        given = json.loads(raw)
        token = given.get("token") or given.get("access_token")
    except (ValueError, AttributeError, RecursionError):
        token = None
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or len(token) > _MAX_TOKEN_CHARS:
        raise EngineError(f"{location.text}: what gives tokens gives none", code="bundle_unreachable")
    return token


def find_credentials(host: str) -> str:
    """base64 of ``user:password`` for a registry, as ``docker login`` left it; "" where there is none.

    Read from ``$DOCKER_CONFIG/config.json``, ``~/.docker/config.json`` by default, and from the credential helpers
    that it names.

    Raises:
        EngineError: ``bundle_unreachable``: a helper that is named does not answer.
    """
    folder = os.environ.get("DOCKER_CONFIG")
    file = (Path(folder) if folder else Path.home() / ".docker") / "config.json"
    try:
        config = json.loads(file.read_bytes())
        helper = config.get("credHelpers", {}).get(host) or config.get("credsStore")
        secret = config.get("auths", {}).get(host, {}).get("auth", "")
    except (OSError, ValueError, AttributeError, RecursionError):
        return ""
    if isinstance(secret, str) and secret:
        return secret
    return _ask_helper(helper, host) if isinstance(helper, str) and _HELPER.fullmatch(helper) else ""


def _ask_helper(helper: str, host: str) -> str:
    program = shutil.which(f"docker-credential-{helper}")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "get"], input=host.encode(), capture_output=True, timeout=_HELPER_S, check=False
        )
        if done.returncode != 0:
            return ""  # it knows none for this host
        given = json.loads(done.stdout)
        return base64.b64encode(f"{given['Username']}:{given['Secret']}".encode()).decode()
    except (OSError, ValueError, KeyError, TypeError, subprocess.TimeoutExpired) as exc:
        message = f"docker-credential-{helper} does not answer: {type(exc).__name__}"
        raise EngineError(message, code="bundle_unreachable") from exc
