"""A decision as it is shown in the cluster: about which object, how it went, and why. No name of a person."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from placet.audit.query import Found
from placet.audit.record import DECISION
from placet.model import LEVELS
from placet.text import clip_bytes, safe

MAX_MESSAGE_BYTES: Final = 1000  # the note of an Event may have 1024 (events.k8s.io/v1)
REFUSED: Final = "Refused"
BROKEN_GLASS: Final = "BreakGlass"
_MAX_LABEL: Final = 63
_LONGEST_NAME: Final = 253
_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_NOT_IN_NAMES: Final = re.compile(r"[^a-z0-9-]+", re.ASCII)
_NAME_ROOM: Final = 40
# Parents are recorded without their group; these are the ones whose group is known all the same.
_VERSIONS: Final[Mapping[str, tuple[str, str]]] = {
    "Deployment": ("apps", "v1"),
    "StatefulSet": ("apps", "v1"),
    "DaemonSet": ("apps", "v1"),
    "ReplicaSet": ("apps", "v1"),
    "Job": ("batch", "v1"),
    "CronJob": ("batch", "v1"),
    "ReplicationController": ("", "v1"),
    "Pod": ("", "v1"),
}


@dataclass(frozen=True, slots=True)
class Target:
    """An object that a decision is about.

    Attributes:
        version: "" where it is not known.
        name: where the API server makes it up, what it begins with.
    """

    group: str
    version: str
    kind: str
    namespace: str
    name: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """The same for every version of the API."""
        return self.group, self.kind, self.namespace, self.name

    @property
    def api_version(self) -> str:
        """As objects write it; "" where it is not known."""
        return f"{self.group}/{self.version}" if self.group and self.version else self.version

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits."""
        return digest_of(*self.key)

    @property
    def object_name(self) -> str:
        """Name of an object that tells of this one: readable, valid, and of this one alone."""
        readable = _NOT_IN_NAMES.sub("-", f"{self.kind}-{self.name}".lower())[:_NAME_ROOM].strip("-")
        return f"placet-{readable or 'object'}-{self.digest}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One decision.

    Attributes:
        target: what people know: the object, or the root of the controllers that made it.
        uid: of the target; "" where it is not known to exist.
        about: kind and name of the object itself.
        codes: ``rule/code`` of each violation.
        level: of risk, or ``none``.
        reason: ``Refused``, ``BreakGlass`` or "".
        body: of the leaf.
    """

    index: int
    time: str
    target: Target
    uid: str
    about: str
    allowed: bool
    codes: tuple[str, ...]
    level: str
    reason: str
    body: Mapping[str, Any]

    @property
    def moment(self) -> datetime:
        """When it was made, aware UTC."""
        return datetime.fromisoformat(self.time)

    @property
    def decision_id(self) -> str:
        """Of the decision."""
        return str(self.body["decision_id"])

    @property
    def is_child(self) -> bool:
        """Whether the object was made by a controller of the target."""
        return bool(self.body.get("parents"))

    @property
    def event_type(self) -> str:
        """As the label says it."""
        return {REFUSED: "denial", BROKEN_GLASS: "break-glass"}.get(self.reason, "admission")

    @property
    def message(self) -> str:
        """What was said, on lines, without control characters, bounded."""
        return shorten(str(self.body.get("message", "")), MAX_MESSAGE_BYTES)


def read_entry(found: Found, cluster: str) -> Entry | None:
    """A record as it is shown; None for what is not: other clusters, other leaves, and what only went on as it was.

    Args:
        found: a record.
        cluster: whose decisions are shown.
    """
    body = found.body
    if body.get("type") != DECISION or body.get("cluster") != cluster or not _is_told(body):
        return None
    target, uid = _target(body)
    if not target.namespace or not target.kind:
        return None
    risk = body.get("risk")
    level = str(risk.get("level", "")) if isinstance(risk, dict) else ""
    name = f"{body.get('kind', '')}/{body.get('name', '')}"
    return Entry(
        index=found.index,
        time=str(body["time"]),
        target=target,
        uid=uid,
        about=safe(name),
        allowed=body["allowed"] is True,
        codes=tuple(f"{rule}/{code}" for rule, code in listed(body, "violations")),
        level=level if level in LEVELS else "none",
        reason=_reason(body),
        body=body,
    )


def listed(body: Mapping[str, Any], member: str) -> Iterator[tuple[str, str]]:
    """Rule and code of each violation that a member of a decision lists."""
    for one in body.get(member) or ():
        if isinstance(one, dict):
            yield str(one.get("rule", "")), str(one.get("code", ""))


def shorten(text: str, most_bytes: int) -> str:
    """Text of several lines, harmless on each, cut to a length in bytes."""
    return clip_bytes("\n".join(safe(line) for line in text.split("\n")), most_bytes)


def label_value(text: str) -> str:
    """The text as a label has it: itself where that is valid, else what is left of it and a digest."""
    if not text or _LABEL.fullmatch(text):
        return text
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[: _MAX_LABEL - 13].strip("-._")
    return f"{kept}-{digest_of(text)}" if kept else digest_of(text)


def digest_of(*parts: str) -> str:
    """Twelve hexadecimal digits of some texts."""
    return hashlib.sha256("\x00".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _is_told(body: Mapping[str, Any]) -> bool:
    """Refusals, and what was let in because somebody or something said so; not what only goes on as it was."""
    change = body.get("change")
    kind = change.get("kind") if isinstance(change, dict) else ""
    return (
        body.get("allowed") is not True
        or body.get("approved") is True
        or kind in {"rollback", "scaled"}
        or any(body.get(member) for member in ("would_deny", "exemption"))
        or _reason(body) == BROKEN_GLASS
    )


def _reason(body: Mapping[str, Any]) -> str:
    if body.get("allowed") is not True:
        return REFUSED
    passage = body.get("break_glass")
    return BROKEN_GLASS if isinstance(passage, dict) and passage.get("by") == "token" else ""


def _target(body: Mapping[str, Any]) -> tuple[Target, str]:
    namespace = _name(body.get("namespace"))
    parents = body.get("parents")
    if isinstance(parents, list) and parents and isinstance(parents[-1], dict):
        root = parents[-1]
        kind = _name(root.get("kind"))
        group, version = _VERSIONS.get(kind, ("", ""))
        return Target(group, version, kind, namespace, _name(root.get("name"))), _name(root.get("uid"))
    kind, name = _name(body.get("kind")), _name(body.get("name"))
    # A create that was refused made nothing, whatever uid was meant for it.
    exists = body.get("allowed") is True or body.get("operation") != "CREATE"
    if kind == "Namespace":
        namespace = name
    uid = _name(body.get("object_uid")) if exists and not body.get("generated") else ""
    return Target(_name(body.get("group")), _name(body.get("version")), kind, namespace, name), uid


def _name(value: object) -> str:
    """A name that somebody chose: harmless, and no longer than any that Kubernetes takes."""
    return safe(value if isinstance(value, str) else "")[:_LONGEST_NAME]
