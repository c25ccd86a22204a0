"""What the process says on stderr: one line for each decision, and one for each thing that happens to the gate itself.

Nothing of an object's content is ever in a line. Names that people chose are, their control characters made visible.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final, TextIO

from pythonjsonlogger.json import JsonFormatter

from placet.breakglass.state import Passage
from placet.config import LogConfig
from placet.decision import Decision
from placet.record import render_time
from placet.text import clip, safe

LOG: Final = logging.getLogger("placet.webhook")
_LONGEST: Final = 256
_MAX_LISTED: Final = 16
_FIELDS: Final = "placet_fields"
_OTHERS_LEVEL: Final = logging.WARNING


class _JsonLines(JsonFormatter):
    """One object a line: time, level, logger, message, then what the line is about. ASCII alone."""

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """See the base class; ours sets all fields itself."""
        log_data["time"] = _time(record)
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["message"] = safe(record.getMessage())
        log_data.update(getattr(record, _FIELDS, {}))
        log_data.update({name: value for name, value in message_dict.items() if name in {"exc_info", "stack_info"}})


class _TextLines(logging.Formatter):
    """The same for people: ``key=value`` after the message, values with spaces in quotes."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; a trace follows on lines of its own."""
        fields = "".join(f" {name}={_quoted(value)}" for name, value in getattr(record, _FIELDS, {}).items())
        line = f"{_time(record)} {record.levelname:<7} {record.name}: {safe(record.getMessage())}{fields}"
        if record.exc_info:
            trace = self.formatException(record.exc_info)
            line += "".join(f"\n  {safe(part)}" for part in trace.splitlines())
        return line


def configure(config: LogConfig, *, stream: TextIO | None = None) -> None:
    """Send everything that is logged to stderr, in the form and from the level that the configuration asks for.

    Libraries are heard from warnings on. Calling it again replaces what it did before.
    """
    target = logging.StreamHandler(stream or sys.stderr)
    target.setFormatter(_JsonLines() if config.format == "json" else _TextLines())
    root = logging.getLogger()
    for former in [item for item in root.handlers if getattr(item, "placet", False)]:
        root.removeHandler(former)
    target.placet = True  # type: ignore[attr-defined]
    root.addHandler(target)
    level = logging.getLevelName(config.level.upper())
    root.setLevel(max(level, _OTHERS_LEVEL))
    logging.getLogger("placet").setLevel(level)
    logging.captureWarnings(capture=True)


def say(level: int, message: str, /, *, exc_info: bool = False, **fields: Any) -> None:
    """Log one line.

    Args:
        level: of ``logging``.
        message: what happened; the same words each time.
        exc_info: whether the trace of the present exception follows.
        fields: what it is about; plain JSON. Text that somebody else chose has been through ``told``.
    """
    if LOG.isEnabledFor(level):
        LOG.log(level, message, exc_info=exc_info, extra={_FIELDS: fields})


def told(text: object) -> str:
    """Somebody else's text as a line may have it: on one line, harmless, not long."""
    return safe(clip(str(text), _LONGEST))


def say_decision(decision: Decision, *, seconds: float) -> None:
    """The line of one decision; at error where it could not be kept in the record."""
    waits = decision.spooled is not None
    unrecorded = decision.recorded is None and not waits and not decision.request.dry_run
    level = logging.ERROR if unrecorded else logging.WARNING if waits else logging.INFO
    if not LOG.isEnabledFor(level):
        return
    fields = _decision_fields(decision, seconds=seconds)
    if decision.passage is not None and decision.passage.by == "token":
        say(logging.WARNING, "break-glass used", **_passage_fields(decision, decision.passage))
    if unrecorded:
        say(level, "denied without a record", **fields, **_unrecorded_fields(decision))
    elif waits:
        say(level, "denied, to be recorded later", **fields)
    else:
        say(level, "decision", **fields)


def _passage_fields(decision: Decision, passage: Passage) -> dict[str, Any]:
    request = decision.request
    return {
        **passage.to_json(),
        "dry_run": request.dry_run,
        "environment": told(decision.environment),
        "kind": told(request.kind),
        "namespace": told(request.namespace),
        "name": told(request.name),
        "user": told(request.username),
        "decision_id": told(decision.decision_id),
    }


def _decision_fields(decision: Decision, *, seconds: float) -> dict[str, Any]:
    request, found, kept = decision.request, decision.findings, decision.recorded
    return {
        "decision_id": told(decision.decision_id),
        "uid": told(request.uid),
        "environment": told(decision.environment),
        "decision": "allow" if decision.allowed else "deny",
        "mode": decision.mode,
        "operation": request.operation,
        "kind": told(request.kind),
        "namespace": told(request.namespace),
        "name": told(request.name),
        "user": told(request.username),
        "codes": [f"{told(item.rule)}/{told(item.code)}" for item in decision.violations[:_MAX_LISTED]],
        **(
            {"would_deny": [f"{told(i.rule)}/{told(i.code)}" for i in decision.tolerated]} if decision.tolerated else {}
        ),
        "risk": "" if found is None else f"{found.assessment.shown} {found.assessment.level}",
        "dry_run": request.dry_run,
        "caller_authenticated": decision.caller_authenticated,
        "latency_us": round(seconds * 1_000_000),
        "log_index": None if kept is None else kept.index,
        **({} if decision.exemption is None else {"exemption": decision.exemption.exemption_id}),
        **({} if decision.told_before is None else {"replayed": True}),
    }


def _unrecorded_fields(decision: Decision) -> dict[str, Any]:
    """What a record made of this line later needs to say."""
    found, policy, workload = decision.findings, decision.policy, decision.workload
    return {
        "time_decided": render_time(decision.time),
        "subresource": told(decision.request.subresource),
        "request_digest": str(decision.request.digest),
        "keyring_version": decision.keyring_version,
        "projection": "" if workload is None else str(workload.projection.digest),
        "model": "" if workload is None else told(f"{workload.model.name} {workload.model.version}".strip()),
        "risk_inputs": "" if found is None else str(found.risk_inputs),
        "required_roles": [] if policy is None else list(policy.required_roles),
        "granted_roles": [] if policy is None else list(policy.granted_roles),
        "reasons": [
            told(item.details.get("sentence", "")) for item in decision.violations if "sentence" in item.details
        ],
    }


def _time(record: logging.LogRecord) -> str:
    return render_time(datetime.fromtimestamp(record.created, UTC))


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if text and text.isprintable() and not set(text) & {" ", '"', "="} else json.dumps(text)
