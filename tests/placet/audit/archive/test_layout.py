"""A manifest has one form, and what is not of it is refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet.audit.archive.layout import (
    Item,
    Manifest,
    attachment_path,
    manifest_path,
    parse_attachment_path,
    parse_manifest,
    parse_manifest_path,
    render_manifest,
)
from placet.audit.checkpoint import sign_checkpoint
from placet.canonical import Digest, render_canonical
from placet.errors import FormatError, TamperError
from tests.simulators.tampering import LOG_KEY

GOLDEN: Final = Path(__file__).resolve().parents[3] / "golden" / "archive" / "manifest.json"
ROOT: Final = bytes(range(32))


def _manifest(**changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "origin": "placet.dev/log/test",
        "number": 1,
        "previous": str(Digest.of(b"manifest 0")),
        "created": datetime(2026, 11, 23, 3, 17, tzinfo=UTC),
        "locked_until": datetime(2036, 11, 24, tzinfo=UTC),
        "before": 12,
        "size": 18,
        "notes": (sign_checkpoint(LOG_KEY, size=18, root=ROOT).note,),
        "items": (
            Item("erasable/000000000012.input", ROOT, 512, "v3"),
            Item("kept/000000000013.envelope", ROOT, 2048, "v4"),
            Item("tile/0/000.p/18", ROOT, 576, "v2"),
            Item("tile/entries/000.p/18", ROOT, 40960, "v1"),
        ),
    }
    return Manifest(**(values | changes))


def test_a_manifest_is_written_as_documented() -> None:
    assert render_manifest(_manifest()) == GOLDEN.read_bytes()
    assert parse_manifest(GOLDEN.read_bytes()) == _manifest()
    assert [one.size for one in parse_manifest(GOLDEN.read_bytes()).checkpoints([LOG_KEY.verifier])] == [18]


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "placet.dev/archive-manifest/v2"},
        {"number": -1},
        {"number": True},
        {"number": "1"},
        {"previous": "sha256:12"},
        {"created": "yesterday"},
        {"created": "2026-11-23T03:17:00+00:00"},
        {"locked_until": None},
        {"before": 19},
        {"before": 18},
        {"checkpoints": [1]},
        {"checkpoints": None},
        {"objects": [{"path": "../../etc/passwd", "sha256": ROOT.hex(), "size": 1, "version": ""}]},
        {"objects": [{"path": "tile/0/000", "sha256": "00", "size": 1, "version": ""}]},
        {"objects": [{"path": "tile/0/000", "sha256": ROOT.hex().upper(), "size": 1, "version": ""}]},
        {"objects": [{"path": "tile/0/000", "sha256": ROOT.hex(), "size": 1}]},
        {"objects": [{"path": "tile/0/000", "sha256": ROOT.hex(), "size": 1, "version": "", "more": 1}]},
        {"objects": [{"path": f"tile/0/00{n}", "sha256": ROOT.hex(), "size": 1, "version": ""} for n in (1, 0)]},
        {"objects": [{"path": "tile/0/000", "sha256": ROOT.hex(), "size": 1, "version": n} for n in ("a", "b")]},
        {"more": 1},
    ],
)
def test_another_form_is_refused(change: dict[str, Any]) -> None:
    value = json.loads(GOLDEN.read_bytes()) | change
    with pytest.raises(FormatError):
        parse_manifest(render_canonical(value))


@given(
    raw=st.binary(max_size=200) | st.integers(0, len(GOLDEN.read_bytes()) - 1).map(lambda at: GOLDEN.read_bytes()[:at])
)
def test_bytes_that_are_no_manifest_are_refused_and_nothing_else_happens(raw: bytes) -> None:
    with pytest.raises(FormatError):
        parse_manifest(raw)


@pytest.mark.parametrize(
    "notes",
    [
        (),
        (sign_checkpoint(LOG_KEY, size=17, root=ROOT).note,),
        (sign_checkpoint(LOG_KEY, size=12, root=ROOT).note, sign_checkpoint(LOG_KEY, size=18, root=ROOT).note),
        (sign_checkpoint(LOG_KEY, size=19, root=ROOT).note,),
        ("no note",),
    ],
)
def test_checkpoints_that_do_not_lead_to_its_size_are_found(notes: tuple[str, ...]) -> None:
    with pytest.raises(TamperError):
        list(_manifest(notes=notes).checkpoints([LOG_KEY.verifier]))


@given(index=st.integers(0, 10**12 - 1), name=st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True))
def test_names_of_attachments_are_read_as_they_were_written_and_sort_as_the_log(index: int, name: str) -> None:
    path, locked = attachment_path("decision", index, name)
    assert (parse_attachment_path(path), locked) == ((index, name), False)
    assert attachment_path("keyring", index, name)[1]
    assert index == 0 or attachment_path("decision", index - 1, name)[0] < path


@pytest.mark.parametrize("name", ["", "Input", "a/b", "../x", "x" * 65, "a.b"])
def test_no_object_is_named_after_what_is_no_name(name: str) -> None:
    with pytest.raises(FormatError):
        attachment_path("decision", 1, name)


def test_names_of_manifests() -> None:
    assert parse_manifest_path(manifest_path(7)) == 7
    assert parse_manifest_path("manifest/7") is None
