"""Updates that leave the governed content as it is: what may pass without approvals, and what tries to."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from placet.approvals.envelope import Envelope, Signature, render_annotation
from placet.decision import Decision
from placet.policy.data import load_policy_data
from tests.simulators.gate import GateDesk, example, review

ALL_ROLES = ("technical", "security", "business", "executive")
LABEL = "placet.dev/model"


def codes(decision: Decision) -> set[str]:
    return {f"{item.rule}/{item.code}" for item in decision.violations}


def admit_and_revoke(desk: GateDesk, role: str) -> dict[str, Any]:
    """A workload that was admitted, and whose approval in one role was taken back since."""
    manifest = desk.approve(example(), *ALL_ROLES)
    decision = desk.decide(review(manifest))
    assert decision.allowed
    assert decision.recorded is not None
    approvals = decision.recorded.leaf["approvals"]
    desk.desk.document["revokedApprovals"] += [one["approval_id"] for one in approvals if one["role"] == role]
    desk.desk.document["version"] += 1
    return manifest


def touched(manifest: dict[str, Any]) -> dict[str, Any]:
    changed = copy.deepcopy(manifest)
    changed["metadata"]["labels"]["team"] = "serving"
    return changed


def test_a_crowd_of_annotations_hides_no_revocation(desk: GateDesk) -> None:
    manifest = admit_and_revoke(desk, "security")
    crowded = touched(manifest)
    crowded["metadata"]["annotations"] |= {f"placet.dev/approval.x{number}": "eA==" for number in range(20)}
    assert not desk.decide(review(crowded, old=manifest)).allowed
    # Nor does it in two steps: the crowd came before the revocation, and all of it goes now.
    assert not desk.decide(review(example(), old=crowded)).allowed


def test_signatures_that_use_up_the_checks_hide_no_revocation(desk: GateDesk) -> None:
    for number in range(30):
        desk.desk.add(f"staff-{number}", roles=["technical"])
    manifest = admit_and_revoke(desk, "executive")
    costly = touched(manifest)
    garbage = tuple(Signature("", bytes([number]) * 64) for number in range(8))
    for role in ("technical", "security", "business"):
        envelope = Envelope(role.encode(), "application/vnd.in-toto+json", garbage)
        costly["metadata"]["annotations"][f"placet.dev/approval.{role}"] = render_annotation(envelope)
    assert not desk.decide(review(costly, old=manifest)).allowed
    assert not desk.decide(review(example(), old=costly)).allowed


@pytest.mark.parametrize("place", ["role", "template", "gone"])
def test_a_revoked_approval_that_was_moved_is_still_found(desk: GateDesk, place: str) -> None:
    manifest = admit_and_revoke(desk, "security")
    moved = touched(manifest)
    taken = moved["metadata"]["annotations"].pop("placet.dev/approval.security")
    if place == "role":
        moved["metadata"]["annotations"]["placet.dev/approval.technical"] = taken
    elif place == "template":
        moved["spec"]["template"]["metadata"].setdefault("annotations", {})["placet.dev/approval.security"] = taken
    assert "approvals.revoked/revoked" in codes(desk.decide(review(moved, old=manifest)))


def test_an_approval_stays_revoked_when_its_signer_leaves_the_keyring(desk: GateDesk) -> None:
    manifest = admit_and_revoke(desk, "security")
    identities = desk.desk.document["identities"]
    identities.remove(desk.desk.identity("bob"))
    assert "approvals.revoked/revoked" in codes(desk.decide(review(touched(manifest), old=manifest)))


@pytest.mark.parametrize("field", ["image", "args", "env", "volumes", "ephemeral", "sidecar"])
def test_one_governed_change_carries_nothing_forward(desk: GateDesk, field: str) -> None:
    manifest = example()
    changed = copy.deepcopy(manifest)
    spec = changed["spec"]["template"]["spec"]
    server = spec["containers"][0]
    match field:
        case "image":
            server["image"] = server["image"][:-1] + ("0" if server["image"][-1] != "0" else "1")
        case "args":
            server["args"] = [*server.get("args", []), ""]
        case "env":
            server["env"] = [*server["env"], {"name": server["env"][0]["name"], "value": "the last one wins"}]
        case "volumes":
            spec["volumes"] = [*spec.get("volumes", []), {"name": "extra", "image": {"reference": server["image"]}}]
        case "ephemeral":
            spec["ephemeralContainers"] = [{"name": "debugger", "image": server["image"]}]
        case "sidecar":
            spec["initContainers"] = [{"name": "beside", "image": server["image"], "restartPolicy": "Always"}]
    decision = desk.decide(review(changed, old=manifest))
    assert (decision.allowed, decision.change) == (False, "changed")


@pytest.mark.parametrize(
    ("old_count", "new_count"), [(0, 1), (None, 2), (1, 2), (4, 5)], ids=["from-zero", "from-unset", "one-more", "up"]
)
def test_no_way_of_writing_more_replicas_is_carried_forward(
    desk: GateDesk, old_count: int | None, new_count: int
) -> None:
    old, new = example(), example()
    old["spec"]["replicas"], new["spec"]["replicas"] = old_count, new_count
    decision = desk.decide(review(new, old=old))
    assert (decision.allowed, decision.change) == (False, "changed")


@pytest.mark.parametrize("what", ["name", "version", "digest", "strategy"])
def test_another_model_or_strategy_under_the_same_content_is_judged(desk: GateDesk, what: str) -> None:
    old = example()
    new = copy.deepcopy(old)
    match what:
        case "name":
            new["metadata"]["labels"][LABEL] = "another-model"
        case "version":
            new["metadata"]["annotations"]["placet.dev/model-version"] = "9.9.9"
        case "digest":
            new["metadata"]["annotations"]["placet.dev/model-digest"] = "sha256:" + "9" * 64
        case "strategy":
            new["spec"]["strategy"] = {"type": "Recreate"}
    assert not desk.decide(review(new, old=old)).allowed


def test_a_create_carries_nothing_forward_whatever_old_object_comes_with_it(desk: GateDesk) -> None:
    decision = desk.decide(review(example(), old=example(), operation="CREATE"))
    assert (decision.allowed, decision.change) == (False, "new")


def test_an_update_of_a_subresource_is_no_update_of_the_object(desk: GateDesk) -> None:
    for subresource in ("scale", "status", "Resize", "binding", "Scale", "ephemeralcontainers/x"):
        asked = review(example(), old=example())
        asked["request"]["subResource"] = subresource
        assert codes(desk.decide(asked)) == {"gate.environment/subresource_unsupported"}


def test_the_last_updates_of_what_is_deleted_are_allowed_though_it_was_revoked(desk: GateDesk) -> None:
    going = admit_and_revoke(desk, "security")
    going["metadata"] |= {"deletionTimestamp": "2026-11-22T12:00:00Z", "finalizers": ["foregroundDeletion"]}
    gone = copy.deepcopy(going)
    gone["metadata"]["finalizers"] = []
    assert desk.decide(review(gone, old=going)).allowed


@pytest.mark.parametrize("how", ["content", "scale", "mark-in-the-new-object-alone"])
def test_being_deleted_is_no_way_to_bring_anything_in(desk: GateDesk, how: str) -> None:
    old = admit_and_revoke(desk, "security")
    new = copy.deepcopy(old)
    if how == "mark-in-the-new-object-alone":
        new["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    else:
        for each in (old, new):
            each["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
        if how == "content":
            new["spec"]["template"]["spec"]["containers"][0]["command"] = ["/bin/sh"]
        else:
            new["spec"]["replicas"] = 50
    assert not desk.decide(review(new, old=old)).allowed


@pytest.mark.parametrize("old_one", ["readable", "two-names", "no-containers"])
def test_taking_the_label_off_is_no_way_out_of_labelled_coverage(tmp_path: Path, old_one: str) -> None:
    operator = tmp_path / "data.yaml"
    operator.write_text("environments: {production: {coverage: labelled}}\n", encoding="utf-8")
    desk = GateDesk.open(tmp_path, data=load_policy_data(operator))
    old, new = example(), example()
    for part in (new, new["spec"]["template"]):
        part["metadata"].get("labels", {}).pop(LABEL, None)
    if old_one == "two-names":
        old["spec"]["template"]["metadata"]["labels"][LABEL] = "another"
    elif old_one == "no-containers":
        old["spec"]["template"]["spec"]["containers"] = []
    assert not desk.decide(review(new, old=old)).allowed
    emptied = copy.deepcopy(new)
    emptied["metadata"]["labels"][LABEL] = ""
    assert not desk.decide(review(emptied, old=old)).allowed
    assert desk.decide(review(new, old=new)).allowed
    desk.log.close()


def restarted(new: dict[str, Any]) -> None:
    stamp = {"kubectl.kubernetes.io/restartedAt": "2026-11-22T12:00:00Z"}
    new["spec"]["template"]["metadata"].setdefault("annotations", {}).update(stamp)


def upgraded_by_helm(new: dict[str, Any]) -> None:
    new["metadata"]["annotations"]["meta.helm.sh/release-name"] = "llama"
    new["metadata"]["labels"]["helm.sh/chart"] = "llama-1.2.4"
    new["spec"]["template"]["metadata"]["labels"]["helm.sh/chart"] = "llama-1.2.4"


def applied_by_server(new: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"f:spec": {"f:template": {"f:spec": {"k:{}": {}}}}}
    new["metadata"]["managedFields"] = [{"manager": "kubectl", "operation": "Apply", "fieldsV1": fields}]


def resized(new: dict[str, Any]) -> None:
    new["spec"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"memory": "80Gi"}}


def finalized(new: dict[str, Any]) -> None:
    new["metadata"]["finalizers"] = ["example.org/guard"]


def reported(new: dict[str, Any]) -> None:
    new["status"] = {"replicas": 9, "conditions": []}


def defaulted(new: dict[str, Any]) -> None:
    spec = new["spec"]["template"]["spec"]
    spec |= {"hostNetwork": False, "hostAliases": [], "ephemeralContainers": None, "enableServiceLinks": True}


@pytest.mark.parametrize(
    "change", [restarted, upgraded_by_helm, applied_by_server, resized, finalized, reported, defaulted]
)
def test_the_daily_work_of_a_team_goes_on_after_its_approvals_have_expired(desk: GateDesk, change: Any) -> None:
    old = desk.approve(example(), *ALL_ROLES)
    assert desk.decide(review(old)).allowed
    desk.desk.now = desk.desk.now.replace(year=2027, month=3)
    new = copy.deepcopy(old)
    change(new)
    decision = desk.decide(review(new, old=old, username="system:serviceaccount:kube-system:deployment-controller"))
    assert (decision.allowed, decision.change) == (True, "unchanged")
