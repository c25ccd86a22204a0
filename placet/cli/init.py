"""``placet init``: a folder in which a gate can start, and people can sign, at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from placet.approvals.envelope import render_envelope
from placet.approvals.key_files import PrivateKey, generate_private_key, render_private_key, save_private_pem
from placet.approvals.keyring import KEYRING_PAYLOAD_TYPE
from placet.approvals.keys import ED25519, PublicKey
from placet.approvals.signing import KeySigner, add_signature, sign_payload
from placet.approvals.times import render_time
from placet.audit.note import generate_log_key
from placet.certificates import make_serving_certificate
from placet.cli.clock import now_utc
from placet.cli.init_cluster import COMMANDS, render_in_cluster, render_values, yaml_text
from placet.cli.keyring_source import canonical_payload, key_entry, render_source
from placet.cli.output import say
from placet.cli.passphrase import new_passphrase, passphrase_option
from placet.config_schema import CLUSTER_PATTERN
from placet.errors import InputError
from placet.model import ROLES

ROOTS: Final = 3
ROOT_THRESHOLD: Final = 2
KEYRING_DAYS: Final = 365
PEOPLE: Final = (("tara", "technical"), ("sam", "security"), ("bea", "business"), ("eve", "executive"))
PIPELINE: Final = "pipeline"
FACTS: Final = ("parameters", "data_classification", "coverage", "rollback", "strategy")
ENVIRONMENTS: Final = ("development", "staging", "production")

CONFIG: Final = """\
# The gate's configuration. Every key: docs/formats.md. Paths are relative to this file.
cluster: {cluster} # approvals name it
keyring:
  file: keyring.dsse.json # who may sign what; counts only with the signatures of {threshold} of these roots
  roots: [{roots}]
  threshold: {threshold}
  revocations: revocations # placet revoke writes here
  exemptions: exemptions # placet exempt writes here
record:
  store: record.sqlite # every decision, provable
  log_key: keys/log.key # signs checkpoints of it
policy:
  engine: embedded # or opa, with opa_url
  data: policy-data.yaml # your matrix, over the defaults
# none: no autoscaler scales model workloads. unknown: the worst is assumed. lookup: the API server is asked.
autoscalers: {autoscalers}
server:
  host: 127.0.0.1
  port: 8443
  tls_cert: tls/server.crt
  tls_key: tls/server.key
"""

POLICY_DATA: Final = """\
# What differs from the defaults; docs/policy-authors.md shows them. For example:
# environments:
#   production:
#     approvals: [technical, security, business]
#     max_level: high
environments: {}
"""

EXPLAINED: Final = """\
What placet init made here, and who should hold it.

