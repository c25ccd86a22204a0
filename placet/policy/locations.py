"""Where policy packages are kept: a folder, a file, a web server, an OCI registry.

    policies/                            a bundle folder
    file:/placet/policies.tar.gz         a package in a file, such as the one that a ConfigMap is mounted as
    https://host/path/policies.tar.gz    a file that GET gives and PUT takes
    oci://host/repository:tag            an artifact; @sha256:... instead of a tag never moves

``http://`` and ``oci+http://`` are without TLS. A token for a web server is read from PLACET_BUNDLE_TOKEN, credentials
for a registry from the configuration that docker and podman share.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from placet.audit.durable import replace_file
from placet.errors import EngineError, InputError
from placet.policy.package import MAX_PACKAGE_BYTES, render_package, save_package

if TYPE_CHECKING:
    import requests

FILE_SCHEME: Final = "file:"
BUNDLE_TOKEN: Final = "PLACET_BUNDLE_TOKEN"  # noqa: S105 - the name of a variable
TIMEOUT_S: Final = (5.0, 30.0)
"""Seconds to connect, and between two bytes."""
_CHUNK: Final = 64 * 1024
_OCI: Final = re.compile(
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*(?::[0-9]{1,5})?)/"
    r"(?P<name>[a-z0-9]+(?:[._-][a-z0-9]+)*(?:/[a-z0-9]+(?:[._-][a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_NOT_MODIFIED: Final = 304
_WELL: Final = frozenset({200, 201, 202, 204})
_NOT_FOUND: Final = 404
_DENIED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Location:
    """A place of packages.

    Attributes:
        kind: ``folder``, ``file``, ``http`` or ``oci``.
        text: as it was given.
        address: what comes after the scheme; the whole URL where ``kind`` is ``http``.
        plain: whether it is spoken to without TLS.
    """

    kind: str
    text: str
    address: str
    plain: bool = False

    @property
    def moves(self) -> bool:
        """Whether what is there can be another one later."""
        return "@sha256:" not in self.address


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a place gave.

    Attributes:
        raw: the package; None where it is the one that ``tag`` names already.
        tag: names this state of the place; give it back to fetch only what changed. "" where it has none.
    """

    raw: bytes | None
    tag: str


