"""The audit log of a kube-apiserver: JSON lines of audit.k8s.io/v1 Events, read strictly and one at a time.

Of each event only what an admission can be told by is kept. A file may be a rotated one and packed with gzip; whatever
it holds, no more than one line of it is in memory.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

from placet.audit.merkle import MAX_SIZE
from placet.canonical import Digest, parse_json
from placet.errors import FormatError, InputError

MAX_LINE_BYTES: Final = 16 * 1024 * 1024  # etcd takes 1.5 MiB of an object; at most two of them stand in an event
_MAX_DEPTH: Final = 256
_GZIP: Final = b"\x1f\x8b"
_WRITES: Final = frozenset({"create", "update", "patch"})
_FINISHED: Final = frozenset({"ResponseComplete", "Panic"})
_TIME: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?Z", re.ASCII)
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_KEYS: Final = ("decision-id", "log-index", "leaf-hash", "checkpoint")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_HIGHEST_STATUS: Final = 999
_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Mark:
    """What a webhook had written beside a request: its audit annotations.

    Attributes:
        webhook: name of the webhook, as it stands before the annotations.
        decision_id: of the decision.
        index: of its leaf; None where the gate answered without one, as to a dry run.
        leaf_hash: 32 bytes; empty where there is no index.
        checkpoint: a signed note, not verified; "" for none.
        fault: what is wrong with the annotations, "" for nothing.
    """

    webhook: str
    decision_id: str
    index: int | None = None
    leaf_hash: bytes = b""
    checkpoint: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A write that the API server has answered.

    Attributes:
        digest: of all that is said here and the ``auditID``: equal for the same event in two files. The id alone is not
            enough, since clients may choose it.
        user: whom the request was judged as: the impersonated user where there is one.
        name: "" where the event has none, as for a name that the API server makes.
        code: HTTP status of the answer; 0 where there is none.
        received_us: when it arrived, microseconds since 1970 by the API server's clock.
        ended_us: when it was answered.
        marks: of every webhook that left some of ours, in order of its name.
    """

    digest: bytes
    user: str
    group: str
    resource: str
    subresource: str
    namespace: str
    name: str
    code: int
    dry_run: bool
    received_us: int
    ended_us: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file.

    Attributes:
        number: from 1.
        request: what it says; None where it is of no concern.
        fault: why it can't be read, "" where it can.
        torn: whether it is the last one and has no end: it is being written, or its writer was stopped.
    """

    number: int
    request: ApiRequest | None
    fault: str = ""
    torn: bool = False


def load_lines(path: Path) -> Iterator[Line]:
    """Every line of an audit log, packed or not.

    Raises:
        InputError: the file can't be read.
    """
    try:
        with path.open("rb") as probe:
            packed = probe.read(len(_GZIP)) == _GZIP
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            yield from _lines(file.readline)
    except (OSError, EOFError, zlib.error) as exc:
        raise InputError(f"{path} can't be read to its end: {exc}", code="audit_log_unreadable") from exc


def _lines(readline: Callable[[int], bytes]) -> Iterator[Line]:
    number = 0
    while raw := readline(MAX_LINE_BYTES + 1):
        number += 1
        whole = raw.endswith(b"\n")
        if len(raw) > MAX_LINE_BYTES and not whole:
            while not raw.endswith(b"\n") and (raw := readline(MAX_LINE_BYTES)):
                pass
            yield Line(number, None, f"longer than {MAX_LINE_BYTES} bytes")
            continue
        try:
            yield Line(number, parse_event(raw))
        except FormatError as exc:
            yield Line(number, None, str(exc), torn=not whole)


def parse_event(raw: bytes) -> ApiRequest | None:
    """Read one event.

    Args:
        raw: the line, unverified.

    Returns:
        The request, or None where the event is no finished write of an object.

    Raises:
        FormatError: it is no event of audit.k8s.io, or lacks what every such event has.
    """
    event = parse_json(raw, max_bytes=MAX_LINE_BYTES + 1, max_depth=_MAX_DEPTH, allow_floats=True)
    if not isinstance(event, dict) or event.get("kind") != "Event":
        raise FormatError("not an audit event", code="event_malformed")
    if event.get("apiVersion") != "audit.k8s.io/v1":
        raise FormatError("an event of another version than audit.k8s.io/v1", code="event_malformed")
    stage, verb, target = _text(event, "stage"), _text(event, "verb"), _mapping(event, "objectRef")
    if stage not in _FINISHED or verb not in _WRITES or not target:
        return None
    code = _mapping(event, "responseStatus").get("code", 0)
    if not isinstance(code, int) or isinstance(code, bool) or not 0 <= code <= _HIGHEST_STATUS:
        raise FormatError("the status of the answer is none of HTTP", code="event_malformed")
    user = _text(_mapping(event, "impersonatedUser"), "username") or _text(_mapping(event, "user"), "username")
    if not user:
        raise FormatError("the event names no user", code="event_malformed")
    request = ApiRequest(
        digest=b"",
        user=user,
        group=_text(target, "apiGroup"),
        resource=_text(target, "resource"),
        subresource=_text(target, "subresource"),
        namespace=_text(target, "namespace"),
        name=_text(target, "name"),
        code=code if stage == "ResponseComplete" else 0,
        dry_run=_is_dry_run(_text(event, "requestURI")),
        received_us=_microseconds(event, "requestReceivedTimestamp"),
        ended_us=_microseconds(event, "stageTimestamp"),
        marks=_marks(_mapping(event, "annotations")),
    )
    said = repr((_text(event, "auditID"), request)).encode()
    return replace(request, digest=hashlib.sha256(said).digest())


def _is_dry_run(uri: str) -> bool:
    """Whether the request kept nothing. The API server refuses any other value than ``All``."""
    _, _, query = uri.partition("?")
    if "=All" not in query:
        return False
    values = [value for key, value in parse_qsl(query, keep_blank_values=True) if key == "dryRun"]
    return bool(values) and set(values) == {"All"}


def _microseconds(event: Mapping[str, Any], key: str) -> int:
    problem = FormatError(f"{key} is not a time", code="event_malformed")
    match = _TIME.fullmatch(_text(event, key))
    if match is None:
        raise problem
    try:
        return to_microseconds(datetime.fromisoformat(f"{match[1]}+00:00")) + int((match[2] or "0").ljust(6, "0")[:6])
    except ValueError as exc:
        raise problem from exc


def to_microseconds(moment: datetime) -> int:
    """An aware time as microseconds since 1970."""
    elapsed = moment - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * _SECOND_US + elapsed.microseconds


def from_microseconds(moment_us: int) -> str:
    """A number of microseconds since 1970 as a time in UTC, for a person; the number where no calendar has it."""
    try:
        found = datetime.fromtimestamp(moment_us // _SECOND_US, tz=UTC)
    except (ValueError, OverflowError, OSError):
        return f"{moment_us} us"
    return f"{found:%Y-%m-%dT%H:%M:%S}.{moment_us % _SECOND_US:06}Z"


def _marks(annotations: Mapping[str, Any]) -> tuple[Mark, ...]:
    """The annotations of ours, by webhook: the API server writes ``<webhook>/<key>``."""
    found: dict[str, dict[str, str]] = {}
    for key, value in annotations.items():
        webhook, _, name = key.rpartition("/")
        if webhook and name in _KEYS and isinstance(value, str):
            found.setdefault(webhook, {})[name] = value
    return tuple(_mark(webhook, told) for webhook, told in sorted(found.items()) if told.get("decision-id"))


def _mark(webhook: str, told: Mapping[str, str]) -> Mark:
    decision_id, index = told["decision-id"], told.get("log-index")
    if index is None:
        return Mark(webhook, decision_id)
    try:
        leaf_hash = bytes.fromhex(Digest.parse(told.get("leaf-hash", "")).hex)
    except FormatError:
        return Mark(webhook, decision_id, fault="leaf-hash is no digest")
    if not _INDEX.fullmatch(index) or int(index) > MAX_SIZE:
        return Mark(webhook, decision_id, fault="log-index is no index")
    return Mark(webhook, decision_id, int(index), leaf_hash, told.get("checkpoint", ""))


def _mapping(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
