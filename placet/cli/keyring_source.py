"""The keyring's source: a YAML file that people edit and review, and that root keys then sign as canonical JSON."""

from __future__ import annotations

import base64
import copy
import io
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from placet.approvals.identities import KEYRING_SCHEMA, KeyringPayload, read_keyring_payload
from placet.approvals.keys import PublicKey
from placet.approvals.times import render_time
from placet.canonical import render_canonical
from placet.errors import FormatError, InputError
from placet.kubeyaml import Document, UnreadableError, parse_documents
from placet.model import ROLES
from placet.settings_file import nearest_line

_HEADER: Final = """\
# The keyring's source. Nothing here counts until root keys have signed it: placet keyring sign.
# Add people with `placet keyring add` and `placet keyring grant`, or by hand; raise the version with
# `placet keyring renew` before each new signing.
"""
_EMPTY: Final = "there are no identities yet"


_PATH: Final = re.compile(r"keyring((?:\.\w+|\[\d+\])*)(?: has an unknown field '(\w+)')?")
_STEP: Final = re.compile(r"\.(\w+)|\[(\d+)\]")


def render_new_source(*, now: datetime, expires: datetime) -> str:
    """The text of a source without identities."""
    body = {
        "schema": KEYRING_SCHEMA,
        "version": 1,
        "issued": render_time(now),
        "expires": render_time(expires),
        "thresholds": dict.fromkeys(ROLES, 1),
        "identities": [],
        "revokedApprovals": [],
    }
    return render_source(body)


def render_source(body: Mapping[str, Any]) -> str:
    """The text of a source that has this content."""
    return _HEADER + yaml.safe_dump(dict(body), sort_keys=False)


def load_source_text(path: Path) -> str:
    """The source's text.

    Raises:
        InputError: it can't be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InputError(f"can't read {path}", hint="`placet keyring init` makes a new one.") from exc


def parse_source(text: str, *, file: Path) -> KeyringPayload:
    """The source as the verifier will read it.

    Raises:
        InputError: it is not YAML, or not a keyring that would be accepted; with file and line.
    """
    document = _load(text, file=file)
    try:
        return read_keyring_payload(document.value)
    except FormatError as exc:
        line = nearest_line(document.lines, _steps(str(exc)))
        raise InputError(f"{file}:{line}: not a keyring that would count: {exc}") from exc


def canonical_payload(text: str, *, file: Path) -> bytes:
    """The bytes that roots sign, of a source that the verifier will accept.

    Raises:
        InputError: it is not such a source.
    """
    parse_source(text, file=file)
    return render_canonical(_load(text, file=file).value)


def _load(text: str, *, file: Path) -> Document:
    """The one document, read as manifests are: a key twice is an error, and times stay the text that is signed."""
    try:
        documents = parse_documents(text.encode("utf-8"))
    except UnreadableError as exc:
        raise InputError(f"{file}:{exc.line}: not YAML that placet takes: {exc}") from exc
    if len(documents) != 1:
        raise InputError(f"{file}: {len(documents)} documents, and not one", hint="`placet keyring init` makes one.")
    return documents[0]


def _steps(message: str) -> tuple[str | int, ...]:
    """Where a message about a keyring says that the fault is: ``keyring.identities[0].person is missing``."""
    found = _PATH.match(message)
    if found is None:
        return ()
    steps: tuple[str | int, ...] = tuple(name or int(index) for name, index in _STEP.findall(found[1]))
    return (*steps, found[2]) if found[2] else steps


def edit_source(path: Path, change: Callable[[Any], None]) -> bool:
    """Change the source in place; comments and order stay.

    Args:
        path: the source.
        change: changes the mapping that it is given.

    Returns:
        Whether it says anything else than before; the file is not written where it does not.

    Raises:
        InputError: the file can't be read or written, or the result is not a keyring.
    """
    writer = YAML()
    writer.preserve_quotes = True
    writer.width = 4096
    writer.indent(mapping=2, sequence=2, offset=0)
    try:
        document = writer.load(load_source_text(path))
    except YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise InputError(f"{path}{line}: not YAML: {getattr(exc, 'problem', None) or type(exc).__name__}") from exc
    if not isinstance(document, dict) or not isinstance(document.get("identities"), list):
        raise InputError(f"{path} is not a keyring's source", hint="`placet keyring init` makes a new one.")
    before = copy.deepcopy(document)
    change(document)
    if document == before:
        return False
    buffer = io.StringIO()
    writer.dump(document, buffer)
    if document["identities"]:
        parse_source(buffer.getvalue(), file=path)
    path.write_text(buffer.getvalue(), encoding="utf-8")
    return True


def add_right(document: Any, identity: str, given: Mapping[str, Any]) -> None:
    """Let an identity approve or attest what is given, unless it may on exactly these terms.

    Args:
        document: the source's mapping; it is changed.
        identity: id of the identity.
        given: a grant, which has a role, or an attestation; lists count without their order.

    Raises:
        InputError: there is no such identity.
    """
    rights = find_identity(document, identity).setdefault("grants" if "role" in given else "attests", [])
    if _terms(given) not in [_terms(entry) for entry in rights if isinstance(entry, Mapping)]:
        rights.append(dict(given))


def _terms(right: Mapping[str, Any]) -> dict[str, Any]:
    return {name: sorted(map(str, value)) if isinstance(value, list) else value for name, value in right.items()}


def find_identity(document: Any, identity: str) -> Any:
    """An identity's mapping in the source.

    Raises:
        InputError: there is none of that id.
    """
    for entry in document["identities"]:
        if isinstance(entry, dict) and entry.get("id") == identity:
            return entry
    known = ", ".join(str(entry.get("id")) for entry in document["identities"] if isinstance(entry, dict))
    raise InputError(
        f"the keyring has no identity {identity}", hint=f"Known: {known}." if known else _EMPTY.capitalize()
    )


def key_entry(key: PublicKey, *, valid_from: datetime, valid_until: datetime) -> dict[str, str]:
    """A key as the source writes it."""
    return {
        "fingerprint": key.fingerprint,
        "scheme": key.scheme,
        "publicKey": base64.b64encode(key.spki).decode("ascii"),
        "validFrom": render_time(valid_from),
        "validUntil": render_time(valid_until),
    }
