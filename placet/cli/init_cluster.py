"""What ``placet init`` writes for a cluster: values of the Helm chart, a configuration for the single-file install."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Final

import yaml

LOG_KEY_SECRET: Final = "placet-log-key"  # noqa: S105 - the name of a Secret

VALUES: Final = """\
# Values for the Helm chart; README.txt has the commands. Nothing in here is secret.
# Every value there is: manifests/chart/placet/values.yaml.
cluster: {cluster}
keyring:
  threshold: {threshold}
  roots:
{roots}
  # As it was when this file was made; after `placet keyring sign`: --set-file keyring.envelope=keyring.dsse.json
  envelope: |
{envelope}
policy:
  # As it was when this file was made; after a change: --set-file policy.data=policy-data.yaml
  data: |
{data}
autoscalers: {autoscalers}
record:
  logKey:
    existingSecret: {secret}
"""

IN_CLUSTER: Final = """\
# The gate's configuration in a cluster that was set up with manifests/install.yaml; the Helm chart writes its own.
# Paths are relative to this file, as it is mounted there. Every key: docs/formats.md.
cluster: {cluster}
keyring:
  file: keyring.dsse.json
  roots: [{roots}]
  threshold: {threshold}
  revocations: ../revocations
  exemptions: ../exemptions
record:
  store: ../record/record.sqlite
  log_key: log.key
  spool: # denials wait here while the record's store is away
    folder: ../spool/denials
policy:
  engine: embedded
  data: policy-data.yaml
autoscalers: {autoscalers}
parents: lookup
namespaces: lookup
environments: lookup
canary: # namespaces of manifests/install.yaml, into which it sends what it has to refuse
  interval_seconds: 300
  namespaces:
    placet-canary-development: development
    placet-canary-staging: staging
    placet-canary-production: production
    placet-canary-other-namespaces: production
server:
  host: 0.0.0.0
  port: 8443
  status_port: 8080 # probes and metrics, plain HTTP
  tls_cert: tls.crt
  tls_key: tls.key
  drain_seconds: 15
log:
  level: info
  format: json
"""

COMMANDS: Final = f"""\
Into a cluster, from within this folder. CHART is manifests/chart/placet of placet's repository; docs/install.md
explains each step.

  kubectl create namespace placet-system
  kubectl -n placet-system create secret generic {LOG_KEY_SECRET} --from-file=log.key=keys/log.key
  helm install placet CHART -n placet-system -f values.yaml --set image.registry=REGISTRY

After a change of the keyring or the policy data:

  helm upgrade placet CHART -n placet-system -f values.yaml --set image.registry=REGISTRY \\
    --set-file keyring.envelope=keyring.dsse.json --set-file policy.data=policy-data.yaml

Without helm: the commands at the top of manifests/install.yaml.
"""


def yaml_text(text: str) -> str:
    """A text as YAML, in quotes where YAML would read something else: a cluster may be called 2026 or true."""
    return text if yaml.safe_load(text) == text else json.dumps(text)


def render_values(
    *, cluster: str, autoscalers: str, threshold: int, roots: Mapping[str, str], envelope: str, policy_data: str
) -> str:
    """The values of the Helm chart for one folder.

    Args:
        cluster: the cluster's name.
        autoscalers: ``none`` | ``unknown`` | ``lookup``.
        threshold: how many roots must have signed.
        roots: file name -> PEM.
        envelope: the signed keyring.
        policy_data: the operator's policy data, YAML.
    """
    return VALUES.format(
        cluster=yaml_text(cluster),
        threshold=threshold,
        roots="\n".join(f"    {name}: |\n{textwrap.indent(pem.strip(), ' ' * 6)}" for name, pem in roots.items()),
        envelope=textwrap.indent(envelope.strip(), " " * 4),
        data=textwrap.indent(policy_data.strip(), " " * 4),
        autoscalers=autoscalers,
        secret=LOG_KEY_SECRET,
    )


def render_in_cluster(*, cluster: str, autoscalers: str, threshold: int, roots: list[str]) -> str:
    """The configuration for the ConfigMap of the single-file install.

    Args:
        cluster: the cluster's name.
        autoscalers: ``none`` | ``unknown`` | ``lookup``.
        threshold: how many roots must have signed.
        roots: file names of their public keys, without a folder.
    """
    return IN_CLUSTER.format(
        cluster=yaml_text(cluster), autoscalers=autoscalers, threshold=threshold, roots=", ".join(roots)
    )
