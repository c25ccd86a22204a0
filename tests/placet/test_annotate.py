from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from placet.annotate import set_annotations
from placet.errors import ManifestError
from placet.manifests import parse_manifests

NAME = "placet.dev/approval.security"
OTHER = "placet.dev/approval.technical"

BLOCK = """\
# the model server
apiVersion: apps/v1
kind: Deployment
metadata:
    name: llama   # four spaces, a trailing comment
    labels: {app: 'llama', "tier": web}
spec:
    replicas: 0x4
    template:
        spec:
            containers:
            - name: server
              image: "registry.example/llama:1"
              args: [ --port , "8080" ]
"""


def only_line_added(before: str, after: str) -> list[str]:
    """The lines that were added, after holding that nothing else changed."""
    old, new = before.splitlines(), after.splitlines()
    added = [line for line in new if line not in old]
    assert [line for line in new if line not in added] == old
    return added


def test_adds_annotations_after_the_name_and_changes_nothing_else() -> None:
    after = set_annotations(BLOCK, 0, {NAME: "abc="})
    assert only_line_added(BLOCK, after) == ["    annotations:", f'      {NAME}: "abc="']
    assert after.index("annotations:") > after.index("name: llama")


def test_adds_to_annotations_that_are_there_and_keeps_comments_with_their_entries() -> None:
    text = BLOCK.replace("    labels:", "    annotations:\n        # who owns it\n        team: ml\n    labels:")
    after = set_annotations(text, 0, {NAME: "abc="})
    assert only_line_added(text, after) == [f'        {NAME}: "abc="']
    assert "# who owns it\n        team: ml" in after


def test_replaces_a_value_in_its_place() -> None:
    text = set_annotations(BLOCK, 0, {NAME: "old"})
    assert set_annotations(text, 0, {NAME: "new"}) == text.replace('"old"', '"new"')


@pytest.mark.parametrize("style", ["|\n      old\n      older", ">-\n      old", "'old'", "old", '"old"'])
def test_replaces_a_value_of_any_style(style: str) -> None:
    text = f"kind: Pod\nmetadata:\n  annotations:\n    {NAME}: {style}\n    zone: a\n  name: x\n"
    after = set_annotations(text, 0, {NAME: "new"})
    assert after == f'kind: Pod\nmetadata:\n  annotations:\n    {NAME}: "new"\n    zone: a\n  name: x\n'


@pytest.mark.parametrize("empty", ["annotations:", "annotations: {}", "annotations: null", "annotations: ~"])
def test_fills_annotations_that_are_empty(empty: str) -> None:
    text = f"kind: Pod\nmetadata:\n  {empty}  # none yet\n  name: x\n"
    assert set_annotations(text, 0, {NAME: "v"}) == (
        f'kind: Pod\nmetadata:\n  annotations:\n    {NAME}: "v"  # none yet\n  name: x\n'
    )


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "Pod", "metadata": {"name": "x"}},
        {"kind": "Pod", "metadata": {"annotations": {}, "name": "x"}},
        {"kind": "Pod", "metadata": {"annotations": None, "name": "x"}},
        {"kind": "Pod", "metadata": {"annotations": {"a": "b"}, "name": "x"}},
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_writes_into_json(document: dict[str, object], indent: int | None) -> None:
    after = json.loads(set_annotations(json.dumps(document, indent=indent), 0, {NAME: "v", OTHER: "w"}))
    assert after["metadata"]["annotations"].items() >= {NAME: "v", OTHER: "w"}.items()
    assert after["metadata"]["name"] == "x"


def test_leaves_the_other_documents_byte_for_byte() -> None:
    first, last = "# one\nkind:   A\nmetadata: {name: a}\n", "kind: C\nmetadata:\n  name: c # end"
    text = f"{first}---\n{BLOCK}---\n{last}"
    after = set_annotations(text, 1, {NAME: "v"})
    assert after.startswith(f"{first}---\n")
    assert after.endswith(f"---\n{last}")
    assert after[len(first) + 4 : -len(last) - 4] == set_annotations(BLOCK, 0, {NAME: "v"})


def test_keeps_windows_line_ends() -> None:
    text = "kind: Pod\r\nmetadata:\r\n  name: x\r\n"
    assert set_annotations(text, 0, {NAME: "v"}) == (
        f'kind: Pod\r\nmetadata:\r\n  name: x\r\n  annotations:\r\n    {NAME}: "v"\r\n'
    )


def test_writes_at_the_end_of_a_file_without_a_last_line_break() -> None:
    after = set_annotations("kind: Pod\nmetadata:\n  name: x", 0, {NAME: "v"})
    assert yaml.safe_load(after)["metadata"] == {"name": "x", "annotations": {NAME: "v"}}


@pytest.mark.parametrize(
    ("text", "index", "says"),
    [
        ("kind: Pod\nmetadata:\n  name: x\n", 1, "no document 1"),
        ("kind: Pod\nmetadata:\n  name: x\n", -1, "no document -1"),
        ("- a\n", 0, "not an object"),
        ("kind: Pod\n", 0, "no metadata"),
        ("kind: Pod\nmetadata: {}\n", 0, "no metadata"),
        ("kind: Pod\nmetadata:\n  annotations: [a]\n", 0, "not a mapping"),
        ("kind: Pod\nmetadata:\n  annotations: text\n", 0, "not a mapping"),
        (f"kind: Pod\nmetadata:\n  annotations:\n    {NAME}: [a]\n", 0, "not text"),
        ("kind: List\nmetadata: {name: x}\nitems: []\n", 0, "is a List"),
        ("a: &m {name: x}\nmetadata: *m\n", 0, "alias"),
        ("a: [\n", 0, "not YAML"),
    ],
)
def test_refuses_what_it_cannot_write_into(text: str, index: int, says: str) -> None:
    with pytest.raises(ManifestError, match=says):
        set_annotations(text, index, {NAME: "v"})


def test_refuses_when_an_anchor_would_change_two_places() -> None:
    text = "kind: Pod\nmetadata:\n  annotations: &a\n    x: y\n  name: x\nspec:\n  copy: *a\n"
    with pytest.raises(ManifestError, match="without changing more"):
        set_annotations(text, 0, {NAME: "v"})


@given(st.text(max_size=80), st.text(alphabet=st.characters(codec="utf-8"), max_size=40))
def test_nothing_but_manifest_error_escapes(text: str, value: str) -> None:
    try:
        set_annotations(text, 0, {NAME: value})
    except ManifestError:
        return


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=60))
def test_any_printable_value_is_read_back(value: str) -> None:
    try:
        after = set_annotations(BLOCK, 0, {NAME: value})
    except ManifestError:
        # YAML has no double-quoted form for a few characters of this range; then nothing is written.
        assert not value.isprintable()
        return
    assert yaml.safe_load(after)["metadata"]["annotations"][NAME] == value


@pytest.mark.parametrize(
    "text",
    [
        "---\n{0}",
        "# comment\n---\n{0}",
        "# one\n---\n# two\n---\n{0}---\n---\n{0}",
        "{0}---\n# nothing\n---\n{0}",
        "{0}...\n---\n{0}",
    ],
)
def test_counts_documents_as_the_reader_of_manifests_does(text: str) -> None:
    pod = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n"
    whole = text.format(pod)
    for manifest in parse_manifests(whole.encode(), file="x.yaml"):
        after = parse_manifests(set_annotations(whole, manifest.index, {NAME: "v"}).encode(), file="x.yaml")
        annotated = [one.index for one in after if "annotations" in one.object["metadata"]]
        assert annotated == [manifest.index]
