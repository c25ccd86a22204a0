from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from placet.errors import ManifestError
from placet.manifests import MAX_FILE_BYTES, load_manifests, locate, parse_manifests

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\n"


def refusal(*paths: object) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        load_manifests([str(path) for path in paths])
    return caught.value


def names(paths: list[Path | str]) -> list[str]:
    return [manifest.object["metadata"]["name"] for manifest in load_manifests([str(path) for path in paths])]


def test_files_and_folders_are_read_in_order_and_folders_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "k8s"
    (folder / "nested").mkdir(parents=True)
    for name in ("b.yaml", "a.yml", "c.json", "skip.txt", "nested/d.yaml"):
        text = json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}})
        (folder / name).write_text(text if name.endswith("json") else POD % name, encoding="utf-8")
    first = tmp_path / "z.yaml"
    first.write_text(POD % "z" + "---\n" + POD % "w", encoding="utf-8")
    assert names([first, folder]) == ["z", "w", "a.yml", "b.yaml", "c.json"]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = SimpleNamespace(buffer=io.BytesIO((POD % "in").encode()))
    monkeypatch.setattr("sys.stdin", stdin)
    (manifest,) = load_manifests(["-"])
    assert (manifest.file, manifest.line, manifest.index) == ("-", 1, 0)


def test_lists_are_taken_apart(tmp_path: Path) -> None:
    file = tmp_path / "list.yaml"
    file.write_text(
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: a}\n"
        "- apiVersion: v1\n  kind: PodList\n  items:\n  - metadata: {name: b}\n",
        encoding="utf-8",
    )
    manifests = load_manifests([str(file)])
    assert [(each.object["kind"], each.object["metadata"]["name"], each.line) for each in manifests] == [
        ("Pod", "a", 4),
        ("Pod", "b", 10),
    ]
    assert {each.index for each in manifests} == {0}


def test_object_of_an_admission_review_is_taken(tmp_path: Path) -> None:
    review = {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"object": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}},
    }
    file = tmp_path / "review.json"
    file.write_text(json.dumps(review), encoding="utf-8")
    assert names([file]) == ["a"]


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: 1\n", ":1", "no apiVersion"),
        ("---\napiVersion: v1\n", ":2", "no kind"),
        ("apiVersion: v1\nkind: 5\n", ":1", "no kind"),
        ("- a\n", ":1", "apiVersion and kind"),
        ("kind: List\napiVersion: v1\nitems: [5]\n", ":3", "apiVersion and kind"),
        ("apiVersion: admission.k8s.io/v1\nkind: AdmissionReview\nrequest: {object: null}\n", ":1", "no object"),
        ("apiVersion: admission.k8s.io/v1\nkind: AdmissionReview\nresponse: {}\n", ":1", "no object"),
        (POD % "a" + "kind: Job\n", ":4", "given twice"),
    ],
)
def test_error_names_file_and_line(tmp_path: Path, text: str, where: str, words: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text, encoding="utf-8")
    error = refusal(file)
    assert str(error).startswith(f"{file}{where}: ")
    assert words in str(error)
    assert error.file == str(file)


def test_refuses_lists_within_lists_without_end() -> None:
    inner: object = {"apiVersion": "v1", "kind": "Pod"}
    for _ in range(10):
        inner = {"apiVersion": "v1", "kind": "List", "items": [inner]}
    with pytest.raises(ManifestError):
        parse_manifests(json.dumps(inner).encode(), file="-")


@pytest.mark.parametrize("path", ["nowhere.yaml", "a\0b", "https://example.com/x.yaml"])
def test_refuses_what_is_not_there(path: str) -> None:
    error = refusal(path)
    assert error.file == path
    assert ("opens no connections" in error.hint) == path.startswith("https")


def test_refuses_a_file_that_is_too_large() -> None:
    with pytest.raises(ManifestError):
        parse_manifests(b" " * (MAX_FILE_BYTES + 1), file="-")


def test_refuses_when_there_is_no_object_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n", encoding="utf-8")
    assert "no objects in" in str(refusal(tmp_path / "empty.yaml"))
    assert "no objects in" in str(refusal(tmp_path))


def test_locates_the_line_of_a_path(tmp_path: Path) -> None:
    file = tmp_path / "deploy.yaml"
    file.write_text(
        "kind: List\napiVersion: v1\nitems:\n"
        "- apiVersion: v1\n  kind: Pod\n  metadata:\n    annotations:\n      placet.dev/x: a\n"
        "  spec:\n    containers:\n    - name: one\n    - name: two\n      image: b\n",
        encoding="utf-8",
    )
    (manifest,) = load_manifests([str(file)])
    assert locate(manifest, "spec.containers[two].image") == 13
    assert locate(manifest, "spec.containers[1].image") == 13
    assert locate(manifest, "spec.containers[two].args[5]") == 12
    assert locate(manifest, "spec.containers[9]") == 10
    assert locate(manifest, "metadata.annotations[placet.dev/x]") == 8
    assert locate(manifest, "nowhere") == 4
    assert locate(manifest, "") == 4


def test_objects_are_not_shown_by_accident() -> None:
    (manifest,) = parse_manifests(b"apiVersion: v1\nkind: Secret\nstringData: {token: hunter2}\n", file="-")
    assert "hunter2" not in repr(manifest)
