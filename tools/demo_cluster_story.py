"""The story in a cluster: a gate is installed; a model is refused, approved, admitted, changed, scaled, rolled back.

Everything that is shown is what kubectl, helm and placet really said.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from tools.demo_cluster_stage import Stage, StoryError
from tools.demo_cluster_witness import missing_in, read_audit_log

SYSTEM: Final = "placet-system"
MODELS: Final = "ml-serving"
DEPLOYER: Final = "dora@example.com"
PEOPLE: Final = (("technical", "tara"), ("security", "sam"), ("business", "bea"))
PATIENCE_S: Final = 60.0
LOOKS: Final = 3
REPLICAS: Final = 4
WITHIN: Final = 8
BEYOND: Final = 12  # more than ten weigh more in the score
CHART: Final = "manifests/examples/llama-release"
# What was signed comes back into the chart as a value.
TAKE_OVER: Final = (
    'echo "annotations: $(kubectl create --dry-run=client -f rendered.yaml'
    " -o 'jsonpath={.metadata.annotations}')\" > approvals.yaml"
)
ATTEST: Final = "placet evidence attest -f rendered.yaml --key gate/keys/pipeline.key --write"
APPROVE: Final = (
    f"placet approve -f rendered.yaml -e production --as {DEPLOYER} --record record/record.sqlite"
    " --kubeconfig kubeconfig --yes"
)
COVERAGE: Final = f"{ATTEST} --fact coverage --from manifests/examples/coverage.json"


def play(stage: Stage, folder: Path) -> None:
    """Tell all of it.

    Args:
        stage: a shell with kubectl, helm and placet on PATH, and KUBECONFIG with the contexts ``platform`` and
            ``dora``, the first one in use.
        folder: of the shell; ``manifests`` in it are those of the repository, ``record`` is the volume of the claim
            placet-record, ``audit.log`` the API server's.

    Raises:
        StoryError: a step did not give what it must.
    """
    stage.tell(
        "What is shown is what was typed and what was answered; long answers are cut to the lines that matter here."
    )
    _set_up(stage)
    _refuse(stage)
    _approve(stage)
    _admit(stage)
    _change(stage)
    _scale(stage)
    _roll_back(stage)
    _prove(stage, folder)


def _set_up(stage: Stage) -> None:
    stage.chapter("The platform team puts a gate in front of the cluster")
    stage.run(
        "placet init gate --cluster demo --no-passphrase --autoscalers lookup", says=["made gate"], only=["made gate"]
    )
    stage.run(f"kubectl create namespace {SYSTEM}")
    stage.run(f"kubectl -n {SYSTEM} create secret generic placet-log-key --from-file=log.key=gate/keys/log.key")
    stage.run(
        f"helm install placet manifests/chart/placet -n {SYSTEM} -f gate/values.yaml --wait --timeout 120s",
        says=["STATUS: deployed"],
        only=["STATUS"],
    )
    stage.run(f"kubectl -n {SYSTEM} get pods,service", says=["Running"])
    stage.run(
        f"kubectl create namespace {MODELS} && kubectl label namespace {MODELS} placet.dev/environment=production"
    )
    stage.run(f"kubectl -n {MODELS} create rolebinding dora --clusterrole=edit --user={DEPLOYER}")
    stage.wait_for(
        f"{DEPLOYER} may deploy",
        lambda: stage.ask(f"kubectl auth can-i create deployments -n {MODELS} --as {DEPLOYER} || true") == "yes\n",
        PATIENCE_S,
    )


def _refuse(stage: Stage) -> None:
    stage.chapter("Dora's team deploys a model that nobody approved")
    stage.run("kubectl config use-context dora")
    stage.run(
        "kubectl apply -f manifests/examples/llama-deployment.yaml",
        expect=1,
        says=[
            'admission webhook "production.placet.dev" denied the request: placet refuses Deployment/llama',
            "no valid security approval",
            "placet approve",
            "placet audit show",
        ],
    )
    stage.run(
        f"helm install llama {CHART} -n {MODELS}",
        expect=1,
        says=["placet refuses Deployment/llama", "no valid business approval"],
        only=["placet refuses", "placet audit show"],
    )


def _approve(stage: Stage) -> None:
    stage.chapter("The pipeline signs what it measured, and three people what the chart renders to")
    stage.export(PLACET_CONFIG="gate/placet.yaml", PLACET_AUDIT_STORE="record/record.sqlite")
    stage.run(f"helm template llama {CHART} -n {MODELS} > rendered.yaml")
    stage.run(f"{ATTEST} --parameters 70600000000 --data-classification confidential --rollback-minutes 3")
    stage.run(COVERAGE)
    _sign(stage)


def _sign(stage: Stage) -> None:
    for place, (role, person) in enumerate(PEOPLE):
        stage.run(
            f"{APPROVE} --role {role} --key gate/keys/{person}.key",
            says=[f"{role} approval", "up to high risk"],
            only=["missing", *(() if place else ("Risk ",))],
        )


def _admit(stage: Stage) -> None:
    stage.chapter("Dora's team deploys again, and the controllers go to work")
    stage.run(TAKE_OVER)
    stage.run(
        f"helm upgrade --install llama {CHART} -n {MODELS} -f approvals.yaml",
        says=["STATUS: deployed"],
        only=["STATUS"],
    )
    stage.wait_for(f"{REPLICAS} Pods of the model", lambda: _count_pods(stage) == REPLICAS, PATIENCE_S)
    stage.run(f"kubectl -n {MODELS} get deployments,replicasets,pods", says=["Pending"])
    stage.tell("The gate was asked about the ReplicaSet and each Pod as well; they are what was approved.")
    stage.tell("Pending: this cluster has no node for models.")


def _change(stage: Stage) -> None:
    stage.chapter("Somebody changes what runs, or goes around it")
    other = f"registry.example.com/serving/other@sha256:{'0' * 64}"
    stage.run(
        f"kubectl -n {MODELS} set image deployment/llama server={other}",
        expect=1,
        says=["placet refuses Deployment/llama", "projection_differs"],
        only=["placet refuses", "technical approval", "placet audit show"],
    )
    stage.run(
        f"kubectl -n {MODELS} run mine --image={other}",
        expect=1,
        says=["placet refuses Pod/mine"],
        only=["placet refuses", "placet audit show"],
    )


def _scale(stage: Stage) -> None:
    stage.chapter("A new version is approved, without a rollback drill, and gets more replicas")
    change = "sed -i.old s/tensor-parallel-size=4/tensor-parallel-size=8/ v2/templates/deployment.yaml"
    stage.run(f"cp -r {CHART} v2 && {change} && rm v2/templates/*.old")
    stage.run(f"helm template llama v2 -n {MODELS} > rendered.yaml")
    stage.run(f"{ATTEST} --parameters 70600000000 --data-classification confidential")
    stage.run(COVERAGE)
    everybody = " ".join(f"{role}:{person}" for role, person in PEOPLE)
    stage.run(
        f"for who in {everybody}; do {APPROVE} --role ${{who%:*}} --key gate/keys/${{who#*:}}.key; done",
        says=["up to high risk", "no approval is missing any more"],
        only=["podTemplates[", "still missing", "no approval is missing"],
    )
    stage.run(TAKE_OVER)
    stage.run(
        f"helm upgrade --install llama v2 -n {MODELS} -f approvals.yaml", says=["STATUS: deployed"], only=["STATUS"]
    )
    _wait_until_settled(stage)
    stage.run(f"kubectl -n {MODELS} scale deployment/llama --replicas={WITHIN}", says=["scaled"])
    _wait_until_settled(stage)
    stage.run(
        f"kubectl -n {MODELS} scale deployment/llama --replicas={BEYOND}",
        expect=1,
        says=[
            f"placet refuses to scale Deployment/llama in namespace {MODELS} to {BEYOND} replicas",
            "no valid executive approval",
            "now it is critical",
        ],
        only=["placet refuses", "executive", "now it is critical", "Have it approved", "placet audit show"],
    )


def _roll_back(stage: Stage) -> None:
    stage.chapter("Dora's team goes back to the first version")
    # Revision 1 was refused. Helm 4 applies on the server's side, where kubectl scale has taken over the replicas.
    stage.run(
        f"helm rollback llama 2 -n {MODELS} --force-conflicts",
        says=["rolled back to what was admitted on", "Rollback was a success"],
    )
    newest = _records(stage, f"--kind Deployment --name llama --user {DEPLOYER} --limit 1")[0]["record"]
    if newest["change"]["kind"] != "rollback" or not newest["allowed"]:
        raise StoryError(f"the way back was recorded as {newest['change']}, allowed {newest['allowed']}")
    stage.run(
        f"placet audit show {newest['decision_id']}",
        says=["ALLOWED Deployment/llama", "rolled_back"],
        only=["ALLOWED", "UPDATE by", "rolled_back", "leaf "],
    )


def _prove(stage: Stage, folder: Path) -> None:
    stage.chapter("The auditor looks")
    stage.run("kubectl config use-context platform")
    stage.run(
        "placet audit list --kind Deployment --limit 3", says=["deny", "allow", DEPLOYER], only=["DECISION", "llama"]
    )
    stage.run('placet audit verify --log-key "$(cat gate/keys/log.vkey)"', says=["VERIFIED"],
              only=["leaves  ", "decisions  ", "checkpoints", "VERIFIED"])  # fmt: skip
    records = _records(stage, f"-n {MODELS} --limit 10000")
    # An event is written a moment after its answer was sent.
    stage.wait_for(
        "every decision in the API server's log", lambda: not missing_in(_audit_log(folder), records), PATIENCE_S
    )
    logged = _audit_log(folder)
    witnessed = [found["record"] for found in records if found["record"]["decision_id"] in logged]
    newest = next(record["decision_id"] for record in witnessed if record["kind"] == "Deployment")
    stage.tell("The API server keeps a log of its own, in which each request carries its place in the record:")
    stage.run(
        f"grep '/decision-id\":\"{newest}' audit.log | grep -o '\"production.placet.dev/[dlr][^,}}]*'",
        says=["log-index", "leaf-hash", newest],
    )
    stage.tell(f"So it is with {len(witnessed)} of the {len(records)} decisions about {MODELS}: same index, same hash.")
    if len(witnessed) < len(records):
        stage.tell("The API server asked about the others twice in one request, and logs the first answer.")


def _audit_log(folder: Path) -> dict[str, tuple[str, str]]:
    return read_audit_log((folder / "audit.log").read_text(encoding="utf-8"))


def _records(stage: Stage, options: str) -> list[dict[str, Any]]:
    listed = json.loads(stage.ask(f"placet audit list {options} -o json"))["records"]
    return list(listed)


def _count_pods(stage: Stage) -> int:
    return len(stage.ask(f"kubectl -n {MODELS} get pods -o name").splitlines())


def _wait_until_settled(stage: Stage) -> None:
    """Wait until no controller writes the Deployment any more, as a person would take a moment as well."""
    seen: list[str] = []

    def settled() -> bool:
        seen.append(stage.ask(f"kubectl -n {MODELS} get deployment llama -o jsonpath='{{.metadata.resourceVersion}}'"))
        return len(seen) > LOOKS and len(set(seen[-LOOKS:])) == 1

    stage.wait_for("a Deployment that its controllers are done with", settled, PATIENCE_S)
