"""Labels and annotations that containers get are content like any other: what runs never changes behind an approval."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from placet.decision import Decision
from placet.errors import WorkloadError
from placet.messages import render_message
from placet.projection import explain_difference, project, redact
from tests.simulators.gate import GateDesk, example, review

ALL_ROLES = ("technical", "security", "business", "executive")
SECRET = "hunter2-very-secret"
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"

Change = Callable[[dict[str, Any]], None]


def reads(path: str) -> dict[str, Any]:
    return {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}


def variable(spec: dict[str, Any], path: str) -> None:
    spec["containers"][0].setdefault("env", []).append({"name": "EXTRA_ARGS", "valueFrom": reads(path)})


def init_variable(spec: dict[str, Any], path: str) -> None:
    own = {"name": "prepare", "image": spec["containers"][0]["image"]}
    spec["initContainers"] = [{**own, "env": [{"name": "EXTRA_ARGS", "valueFrom": reads(path)}]}]


def downward_volume(spec: dict[str, Any], path: str) -> None:
    volume = {"name": "about", "downwardAPI": {"items": [{"path": "it", **reads(path)}]}}
    spec["volumes"] = [*spec.get("volumes", []), volume]


def projected_volume(spec: dict[str, Any], path: str) -> None:
    sources = [{"configMap": {"name": "c"}}, {"downwardAPI": {"items": [{"path": "it", **reads(path)}]}}]
    spec["volumes"] = [*spec.get("volumes", []), {"name": "about", "projected": {"sources": sources}}]


READERS = [variable, init_variable, downward_volume, projected_volume]
VOLUMES = [downward_volume, projected_volume]


def template(manifest: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = manifest["spec"]["template"]
    return found


def reading(reader: Callable[[dict[str, Any], str], None], path: str, **metadata: dict[str, str]) -> dict[str, Any]:
    manifest = example()
    reader(template(manifest)["spec"], path)
    for field, entries in metadata.items():
        template(manifest)["metadata"].setdefault(field, {}).update(entries)
    return manifest


def updated(desk: GateDesk, manifest: dict[str, Any], change: Change) -> Decision:
    """What comes of a change to what was approved and admitted, when the approvals have run out."""
    old = desk.approve(manifest, *ALL_ROLES)
    assert desk.decide(review(old)).allowed
    desk.desk.now = desk.desk.now.replace(year=2027, month=3)
    new = copy.deepcopy(old)
    change(new)
    return desk.decide(review(new, old=old))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("field", ["annotations", "labels"])
@pytest.mark.parametrize("how", ["changed", "gone", "came"])
def test_a_key_that_is_read_is_governed(desk: GateDesk, reader: Any, field: str, how: str) -> None:
    before = {} if how == "came" else {"serving.example/args": "batch"}
    manifest = reading(reader, f"metadata.{field}['serving.example/args']", **{field: before})

    def change(new: dict[str, Any]) -> None:
        entries = template(new)["metadata"].setdefault(field, {})
        entries.pop("serving.example/args", None)
        if how != "gone":
            entries["serving.example/args"] = "trust-remote-code"

    decision = updated(desk, manifest, change)
    assert (decision.allowed, decision.change) == (False, "changed")


@pytest.mark.parametrize("reader", VOLUMES)
@pytest.mark.parametrize("field", ["annotations", "labels"])
def test_a_whole_map_that_is_read_is_governed(desk: GateDesk, reader: Any, field: str) -> None:
    manifest = reading(reader, f"metadata.{field}")

    def change(new: dict[str, Any]) -> None:
        template(new)["metadata"].setdefault(field, {})["any"] = "thing"

    decision = updated(desk, manifest, change)
    assert (decision.allowed, decision.change) == (False, "changed")


@pytest.mark.parametrize("key", ["kubectl.kubernetes.io/restartedAt", "kubernetes.io/limit-ranger"])
def test_a_key_that_comes_and_goes_is_no_way_in_where_it_is_read_by_itself(desk: GateDesk, key: str) -> None:
    manifest = reading(variable, f"metadata.annotations['{key}']")

    def change(new: dict[str, Any]) -> None:
        template(new)["metadata"].setdefault("annotations", {})[key] = "--trust-remote-code"

    assert not updated(desk, manifest, change).allowed


def test_a_restart_that_is_no_time_is_content(desk: GateDesk) -> None:
    def change(new: dict[str, Any]) -> None:
        stamp = {"kubectl.kubernetes.io/restartedAt": "2026-11-22T12:00:00Z --trust-remote-code"}
        template(new)["metadata"].setdefault("annotations", {}).update(stamp)

    assert not updated(desk, reading(downward_volume, "metadata.annotations"), change).allowed


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kubectl.kubernetes.io/restartedAt", "2026-11-22T12:00:00Z"),
        ("kubectl.kubernetes.io/restartedAt", "2026-11-22T13:00:00+01:00"),
        ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
    ],
)
@pytest.mark.parametrize("path", ["metadata.annotations", "metadata.labels", "metadata.annotations['other']"])
def test_restarting_and_applying_go_on(desk: GateDesk, path: str, key: str, value: str) -> None:
    def change(new: dict[str, Any]) -> None:
        template(new)["metadata"].setdefault("annotations", {})[key] = value

    decision = updated(desk, reading(downward_volume, path), change)
    assert (decision.allowed, decision.change) == (True, "unchanged")


def test_metadata_that_nothing_reads_is_not_governed(desk: GateDesk) -> None:
    def change(new: dict[str, Any]) -> None:
        template(new)["metadata"].setdefault("annotations", {})["serving.example/other"] = "x"
        new["metadata"]["annotations"]["serving.example/args"] = "the object's own, which no pod gets"

    decision = updated(desk, reading(variable, "metadata.annotations['serving.example/args']"), change)
    assert (decision.allowed, decision.change) == (True, "unchanged")


@pytest.mark.parametrize("profile", ["unconfined", "runtime/default", "localhost/open"])
def test_the_apparmor_annotation_of_a_container_is_governed(desk: GateDesk, profile: str) -> None:
    name = example()["spec"]["template"]["spec"]["containers"][0]["name"]

    def change(new: dict[str, Any]) -> None:
        template(new)["metadata"].setdefault("annotations", {})[f"{APPARMOR}{name}"] = profile

    decision = updated(desk, example(), change)
    assert (decision.allowed, decision.change) == (False, "changed")


def test_the_apparmor_annotation_of_another_value_is_refused() -> None:
    manifest = example()
    name = template(manifest)["spec"]["containers"][0]["name"]
    template(manifest)["metadata"].setdefault("annotations", {})[f"{APPARMOR}{name}"] = SECRET
    with pytest.raises(WorkloadError) as caught:
        project(manifest)
    assert caught.value.code == "field_invalid"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("path", ["metadata.annotations['token']", "metadata.annotations"])
def test_nothing_of_a_value_that_is_read_reaches_the_record_or_the_message(
    desk: GateDesk, tmp_path: Path, path: str
) -> None:
    manifest = reading(downward_volume, path, annotations={"token": SECRET})
    other = reading(downward_volume, path, annotations={"token": f"{SECRET}-2"})
    assert SECRET.encode() in project(manifest).canonical
    for candidate, old in ((manifest, None), (desk.approve(manifest, *ALL_ROLES), None), (other, manifest)):
        decision = desk.decide(review(candidate, old=old))
        assert decision.recorded is not None
        assert SECRET not in render_message(decision)
        assert SECRET not in json.dumps(dict(decision.recorded.leaf))
        assert SECRET not in repr(decision)
    for file in tmp_path.iterdir():
        assert SECRET.encode() not in file.read_bytes()
    assert SECRET not in json.dumps(redact(project(manifest).canonical))
    for before in (example(), other):
        lines = explain_difference(project(before).canonical, project(manifest).canonical)
        assert any("fieldValues" in line for line in lines)
        assert SECRET not in "".join(lines)