placet.yaml         the gate's configuration                                   platform team
policy-data.yaml    your changes to the approval matrix                        policy authors
keyring.yaml        who may approve and attest what, to edit                   security team
keyring.dsse.json   the same, signed by two roots: what the gate believes      gate (not secret)
keys/root-*.key     sign the keyring; keep them apart, offline                 three people of the security team
keys/NAME.key       approve; one each, nobody else's                           tara, sam, bea, eve
keys/pipeline.key   signs what the build pipeline measured                     the pipeline
keys/log.key        signs checkpoints of the record                            gate
keys/log.vkey       verifies them                                              auditors (not secret)
roots/*.pub         the roots' public keys, pinned in placet.yaml              gate (not secret)
revocations/        approvals that were taken back                             gate (not secret)
exemptions/         workloads that need no approval, by somebody's signature   gate (not secret)
tls/                a certificate for trying things out, for 90 days           replace it in production
values.yaml         values for the Helm chart                                  platform team (not secret)
in-cluster.yaml     the configuration for manifests/install.yaml, without helm platform team
record.sqlite       the record, once the gate has run here                     gate, auditors

The people are examples: replace them in keyring.yaml, then placet keyring sign.

"""


@dataclass(frozen=True, slots=True)
class _Maker:
    """Writes the files of one team folder."""

    folder: Path
    passphrase: str | None

    def key(self, name: str) -> PrivateKey:
        """A new private key in keys/NAME.key."""
        key = generate_private_key(ED25519)
        save_private_pem(self.folder / "keys" / f"{name}.key", render_private_key(key, self.passphrase))
        return key

    def text(self, name: str, content: str) -> None:
        """A new text file."""
        with (self.folder / name).open("x", encoding="utf-8") as file:
            file.write(content)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--cluster", required=True, help="The cluster's name, as approvals will name it.")
@click.option(
    "--autoscalers",
    type=click.Choice(["none", "unknown", "lookup"]),
    default="unknown",
    show_default=True,
    help="Where replica ceilings come from.",
)
@passphrase_option
@click.option("--no-passphrase", is_flag=True, help="Leave private keys unencrypted; only to try things out.")
def init(folder: Path, cluster: str, autoscalers: str, passphrase_file: Path | None, no_passphrase: bool) -> None:
    r"""Make keys, a signed keyring, a configuration and an example team in a folder.

    README.txt in it says what each file is for and who should hold it. Nothing that exists is touched: in a folder that
    has a placet.yaml nothing is done, so that it may be run twice. Private keys are encrypted with a passphrase that is
    asked for, or taken from PLACET_KEY_PASSPHRASE. The people are examples, to be replaced in keyring.yaml.

    \b
    Examples:
      placet init gate --cluster prod-eu-1
      placet init . --cluster demo --no-passphrase --autoscalers none

    \b
    Environment:
      PLACET_KEY_PASSPHRASE  encrypts the private keys, where nobody can be asked

    \b
    See also: placet config check, placet serve, placet keyring sign
    """
    if (folder / "placet.yaml").exists():
        say(f"{folder / 'placet.yaml'} is there already: nothing was changed")
        return
    if not re.fullmatch(CLUSTER_PATTERN, cluster):
        raise InputError(
            f"{cluster[:80]!r} can't be the name of a cluster",
            hint="Lower-case letters, digits, dots and dashes, such as prod-eu-1.",
        )
    passphrase = None if no_passphrase else new_passphrase(passphrase_file)
    _make(_Maker(folder, passphrase), cluster=cluster, autoscalers=autoscalers)
    say(f"made {folder}: README.txt says what each file is for and who should hold it")
    say(f"next: placet serve --config {folder / 'placet.yaml'}")


def _make(maker: _Maker, *, cluster: str, autoscalers: str) -> None:
    folder = maker.folder
    for name in ("keys", "roots", "revocations", "exemptions", "tls"):
        try:
            (folder / name).mkdir(parents=True)
        except FileExistsError as exc:
            raise InputError(
                f"{folder / name} is there already, and placet.yaml is not",
                hint="Take an empty folder; nothing that exists is overwritten.",
            ) from exc
    (folder / "keys").chmod(0o700)
    roots = [maker.key(f"root-{number}") for number in range(1, ROOTS + 1)]
    public = {f"root-{number}.pub": KeySigner.of(root).public_key.pem for number, root in enumerate(roots, 1)}
    for name, pem in public.items():
        maker.text(f"roots/{name}", pem)
    source = render_source(_keyring(maker, now_utc()))
    maker.text("keyring.yaml", source)
    payload = canonical_payload(source, file=folder / "keyring.yaml")
    envelope = sign_payload(KeySigner.of(roots[0]), payload, KEYRING_PAYLOAD_TYPE)
    for root in roots[1:ROOT_THRESHOLD]:
        envelope = add_signature(envelope, KeySigner.of(root))
    rendered = render_envelope(envelope)
    (folder / "keyring.dsse.json").write_bytes(rendered + b"\n")
    log_key = generate_log_key(folder / "keys" / "log.key", name=f"placet.dev/log/{cluster}")
    maker.text("keys/log.vkey", f"{log_key.verifier}\n")
    make_serving_certificate(folder / "tls", hosts=("localhost", "127.0.0.1", "placet.placet-system.svc"))
    _write_settings(maker, cluster=cluster, autoscalers=autoscalers, roots=public, envelope=rendered.decode())


def _write_settings(maker: _Maker, *, cluster: str, autoscalers: str, roots: dict[str, str], envelope: str) -> None:
    """The files that people read and edit; placet.yaml last, which says that the folder is complete."""
    shared: dict[str, Any] = {"cluster": cluster, "autoscalers": autoscalers, "threshold": ROOT_THRESHOLD}
    maker.text("policy-data.yaml", POLICY_DATA)
    maker.text("values.yaml", render_values(**shared, roots=roots, envelope=envelope, policy_data=POLICY_DATA))
    maker.text("in-cluster.yaml", render_in_cluster(**shared, roots=list(roots)))
    maker.text("README.txt", EXPLAINED + COMMANDS)
    shared["cluster"] = yaml_text(cluster)
    maker.text("placet.yaml", CONFIG.format(**shared, roots=", ".join(f"roots/{name}" for name in roots)))


def _keyring(maker: _Maker, now: datetime) -> dict[str, Any]:
    until = now + timedelta(days=KEYRING_DAYS)

    def identity(name: str) -> dict[str, Any]:
        public: PublicKey = KeySigner.of(maker.key(name)).public_key
        return {
            "id": f"{name}@example.com",
            "person": name,
            "keys": [key_entry(public, valid_from=now, valid_until=until)],
            "grants": [],
        }

    def approver(name: str, role: str) -> dict[str, Any]:
        grant = {
            "role": role,
            "environments": list(ENVIRONMENTS),
            "maxRisk": "critical",
            "models": ["*"],
            "namespaces": ["*"],
        }
        return {**identity(name), "grants": [grant]}

    pipeline = {**identity(PIPELINE), "attests": [{"facts": list(FACTS), "models": ["*"]}]}
    return {
        "schema": "placet.dev/keyring/v1",
        "version": 1,
        "issued": render_time(now),
        "expires": render_time(until),
        "thresholds": dict.fromkeys(ROLES, 1),
        "identities": [*(approver(name, role) for name, role in PEOPLE), pipeline],
        "revokedApprovals": [],
    }