def parse_location(text: str) -> Location:
    """Read where packages are.

    Raises:
        InputError: a scheme that is not known, or a reference that no registry takes.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        if text.startswith(FILE_SCHEME):
            return _parse_file(text)
        return Location("folder", text, text)
    if scheme in {"http", "https"}:
        if not rest or "@" in rest.partition("/")[0]:
            raise InputError(
                "the URL names no server, or holds a password",
                hint=f"A token is read from the environment: {BUNDLE_TOKEN}.",
            )
        return Location("http", text, text, plain=scheme == "http")
    if scheme in {"oci", "oci+http"}:
        found = _OCI.fullmatch(rest)
        if found is None or not (found["tag"] or found["digest"]):
            raise InputError(
                f"{text!r} is no reference of a registry", hint="As in oci://registry.example.org/team/policies:3"
            )
        return Location("oci", text, rest, plain=scheme == "oci+http")
    raise InputError(
        f"no place of policies is called {scheme[:32]!r}", hint="Known: a folder, file:, https:// and oci://."
    )


def _parse_file(text: str) -> Location:
    path = text.removeprefix(FILE_SCHEME)
    if not path.strip():
        raise InputError("file: names no file", hint="As in file:/placet/policies/policies.tar.gz")
    return Location("file", text, path)


def fetch_package(location: Location, *, ca_file: Path | None = None, tag: str = "") -> Fetched:
    """The package that is at a place, unverified.

    Args:
        location: where.
        ca_file: authorities (PEM) of the server's certificate; the system's without it.
        tag: of an earlier answer; nothing is fetched where the place has not changed.

    Raises:
        EngineError: ``bundle_unreachable`` or ``bundle_missing``, or ``bundle_invalid`` where it is no package.
    """
    match location.kind:
        case "folder":
            return Fetched(render_package(Path(location.address)), "")
        case "file":
            return _read_file(location, tag)
        case "http":
            return _get(location, ca_file, tag)
        case _:
            from placet.policy.registry import fetch_artifact  # noqa: PLC0415 - slow to import, and few need it

            return fetch_artifact(location, ca_file=ca_file, tag=tag)


def store_package(raw: bytes, location: Location, *, ca_file: Path | None = None) -> str:
    """Put a package to a place.

    Returns:
        the name under which exactly this one can be fetched again.

    Raises:
        EngineError: ``bundle_unreachable``, or the place does not take it.
        StoreUnavailable: the file can't be written.
        InputError: the place is a fixed one.
    """
    match location.kind:
        case "folder":
            try:
                save_package(raw, Path(location.address))
            except OSError as exc:
                message = f"can't write {location.address}: {exc.strerror or exc}"
                raise EngineError(message, code="bundle_unreachable") from exc
            return location.text
        case "file":
            replace_file(Path(location.address), raw, mode=0o644)
            return location.text
        case "http":
            _put(raw, location, ca_file)
            return location.text
        case _:
            from placet.policy.registry import store_artifact  # noqa: PLC0415 - slow to import, and few need it

            return store_artifact(raw, location, ca_file=ca_file)


def _read_file(location: Location, tag: str) -> Fetched:
    """The content itself says whether it changed: a kubelet replaces the files of a ConfigMap by another folder."""
    try:
        with Path(location.address).open("rb") as file:
            raw = file.read(MAX_PACKAGE_BYTES + 1)
    except FileNotFoundError as exc:
        raise refused(location, _NOT_FOUND) from exc
    except OSError as exc:
        message = f"{location.text} can't be read: {exc.strerror or exc}"
        raise EngineError(message, code="bundle_unreachable", hint="Look at the file and at who may read it.") from exc
    found = sha256(raw).hexdigest()
    return Fetched(None if found == tag else raw, found)


def read_limited(answer: requests.Response, location: Location) -> bytes:
    """The body of a streamed answer.

    Raises:
        EngineError: ``bundle_invalid`` where it is larger than any package.
    """
    content = bytearray()
    for chunk in answer.iter_content(_CHUNK):
        content += chunk
        if len(content) > MAX_PACKAGE_BYTES:
            raise EngineError(
                f"{location.text} gives more than {MAX_PACKAGE_BYTES} bytes, and is no policy package",
                code="bundle_invalid",
            )
    return bytes(content)


def unreachable(location: Location, exc: Exception) -> EngineError:
    """The error for a server that can't be asked; its own words may name more than whoever reads this should see."""
    return EngineError(
        f"{location.text} can't be reached: {type(exc).__name__}",
        code="bundle_unreachable",
        hint="Look at the address, the network and the authority of its certificate.",
    )


def refused(location: Location, status: int) -> EngineError:
    """The error for an answer that is no success."""
    if status == _NOT_FOUND:
        return EngineError(f"there is no policy package at {location.text}", code="bundle_missing")
    hint = f"A web server's token is read from {BUNDLE_TOKEN}, a registry's credentials from docker's configuration."
    return EngineError(
        f"{location.text} answers with status {status}",
        code="bundle_unreachable",
        hint=hint if status in _DENIED else "",
    )


def _headers() -> dict[str, str]:
    """What every call says; a bundle service may send differences to who does not ask for a whole one."""
    token = os.environ.get(BUNDLE_TOKEN, "")
    return {"Prefer": "modes=snapshot", **({"Authorization": f"Bearer {token}"} if token else {})}


def _get(location: Location, ca_file: Path | None, tag: str) -> Fetched:
    import requests  # noqa: PLC0415 - slow to import, and few need it

    headers = {**_headers(), **({"If-None-Match": tag} if tag else {})}
    verify: str | bool = True if ca_file is None else str(ca_file)
    try:
        with requests.get(
            location.address, headers=headers, timeout=TIMEOUT_S, verify=verify, stream=True, allow_redirects=False
        ) as answer:
            if answer.status_code == _NOT_MODIFIED:
                return Fetched(None, tag)
            if answer.status_code != 200:  # noqa: PLR2004 - the one that means a file
                raise refused(location, answer.status_code)
            return Fetched(read_limited(answer, location), answer.headers.get("ETag", ""))
    except (requests.RequestException, OSError) as exc:
        raise unreachable(location, exc) from exc


def _put(raw: bytes, location: Location, ca_file: Path | None) -> None:
    import requests  # noqa: PLC0415 - slow to import, and few need it

    verify: str | bool = True if ca_file is None else str(ca_file)
    headers = {**_headers(), "Content-Type": "application/gzip"}
    try:
        answer = requests.put(
            location.address, data=raw, headers=headers, timeout=TIMEOUT_S, verify=verify, allow_redirects=False
        )
    except (requests.RequestException, OSError) as exc:
        raise unreachable(location, exc) from exc
    if answer.status_code not in _WELL:
        raise refused(location, answer.status_code)
