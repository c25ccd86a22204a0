"""Write ``manifests/install.yaml`` from the Helm chart, for people without helm.

    python tools/manifests.py            # write it again
    python tools/manifests.py --check    # only say whether it is what the chart renders

The chart is the source. What is helm's own (its labels, hooks and the test) is left out.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CHART: Final = ROOT / "manifests" / "chart" / "placet"
INSTALL: Final = ROOT / "manifests" / "install.yaml"
NAMESPACE: Final = "placet-system"
OPA_RULES: Final = ROOT / "manifests" / "opa" / "authz.rego"

HEADER: Final = """\
# placet without helm. Made from manifests/chart/placet by `make manifests`: change it there.
#
# What is yours comes first, from a folder that `placet init` made; run this beside it. REGISTRY is where your image is
# (docs/install.md says how to build it).
#
#   kubectl create namespace placet-system
#   kubectl -n placet-system create configmap placet-config --from-file=placet.yaml=gate/in-cluster.yaml \\
#     --from-file=gate/keyring.dsse.json --from-file=gate/policy-data.yaml --from-file=gate/roots
#   kubectl -n placet-system create configmap placet-revocations --from-file=gate/revocations
#   kubectl -n placet-system create configmap placet-exemptions --from-file=gate/exemptions
#   kubectl -n placet-system create secret generic placet-log-key --from-file=gate/keys/log.key
#   kubectl -n placet-system create secret tls placet-tls --cert=gate/tls/server.crt --key=gate/tls/server.key
#   sed -e "s|caBundle: .*|caBundle: $(base64 < gate/tls/ca.crt | tr -d '\\n')|" \\
#     -e "s|image: placet:|image: REGISTRY/placet:|" manifests/install.yaml | kubectl apply --server-side -f -
#
# The certificate of placet init is for trying things out: it ends after 90 days. As long as one of these objects is
# missing, the Pods wait for it (kubectl -n placet-system describe pods), and the API server refuses every governed
# workload, because nobody answers: "no endpoints available for service". kube-system and placet-system are never asked
# about. To take everything away: kubectl delete validatingwebhookconfiguration placet, and after it the namespace; the
# record goes with it, so keep a copy.
apiVersion: v1
kind: Namespace
metadata:
  name: placet-system
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""

_HELM_OWN: Final = re.compile(
    r"^ *(?:app\.kubernetes\.io/managed-by: Helm|helm\.sh/chart: .*|# Source: .*)\n|^# Source: .*\n", re.MULTILINE
)
_KEEP: Final = re.compile(r"^  annotations:\n    helm\.sh/resource-policy: keep\n", re.MULTILINE)


def render_install(helm: Path) -> str:
    """The file as the chart renders it now.

    Raises:
        subprocess.CalledProcessError: helm refused the chart; it has said why.
    """
    values = ROOT / "manifests" / "install-values.yaml"
    command: list[str | Path] = [helm, "template", "placet", CHART, "--namespace", NAMESPACE, "--values", values]
    command += ["--no-hooks", "--skip-tests"]
    rendered = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    documents = (
        part.strip("\n") for part in re.split(r"^---$", _KEEP.sub("", _HELM_OWN.sub("", rendered)), flags=re.MULTILINE)
    )
    return HEADER + "".join(f"---\n{part}\n" for part in documents if part.strip())


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description="Write manifests/install.yaml from the chart.")
    parser.add_argument("--check", action="store_true", help="only compare")
    check = bool(parser.parse_args(arguments).check)
    cache = Path(os.environ.get("PLACET_CACHE") or Path.home() / ".cache" / "placet")
    helm = cache / "bin" / "helm"
    if not helm.exists():
        print(f"{helm} is not there: python tools/build.py helm", file=sys.stderr)
        return 1
    files = {INSTALL: render_install(helm)}
    if OPA_RULES.exists():  # the chart can only read what is inside of it
        files[CHART / "files" / "authz.rego"] = OPA_RULES.read_text(encoding="utf-8")
    stale = [file for file, text in files.items() if not file.exists() or file.read_text(encoding="utf-8") != text]
    for file in stale:
        print(f"{file.relative_to(ROOT)} {'is not what the chart renders: make manifests' if check else 'written'}")
        if not check:
            file.write_text(files[file], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
