"""A keyring in each of its forms; nothing here verifies it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from placet.approvals.envelope import Envelope
from placet.approvals.identities import KeyringPayload
from placet.approvals.keyring import MAX_KEYRING_BYTES
from placet.approvals.times import render_time
from placet.canonical import parse_json
from placet.cli.output import print_result, print_table, safe, say

SCHEMA: Final = "placet.dev/signed-keyring/v1"
_HEAD: Final = ("IDENTITY", "PERSON", "MAY", "UP TO", "ENVIRONMENTS", "MODELS", "NAMESPACES", "KEY", "UNTIL")
_SHORT: Final = 12


def print_keyring(envelope: Envelope, content: KeyringPayload, form: str) -> None:
    """Write a keyring to stdout.

    Args:
        envelope: as it was read.
        content: its payload.
        form: ``text``, ``table``, ``json`` or ``yaml``.
    """
    match form:
        case "text":
            for line in _describe(content):
                click.echo(line)
            for signature in envelope.signatures:
                click.echo(f"signature    {safe(signature.keyid)}")
        case "table":
            print_table(_HEAD, list(_rows(content)))
        case _:
            value = parse_json(envelope.payload, max_bytes=MAX_KEYRING_BYTES, max_depth=8)
            signatures = [one.keyid for one in envelope.signatures]
            print_result({"schema": SCHEMA, "keyring": value, "signatures": signatures}, form)
            return
    say("not verified here: placet keyring verify")


def _describe(content: KeyringPayload) -> list[str]:
    lines = [
        f"version      {content.version}",
        f"issued       {render_time(content.issued)}",
        f"expires      {render_time(content.expires)}",
        f"thresholds   {', '.join(f'{role} {number}' for role, number in content.thresholds.items())}",
        f"revoked      {len(content.revoked_approvals)} approvals",
    ]
    for identity in content.identities:
        lines.append(f"\n{safe(identity.id)}  ({safe(identity.person)})")
        for key in identity.keys:
            ended = f", {key.revocation} {render_time(key.revoked_at)}" if key.revoked_at is not None else ""
            until = f"{render_time(key.valid_from)} to {render_time(key.valid_until)}{ended}"
            lines.append(f"  key      {key.public_key.fingerprint}  {key.public_key.scheme}, {until}")
        lines.extend(
            f"  approves {grant.role} up to {grant.max_risk} in {safe(', '.join(grant.environments))}"
            f"; models {safe(', '.join(grant.models))}; namespaces {safe(', '.join(grant.namespaces))}"
            for grant in identity.grants
        )
        lines.extend(
            f"  attests  {', '.join(one.facts)}; models {safe(', '.join(one.models))}"
            f"; environments {safe(', '.join(one.environments or ('*',)))}"
            for one in identity.attests
        )
    return lines


def _rows(content: KeyringPayload) -> Iterator[tuple[str, ...]]:
    """A line for each right of each identity, with its newest key."""
    for identity in content.identities:
        who = (identity.id, identity.person)
        newest = max(identity.keys, key=lambda key: key.valid_until, default=None)
        key = ("", "")
        if newest is not None:
            ended = newest.revocation if newest.revoked_at is not None else render_time(newest.valid_until)
            key = (newest.public_key.fingerprint[:_SHORT], str(ended))
        rights = [
            (
                grant.role,
                grant.max_risk,
                ",".join(grant.environments),
                ",".join(grant.models),
                ",".join(grant.namespaces),
            )
            for grant in identity.grants
        ]
        rights += [
            (f"attest {','.join(one.facts)}", "", ",".join(one.environments or ("*",)), ",".join(one.models), "*")
            for one in identity.attests
        ]
        for right in rights or [("", "", "", "", "")]:
            yield (*who, *right, *key)
