"""The keyring's source: a YAML file that people edit and review, and that root keys then sign as canonical JSON."""

from __future__ import annotations

import base64
import io
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
from placet.model import ROLES

_HEADER: Final = """\
# The keyring's source. Nothing here counts until root keys have signed it: placet keyring sign.
# Add people with `placet keyring add` and `placet keyring grant`, or by hand; raise the version with
# `placet keyring renew` before each new signing.
"""
_EMPTY: Final = "there are no identities yet"


class _TextTimes(yaml.SafeLoader):
    """Times stay the text that is signed; PyYAML alone would make dates of them."""


_TextTimes.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


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
        InputError: it is not YAML, or not a keyring that would be accepted.
    """
    try:
        return read_keyring_payload(_load(text))
    except FormatError as exc:
        raise InputError(f"{file} is not a keyring: {exc}") from exc
    except yaml.YAMLError as exc:
        raise InputError(f"{file} is not YAML: {' '.join(str(exc).split())[:200]}") from exc


def canonical_payload(text: str, *, file: Path) -> bytes:
    """The bytes that roots sign, of a source that the verifier will accept.

    Raises:
        InputError: it is not such a source.
    """
    parse_source(text, file=file)
    return render_canonical(_load(text))


def _load(text: str) -> Any:
    return yaml.load(text, Loader=_TextTimes)  # noqa: S506 - a SafeLoader


def edit_source(path: Path, change: Callable[[Any], None]) -> None:
    """Change the source in place; comments and order stay.

    Args:
        path: the source.
        change: changes the mapping that it is given.

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
        raise InputError(f"{path} is not YAML: {' '.join(str(exc).split())[:200]}") from exc
    if not isinstance(document, dict) or not isinstance(document.get("identities"), list):
        raise InputError(f"{path} is not a keyring's source", hint="`placet keyring init` makes a new one.")
    change(document)
    buffer = io.StringIO()
    writer.dump(document, buffer)
    if document["identities"]:
        parse_source(buffer.getvalue(), file=path)
    path.write_text(buffer.getvalue(), encoding="utf-8")


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
