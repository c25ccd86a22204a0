from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.canonical import render_canonical
from placet.projection import KINDS, explain_difference, project, redact
from tests.placet.projection.objects import workloads


def document(**container: Any) -> bytes:
    return render_canonical({"podTemplates": [{"containers": [{"name": "server", **container}]}], "schema": "s"})


SECRETS = document(
    env=[{"name": "TOKEN", "value": "hunter2"}, {"name": "REF", "valueFrom": {"secretKeyRef": {"name": "s"}}}],
    lifecycle={"preStop": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": "hunter3"}]}}},
)


def test_redaction_hides_values_and_keeps_the_rest() -> None:
    (container,) = redact(SECRETS)["podTemplates"][0]["containers"]
    assert container["env"][0] == {"name": "TOKEN", "value": {"redacted": True}}
    assert container["env"][1]["valueFrom"]["secretKeyRef"]["name"] == "s"
    assert "hunter" not in json.dumps(container)


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"image": "a"}, {"image": "b"}, ['podTemplates[0].containers[server].image: "a" -> "b"']),
        ({}, {"image": "b"}, ['podTemplates[0].containers[server].image: added "b"']),
        ({"image": "b"}, {}, ['podTemplates[0].containers[server].image: removed "b"']),
        (
            {"args": ["a", "b", "c"]},
            {"args": ["a", "x", "y", "c"]},
            ['podTemplates[0].containers[server].args[1:]: ["b"] -> ["x", "y"]'],
        ),
        ({"args": ["a"]}, {"args": ["a", "b"]}, ['podTemplates[0].containers[server].args[1]: added ["b"]']),
        (
            {"env": [{"name": "A", "value": "one"}]},
            {"env": [{"name": "A", "value": "two"}]},
            ["podTemplates[0].containers[server].env[A].value: changed (value not shown)"],
        ),
        (
            {"env": [{"name": "A"}]},
            {"env": [{"name": "A", "value": "two"}]},
            ["podTemplates[0].containers[server].env[A].value: added a value (not shown)"],
        ),
        (
            {"env": [{"name": "A"}]},
            {"env": [{"name": "A"}, {"name": "B", "value": "two"}]},
            ['podTemplates[0].containers[server].env[B]: added {"name": "B", "value": {"redacted": true}}'],
        ),
        (
            {},
            {"env": [{"name": "B", "value": "two"}]},
            ['podTemplates[0].containers[server].env: added [{"name": "B", "value": {"redacted": true}}]'],
        ),
        (
            {"env": [{"name": "A"}, {"name": "B"}]},
            {"env": [{"name": "B"}, {"name": "A"}]},
            ["podTemplates[0].containers[server].env: the order changed"],
        ),
        (
            {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]},
            {"env": [{"name": "A", "value": "2"}, {"name": "A", "value": "2"}]},
            ["podTemplates[0].containers[server].env[0].value: changed (value not shown)"],
        ),
        (
            {"securityContext": {"runAsUser": 0}},
            {"securityContext": {"runAsUser": 1}},
            ["podTemplates[0].containers[server].securityContext.runAsUser: 0 -> 1"],
        ),
        ({"a": 0}, {"a": False}, ["podTemplates[0].containers[server].a: 0 -> false"]),
        ({"image": "a"}, {"image": "\x1b[31m"}, ['podTemplates[0].containers[server].image: "a" -> "\\u001b[31m"']),
    ],
)
def test_difference_is_said_by_path(old: dict[str, Any], new: dict[str, Any], lines: list[str]) -> None:
    assert list(explain_difference(document(**old), document(**new))) == lines


def read_metadata(values: Any) -> bytes:
    return render_canonical({"podTemplates": [{"containers": [], **({"fieldValues": values} if values else {})}]})


ONE, WHOLE = "metadata.labels['env']", "metadata.annotations"


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({ONE: "hunter1"}, {ONE: "hunter2"}, [f"podTemplates[0].fieldValues.{ONE}: changed (value not shown)"]),
        ({ONE: "hunter1"}, {WHOLE: {"env": "hunter2"}}, None),
        (
            {WHOLE: {"env": "hunter1", "x": "same"}},
            {WHOLE: {"env": "hunter2", "x": "same"}},
            [f"podTemplates[0].fieldValues.{WHOLE}.env: changed (value not shown)"],
        ),
        (
            {},
            {WHOLE: {"env": "hunter2"}},
            [f'podTemplates[0].fieldValues: added {{"{WHOLE}": {{"env": {{"redacted": true}}}}}}'],
        ),
        (
            {ONE: "hunter1", WHOLE: {"env": "hunter1"}},
            {ONE: "hunter1"},
            [f"podTemplates[0].fieldValues.{WHOLE}: removed a value (not shown)"],
        ),
    ],
)
def test_metadata_that_is_read_is_hidden_like_variables(old: Any, new: Any, lines: list[str] | None) -> None:
    found = explain_difference(read_metadata(old), read_metadata(new))
    assert found
    assert "hunter" not in "".join(found)
    assert lines is None or list(found) == lines
    for one in (old, new):
        hidden = redact(read_metadata(one))
        assert "hunter" not in json.dumps(hidden)
        assert redact(render_canonical(hidden)) == hidden


def test_long_values_are_clipped() -> None:
    (line,) = explain_difference(document(image="a"), document(image="b" * 5000))
    assert len(line) < 300


def test_works_on_projections_that_are_redacted_already() -> None:
    redacted = render_canonical(redact(SECRETS))
    assert explain_difference(redacted, render_canonical(redact(document()))) != ()
    assert explain_difference(redacted, redacted) == ()


@given(st.data())
def test_nothing_differs_where_digests_are_equal_and_something_where_not(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(KINDS))
    old, new = project(data.draw(workloads(kind))), project(data.draw(workloads(kind)))
    assert bool(explain_difference(old.canonical, new.canonical)) == (old.digest != new.digest)
    assert json.loads(old.canonical).keys() == redact(old.canonical).keys()
