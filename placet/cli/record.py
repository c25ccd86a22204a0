"""Records as lines for a person. Everything in them came from outside: each text goes through ``safe``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from placet.audit.query import Found
from placet.audit.record import DECISION
from placet.cli.output import safe, style

LISTED_HEAD: Final = (
    "TIME",
    "DECISION",
    "ENVIRONMENT",
    "NAMESPACE",
    "OBJECT",
    "MODEL",
    "RISK",
    "USER",
    "VIOLATIONS",
    "ID",
)
_TITLE_WIDTH: Final = 13
# `change.scale` of the record -> words; `same` says nothing
_SCALES: Final[Mapping[str, str]] = {
    "up": "more replicas than before",
    "down": "fewer replicas than before",
    "unknown": "how many replicas is not known",
}
_SECONDS: Final = len("2026-11-22T18:00:00")


def shown_lines(found: Found, *, status: str, signed_size: int) -> Iterator[str]:
    """One record in full.

    Args:
        found: the record.
        status: ``proved``, ``signed`` or ``not signed yet``.
        signed_size: leaves under the checkpoint that has it, 0 where none has.
    """
    body = found.shown
    if body["type"] == DECISION:
        yield from _decision_lines(body)
    else:
        width = max(_TITLE_WIDTH, *(len(name) + 2 for name in body))
        for name in sorted(body):
            yield _line(name, body[name], width=width)
    yield ""
    yield _line("leaf", f"{found.index}, hash {found.leaf_hash.hex()}")
    proof = {
        "proved": f"in the signed checkpoint of {signed_size} leaves: verified",
        "signed": f"under the checkpoint of {signed_size} leaves; give --log-key to verify that it is",
    }
    yield _line("proof", proof.get(status, "no checkpoint signs for it yet"))


def _decision_lines(body: Mapping[str, Any]) -> Iterator[str]:
    answer = "allowed" if body["allowed"] else "denied"
    yield style(
        f"{answer.upper()} {safe(_object(body))} in {safe(_text(body, 'namespace'))}",
        "green" if body["allowed"] else "red",
        bold=True,
    )
    yield _line("time", body["time"])
    yield _line("decision", f"{_text(body, 'decision_id')}, request {_text(body, 'uid')}")
    yield _line(
        "environment", f"{_text(body, 'environment')}, cluster {_text(body, 'cluster')}, mode {_text(body, 'mode')}"
    )
    yield _line("request", f"{_text(body, 'operation')} by {_text(body, 'user')}")
    yield from _origin_lines(body)
    if "spooled" in body:
        spooled = _mapping(body, "spooled")
        yield _line("spooled", f"{_text(spooled, 'at')}, as the record was away: {_text(spooled, 'cause')}")
    if "place" in body:
        place = _mapping(body, "place")
        label = f'"{place["label"]}"' if isinstance(place.get("label"), str) else "none"
        yield _line("namespace", f"belongs to {_text(place, 'environment')}, label {label}")
    if "label" in body:
        yield _line("label", _label(_mapping(body, "label")))
    model = _mapping(body, "model")
    yield _line(
        "model", " ".join(filter(None, (_text(model, name) for name in ("name", "version", "digest")))) or "not said"
    )
    risk = _mapping(body, "risk")
    yield _line("risk", _risk(body))
    for factor, score in sorted(_mapping(risk, "factors").items()):
        yield _line("", f"{factor} {score}")
    yield _line("approvals", f"required {_joined(body, 'required_roles')}; granted {_joined(body, 'granted_roles')}")
    for approval in _list(body, "approvals"):
        who = f"{_text(approval, 'role')} by {_text(approval, 'person')}"
        yield _line("", f"{who}, key {_text(approval, 'key')}, until {_text(approval, 'expires')}")
    for rejected in _list(body, "rejected"):
        yield _line("", f"{_text(rejected, 'role')} rejected: {_text(rejected, 'code')}")
    for title in ("violations", "warnings"):
        for entry in _list(body, title):
            yield _line(title.removesuffix("s"), f"{_text(entry, 'rule')}: {_text(entry, 'code')}")
    for line in _text(body, "message").splitlines():
        yield f"  {safe(line)}".rstrip()
    for image in _list(body, "images"):
        yield _line("image", image)
    policy = _mapping(body, "policy")
    engine = f"{_text(policy, 'engine')} {_text(policy, 'engine_version')}"
    yield _line("policy", f"{_text(policy, 'revision')}, data {_text(policy, 'data_digest')}, {engine}")
    yield _line("projection", body.get("projection", ""))


def _origin_lines(body: Mapping[str, Any]) -> Iterator[str]:
    """What is changed, what the object was made of, the nearest first, and the earlier decision that it rests on."""
    change = _mapping(body, "change")
    if kind := _text(change, "kind"):
        # of what is new, nothing is known to compare its replicas with
        scale = "" if _text(body, "operation") == "CREATE" else _SCALES.get(_text(change, "scale"), "")
        yield _line("change", ", ".join(filter(None, (kind, scale))))
    for parent in _list(body, "parents"):
        yield _line("parent", _object(parent))
    if precedent := _mapping(body, "precedent"):
        yield _line(
            "precedent",
            f"decision {_text(precedent, 'decision_id')} of {_text(precedent, 'time')}, "
            f"approved at risk {_text(precedent, 'level')}",
        )
    if exemption := _mapping(body, "exemption"):
        who = f"{_text(exemption, 'exemption_id')} by {_joined(exemption, 'persons')}"
        yield _line("exempted", f"{who}, until {_text(exemption, 'expires')}")


def listed_row(one: Found) -> tuple[str, ...]:
    """A record as a line of a table, under ``LISTED_HEAD``."""
    body = one.shown
    if body["type"] != DECISION:
        cells = (body["time"][:_SECONDS], body["type"], "", "", "", "", "", "", "", str(one.index))
    else:
        cells = (
            body["time"][:_SECONDS],
            "allow" if body["allowed"] else "deny",
            _text(body, "environment"),
            _text(body, "namespace"),
            _object(body),
            _text(_mapping(body, "model"), "name"),
            _risk(body),
            _text(body, "user"),
            ",".join(dict.fromkeys(_text(entry, "code") for entry in _list(body, "violations"))),
            _text(body, "decision_id"),
        )
    return cells


def _label(label: Mapping[str, Any]) -> str:
    """What became of a Namespace's environment; in quotes, since "" is a value and none is none."""
    before, after = (f'"{label[name]}"' if isinstance(label.get(name), str) else "none" for name in ("before", "after"))
    return before if before == after else f"{before} -> {after}"


def _object(body: object) -> str:
    return f"{_text(body, 'kind')}/{_text(body, 'name')}"


def _risk(body: Mapping[str, Any]) -> str:
    risk = _mapping(body, "risk")
    score = risk.get("score")
    shown = f"{score // 100}.{score % 100:02d}" if isinstance(score, int) else ""
    return " ".join(filter(None, (shown, _text(risk, "level"))))


def _line(title: str, value: object, *, width: int = _TITLE_WIDTH) -> str:
    return f"{safe(title):<{width}}{safe(value)}".rstrip()


def _text(body: object, name: str) -> str:
    value = body.get(name) if isinstance(body, Mapping) else None
    return value if isinstance(value, str) else ""


def _mapping(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(body: Mapping[str, Any], name: str) -> list[Any]:
    value = body.get(name)
    return value if isinstance(value, list) else []


def _joined(body: Mapping[str, Any], name: str) -> str:
    return ", ".join(str(item) for item in _list(body, name)) or "none"
